"""The pictures of a command: refused before training where they cannot be drawn, and written after tables."""

import os
import subprocess
import sys

import pytest
from command_line import regjax as regjax_command

from regjax.cli import terminal

SWEEP = ["sweep", "--data", "iris", "--l2", "0,1", "--steps", 5, "--folds", 3, "--seeds", 1, "--no-store"]
TABLES = ["choice.csv", "comparison.csv", "results.csv", "summary.csv", "sweep.toml"]


def fails(*arguments, **options):
    raise RuntimeError("no canvas")


@pytest.mark.parametrize(
    "arguments", [SWEEP, ["compare", "--steps", 5], ["compare", "--steps", 5, "--regularisers", "l2"]]
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_trained(arguments, tmp_path, monkeypatch):

    for module, name in (("engine.sweep", "run"), ("tutorial.experiment", "run_experiment"),
                         ("tutorial.showcase", "run_showcase")):  # fmt: skip
        monkeypatch.setattr(f"regjax.{module}.{name}", lambda *_, **__: pytest.fail("it was trained"))
    monkeypatch.setattr(terminal, "save_figure", fails)
    done = regjax_command(*arguments, "--out", tmp_path / "o")
    assert done.returncode == 2
    assert done.stderr == (
        "regjax: error: matplotlib must be able to draw the pictures, got RuntimeError: no canvas\n"
    )
    assert os.listdir(tmp_path / "o") == []


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("command", ["plot", "report"])
def test_commands_that_only_draw_say_it_in_a_line(command, tmp_path, monkeypatch):
    store = tmp_path / "s.sqlite"
    assert regjax_command(*SWEEP[:-1], "--store", store, "--out", tmp_path / "o").returncode == 0
    monkeypatch.setattr(terminal, "save_figure", fails)
    done = regjax_command(
        command, store, *(["curves"] if command == "plot" else []), "-o", tmp_path / "a.png"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("regjax: error: matplotlib must be able to draw")


def test_a_sweep_writes_its_tables_before_its_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr("regjax.plot.figures.heatmap", fails)
    with pytest.raises(RuntimeError, match="no canvas"):
        regjax_command(*SWEEP, "--out", tmp_path)
    assert sorted(os.listdir(tmp_path)) == TABLES


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--regularisers", "l2"]])
def test_compare_prints_its_table_before_its_pictures(options, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(terminal, "write", fails)
    monkeypatch.setattr(terminal, "use_compilation_cache", lambda wanted: None)
    from regjax.cli import main

    with pytest.raises(RuntimeError, match="no canvas"):
        main.main(["compare", "--steps", "5", "--out", str(tmp_path), *options])
    assert "l2" in capsys.readouterr().out


@pytest.mark.nightly
@pytest.mark.slow
def test_every_command_that_draws_ignores_the_backend(tmp_path):
    env = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    for arguments in (
        [*SWEEP[:-1], "--store", "s.sqlite"],
        ["plot", "s.sqlite", "curves", "-o", "curves.png"],
        ["report", "s.sqlite"],
        ["compare", "--steps", 5],
        ["compare", "--steps", 5, "--regularisers", "l2"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "regjax", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=env,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
