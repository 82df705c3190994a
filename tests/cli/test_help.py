"""What the command line says of itself: alone, in its helps, and where a word is mistyped."""

import re
import subprocess
import sys
from typing import Any

import click
import pytest
from command_line import regjax

from regjax.cli import options, terminal, tune
from regjax.cli.help import LongCommand
from regjax.cli.main import FIRST, PURPOSES, commands

CONTEXT = click.Context(commands, info_name="regjax")
NAMES = commands.list_commands(CONTEXT)


def command_of(name) -> Any:
    return commands.get_command(CONTEXT, name)


LONG = [name for name in NAMES if isinstance(command_of(name), LongCommand)]


def test_regjax_alone_says_in_ten_lines_what_to_do_first():
    done = regjax()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == FIRST
    assert len(FIRST.splitlines()) <= 10
    assert max(map(len, FIRST.splitlines())) <= 80
    for line in FIRST.splitlines():
        words = line.split()
        if line.startswith("  regjax "):
            command = command_of(words[1].rstrip(";"))
            flags = {flag for parameter in command.params for flag in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= flags


def test_the_help_lists_each_command_under_its_purpose_in_its_own_words():
    lines = regjax("--help").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    for heading, found in PURPOSES.items():
        assert f"{heading}:" in lines
        for name in found:
            assert any(line.split()[:1] == [name] for line in lines)
            # The command's own help begins with the same verb.
            purpose, own = found[name], command_of(name).get_short_help_str(200)
            assert own.split()[0] == purpose.split()[0], name


def test_each_command_has_a_help_of_at_most_80_columns_without_hidden_options():
    for name in NAMES:
        for flag in ("--help", "--help-all") if name in LONG else ("--help",):
            done = regjax(name, flag)
            assert (done.returncode, done.stderr) == (0, ""), name
            assert max(map(len, done.stdout.splitlines())) <= 80, name
        assert not [p.name for p in command_of(name).params if getattr(p, "hidden", False)]


def flags_in(text):
    """The long flags of a help, which stand before the first two spaces of a line."""
    heads = [line[2:].split("  ")[0] for line in text.splitlines() if line.startswith("  -")]
    return {word.rstrip(",") for head in heads for word in head.split() if word.startswith("--")}


@pytest.mark.parametrize("name", LONG)
def test_the_short_help_has_what_matters_and_the_whole_one_everything(name):
    command = command_of(name)
    short, whole = (flags_in(regjax(name, flag).stdout) for flag in ("--help", "--help-all"))
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    known = {flag for option in options for flag in (*option.opts, *option.secondary_opts)}
    assert {"--help"} | {flag for flag in known if flag.startswith("--")} == whole
    assert short <= whole
    shown = [option for options in command.matters.values() for option in options]
    assert len(shown) <= 12
    assert len(short - {"--steps"}) == len(shown)
    known = {parameter.name for parameter in command.params}
    for names in (*command.matters.values(), *command.sections.values()):
        assert set(names) <= known
    sectioned = [option for names in command.sections.values() for option in names]
    assert len(sectioned) == len(set(sectioned))


def test_every_flag_of_the_tables_is_in_the_whole_help():
    for name, table in (("sweep", options.FLAGS), ("plan", options.FLAGS), ("tune", tune.FLAGS)):
        whole = flags_in(regjax(name, "--help-all").stdout)
        assert {f"--{flag.replace('_', '-')}" for flag in table} <= whole


def test_the_defaults_of_a_search_are_its_own():
    from regjax.engine.tuning import EPOCHS, LEAST_STEPS, SEEDS
    from regjax.study.tuned import Search

    said = {name: re.search(r"(\d+) by default", flag.words) for name, flag in tune.FLAGS.items()}
    found = {name: int(match[1]) for name, match in said.items() if match}
    for name in tune.SEARCH:
        assert found.get(name, getattr(Search(), name)) == getattr(Search(), name)
    assert found["seeds"] == SEEDS
    assert f"about {EPOCHS} epochs by default, {LEAST_STEPS} or more" in tune.FLAGS["num_steps"].words
    assert "30000" not in regjax("tune", "--help-all").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["swep"], "got 'swep'; did you mean sweep?"),
        (["zzz"], "command must be one of demo, compare"),
        (["sweep", "--targt", "y"], "'--target'"),
        (["sweep", "two_region"], "did you mean two_regions?"),
        (["sweep", "nofile.csv"], "nofile.csv: No such file or directory"),
        (["report"], "regjax.sqlite: No such file or directory"),
    ],
)
def test_a_slip_is_answered_in_one_line(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = regjax(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("plain", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_errors_are_coloured_on_a_terminal_alone(plain, monkeypatch, capsys):
    from regjax.cli import main

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    main._say("error: ", "folds must be at least 2, got 0")
    assert capsys.readouterr().err == "regjax: error: folds must be at least 2, got 0\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    main._say("error: ", "folds must be at least 2, got 0")
    said = capsys.readouterr().err
    assert ("\x1b[" in said) is (not plain)
    assert click.unstyle(said) == "regjax: error: folds must be at least 2, got 0\n"


def test_helps_and_completion_import_neither_jax_nor_pandas():
    code = """
import sys
from regjax.cli.main import main
for words in ([], ["--help"], ["sweep", "--help-all"], ["tune", "--help"]):
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code == 0
heavy = [m for m in ("jax", "pandas", "matplotlib", "sklearn", "scipy") if m in sys.modules]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_page_is_opened_where_there_is_a_browser_and_named_where_not(monkeypatch, tmp_path, capsys):
    import webbrowser

    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    page = tmp_path / "a page.html"
    terminal.open_page(page)
    assert not opened
    assert capsys.readouterr().out == f"no browser was found: open {page.as_uri()}\n"
    for name, value in (("DISPLAY", ":0"), ("BROWSER", "my-browser")):
        with monkeypatch.context() as there:
            there.setenv(name, value)
            terminal.open_page(page)
        assert opened.pop() == page.as_uri()
        assert capsys.readouterr().out == ""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    terminal.open_page(page)
    assert "no browser was found" in capsys.readouterr().out
