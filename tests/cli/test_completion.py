"""`regjax completion`, and what a shell is told at the Tab key."""

import os
import shutil
import subprocess
import sys

import pytest
from command_line import regjax

from regjax.cli.completion import SHELLS, place_of, script_of


def completed(words, number=None):
    """Returns (kind, value) of each completion of the last word, as bash is told."""
    environment = {
        **os.environ,
        "_REGJAX_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "regjax"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    return [tuple(line.split(",", 1)) for line in done.stdout.splitlines() if line]


@pytest.mark.nightly
def test_commands_options_and_values_are_completed():
    assert completed("regjax sw") == [("plain", "sweep")]
    assert completed("regjax sweep --mixu") == [("plain", "--mixup")]
    assert completed("regjax sweep --optimizer adam") == [("plain", "adam"), ("plain", "adamw")]
    assert ("plain", "val_r2") in completed("regjax tune --metric val_")
    assert completed("regjax sweep mo") == [("file", "mo"), ("plain", "moons")]
    assert completed("regjax sweep dia") == [("file", "dia"), ("plain", "diabetes")]
    assert completed("regjax swep --mi") == []  # of a command that there is not, without a word


def test_completing_data_imports_neither_jax_nor_pandas():
    code = """
import sys
from regjax.cli.sweep import sweep
from regjax.cli.options import complete_data
assert [item.value for item in complete_data(None, None, "ir")] == ["ir", "iris"]
heavy = [m for m in ("jax", "pandas", "sklearn") if m in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_bash_takes_the_script(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    (tmp_path / "regjax").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m regjax "$@"\n')
    (tmp_path / "regjax").chmod(0o755)
    code = (
        f"{script_of('bash')}\nCOMP_WORDS=(regjax rep); COMP_CWORD=1\n"
        'compopt() { :; }; _regjax_completion regjax rep regjax; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split() == ["report", "replay"], done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed_or_installed_and_nothing_else_is_overwritten(shell, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = regjax("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_REGJAX_COMPLETE" in done.stdout
    path = place_of(shell)
    assert tmp_path in path.parents
    for _ in range(2):  # again changes nothing
        installed = regjax("completion", shell, "--install")
        assert (installed.returncode, installed.stderr) == (0, "")
        assert f"written: {path}" in installed.stdout
        assert path.read_text() == done.stdout
    path.write_text(f"# by another version of click\n{done.stdout}")
    assert regjax("completion", shell, "--install").returncode == 0
    assert path.read_text() == done.stdout
    path.write_text("mine")
    refused = regjax("completion", shell, "--install")
    assert refused.returncode == 2
    assert "got another script there" in refused.stderr
    assert path.read_text() == "mine"


def test_the_shell_is_that_of_the_user(monkeypatch):
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert regjax("completion").stdout == script_of("fish")
    for other in ("/bin/tcsh", ""):
        monkeypatch.setenv("SHELL", other)
        done = regjax("completion")
        assert done.returncode == 2
        assert "shell must be one of bash, zsh, fish" in done.stderr
