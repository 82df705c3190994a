"""What the command line writes where the output's encoding lacks a letter."""

import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

import click
import pytest
from cases import slow_but

from regjax.cli import main, terminal
from regjax.cli.letters import READABLE, in_ascii, readable

ENCODINGS = ["ascii", "latin-1", "cp1252", "cp437"]
COMMANDS = sorted(main.commands.list_commands(click.Context(main.commands)))


def written(encoding, *arguments):
    """The bytes that a command writes on outputs of an encoding, decoded: (exit code, out, err)."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    kept = mock.patch.object(terminal, "use_compilation_cache")  # a setting of the process
    with kept, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with pytest.raises(SystemExit) as stop:
            main.main([*map(str, arguments)])
        out.flush()
        err.flush()
    return stop.value.code, *(stream.buffer.getvalue().decode(encoding) for stream in (out, err))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("λ/(2n)·Σ W², √3, ½", "lambda/(2n)*Sigma W^2, sqrt3, 1/2"),
        ("3 folds × 4 seeds, ±0.1, −2, 1 – 3", "3 folds x 4 seeds, +-0.1, -2, 1 - 3"),
        ("0, 1, …; x → y", "0, 1, ...; x -> y"),
        ("│ ─ ━ ┃ ┌ ┼ ╇ ╰", "| - - | + + + +"),
        ("10⁻⁸ xᵀ W₁ Å é", "10^-^8 xT W1 A e"),
        ("中 \N{REPLACEMENT CHARACTER}", "\\u4e2d ?"),
    ],
)
def test_a_letter_is_written_in_ascii(text, expected):
    assert readable(text, io.TextIOWrapper(io.BytesIO(), encoding="ascii")) == expected
    assert readable(text, io.StringIO()) == text  # a stream without an encoding takes all letters


def test_every_character_has_ascii():
    for number in (*range(0x80, 0xD800), *range(0xE000, 0x11000)):
        assert in_ascii(chr(number)).isascii(), hex(number)


def test_an_encoding_keeps_the_letters_that_it_has():
    assert "×λ±".encode("latin-1", READABLE) == b"\xd7lambda\xb1"


def test_names_of_files_that_are_no_text_go_out_as_they_came():
    name = os.fsdecode(b"a\xff\xfe.csv")
    assert name.encode("ascii", READABLE) == name.encode("utf-8", READABLE) == b"a\xff\xfe.csv"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_helps_are_readable(encoding):
    for words in ([], *([command] for command in COMMANDS)):
        code, out, err = written(encoding, *words, "--help")
        assert (code, err) == (0, "")
        assert "?" not in out.replace("beat none?", "")
        if encoding == "ascii":
            assert out.isascii()


@pytest.mark.nightly
@pytest.mark.parametrize("encoding", slow_but(["ascii", "cp1252"], ["ascii"]))
def test_every_command_writes_what_can_be_read(encoding, tmp_path):
    store, tiny = (
        tmp_path / "s.sqlite",
        ["--data", "iris", "--l2", "0,1", "--steps", 5, "--folds", 3, "--seeds", 2],
    )
    commands = [
        ["sweep", *tiny, "--rule", "one_se", "--store", store, "--out", tmp_path / "o"],
        ["plan", *tiny, "--no-probe"],
        ["plan", *tiny, "--print-config"],
        ["show", store],
        ["resume", store],
        ["export", store, "--csv", tmp_path / "λ.csv"],
        ["plot", store, "curves", "-o", tmp_path / "λ.png"],
        ["replay", store, "--row", 1],
        ["compare", "--steps", 5, "--out", tmp_path / "c"],
    ]
    for arguments in commands:
        code, out, err = written(encoding, *arguments)
        assert (arguments[0], code) == (arguments[0], 0), err
        assert out.strip()
        assert "?" not in (out + err).replace("beat none?", "")
    _, out, _ = written(encoding, *commands[6])
    assert "lambda.png" in out
    code, _, err = written(encoding, "sweep", *tiny, "--keep-prob", "λ…中")
    assert code == 2
    assert "lambda" in err


@pytest.mark.nightly
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_pipe_of_8_bits(encoding, tmp_path):
    words = ["sweep", "--data", "iris", "--l2", "0,1", "--steps", "5", "--folds", "3", "--no-store"]
    for arguments in (words, ["sweep", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "regjax", *arguments],
            capture_output=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONIOENCODING": encoding},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "?" not in done.stdout.decode(encoding).replace("beat none?", "")
