"""The command line, as a user meets it: in a process of its own where signals, caches or exits matter."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner
from command_line import regjax

from regjax.cli import compare as cli_compare
from regjax.cli import main as cli
from regjax.cli import terminal

PICTURES = ["cost_curves.png", "dataset.png", "decision_boundaries.png", "masks.png"]


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "regjax", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


@pytest.mark.nightly
def test_compare_prints_a_table_and_draws(tmp_path):
    done = regjax("compare", "--steps", 120, "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in (
        "none",
        "l2 0.7",
        "dropout 0.86",
        "cost at",
        " 120 ",
        "acc.",
        "gap",
        "seconds",
        cli_compare.CAVEAT,
    ):
        assert words in done.stdout
    assert "…" not in done.stdout  # nothing cut
    assert sorted(os.listdir(tmp_path / "o")) == PICTURES
    for name in PICTURES:
        assert (tmp_path / "o" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_compare_json_is_one_object_and_nothing_else(tmp_path):
    done = regjax(
        "compare", "--steps", 12, "--l2", 2, "--json", "--out", tmp_path / "o", "--x64", "--numpy-rng"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["runs", "seconds", "device", "versions"]
    assert [run["name"] for run in found["runs"]] == ["none", "l2", "dropout"]
    assert [(run["l2"], run["keep_prob"]) for run in found["runs"]] == [(0, 1), (2, 1), (0, 0.86)]
    for run in found["runs"]:
        assert list(run["cost"]) == ["0", "12"]
        assert 0 <= run["train_accuracy"] <= 1
        assert 0 <= run["test_accuracy"] <= 1
        assert run["status"] == "ok"
    assert set(found["seconds"]) == {"compile", "train", "total"}
    assert sorted(os.listdir(tmp_path / "o")) == PICTURES


@pytest.mark.nightly
def test_compare_on_the_tutorials_data(tutorial_mat, tmp_path):
    done = regjax("compare", "--data", tutorial_mat, "--numpy-rng", "--x64", "--json", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    runs = {run["name"]: run for run in json.loads(done.stdout)["runs"]}
    assert runs["dropout"]["cost"]["20000"] == pytest.approx(0.0605824357985, rel=1e-9)
    assert runs["none"]["test_accuracy"] == pytest.approx(0.915, rel=1e-12)


@pytest.mark.nightly
def test_a_diverged_run_is_null_in_json_and_said_in_the_table(tmp_path):
    options = ("compare", "--steps", 600, "--learning-rate", 1e30, "--out", tmp_path)
    done = regjax(*options, "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["runs"][0]
    assert run["status"] == "diverged"
    assert run["diverged_at"] >= 1
    done = regjax(*options)
    assert "diverged by step" in done.stdout
    assert "last finite cost" in done.stdout


@pytest.mark.nightly
def test_more_than_two_features_have_no_pictures_of_points(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", X=rng.standard_normal((40, 3)), y=rng.integers(0, 2, 40))
    done = regjax("compare", "--data", tmp_path / "d.npz", "--steps", 20, "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    assert "3 features: no pictures of points and boundaries" in done.stdout
    assert sorted(os.listdir(tmp_path / "o")) == ["cost_curves.png", "masks.png"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    X, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])
    good = {"X": X, "y": y[:, None], "Xval": X, "yval": y[:, None]}
    variants = {
        "good": good,
        "no_yval": {k: v for k, v in good.items() if k != "yval"},
        "lengths": {**good, "y": y[:4, None]},
        "nan": {**good, "X": np.where(X == 5, np.nan, X)},
        "inf": {**good, "Xval": np.where(X == 4, np.inf, X)},
        "three": {**good, "y": np.array([[0], [1], [2], [0], [1], [2]])},
        "empty_rows": {**good, "X": np.zeros((0, 2)), "y": np.zeros((0, 1))},
    }
    for name, arrays in variants.items():
        scipy.io.savemat(folder / f"{name}.mat", arrays)
    (folder / "cut.mat").write_bytes((folder / "good.mat").read_bytes()[:200])
    (folder / "text.mat").write_text("not a mat file")
    (folder / "words.csv").write_text("a,b,c\n1,2,0\n1,red,1\n")
    (folder / "few_words.csv").write_text("a,b,c\n" + "1,2,0\n2,3,1\n" * 10 + "1,red,1\n")
    (folder / "a_file").write_text("")
    (folder / "stray.csv").write_text("a,b,c\n" + "1,2,0\n1,3,1\n" * 5 + "1,2,o\n")
    (folder / "pair.csv").write_text("a,b,c\n1,2,0\n3,4,1\n")
    (folder / "taken" / "masks.png").mkdir(parents=True)
    return folder


BAD = [
    (["--data", "{f}/nowhere.mat"], "{f}/nowhere.mat: No such file or directory"),
    (["--data", "{f}"], "{f}: Is a directory"),
    (["--data", "two_region"], "got 'two_region'; did you mean two_regions?"),
    (["--data", "{f}/text.mat"], "must be a MATLAB 5 file, and could not be read as one"),
    (["--data", "{f}/cut.mat"], "{f}/cut.mat: must"),
    (["--data", "{f}/a_file"], "a_file: data must be a file .csv, .tsv, .txt, .dat, .data, .gz, .parquet,"),
    (["--data", "{f}/no_yval.mat"], "must hold X, y, Xval, yval; without yval, it holds X, y, Xval"),
    (["--data", "{f}/empty_rows.mat"], "X must have at least one sample"),
    (["--data", "{f}/lengths.mat"], "X and y must have the same number of samples, got 6 and 4"),
    (["--data", "{f}/nan.mat"], "X must be finite, got nan in sample 2, column 1"),
    (["--data", "{f}/inf.mat"], "Xval must be finite, got inf in sample 2, column 0"),
    (["--data", "{f}/three.mat"], "labels of two classes, 0 and 1, for this loss, got 0, 1, 2"),
    (["--data", "{f}/three.mat"], "{f}/three.mat: data must have labels"),
    (
        ["--data", "{f}/stray.csv"],
        "{f}/stray.csv: data must have labels of two classes, 0 and 1, for this loss, got 0, 1, 2",
    ),
    (
        ["--data", "{f}/pair.csv"],
        "{f}/pair.csv: fraction must leave a sample of each of 2 classes on both sides",
    ),
    (["--data", ""], "data must be a name or a path, got ''"),
    (["--out", ""], "output folder must have a name, got ''"),
    (["--out", "{f}/taken"], "masks.png: is a directory where a file must go"),
    (["--seed", "4294967296"], "seed must be at most 4294967295, got 4294967296"),
    (["--steps", "2147483648"], "steps must be at most 2147483647"),
    (["--l2", "1e60"], "l2 must be a finite number >= 0 in float32, got 1e+60"),
    (["--data", "{f}/words.csv"], "words.csv: must have a column besides the target that can be an input,"),
    (
        ["--data", "{f}/few_words.csv"],
        "few_words.csv: column 'b' must hold numbers in all rows or be named a category, got 'red' in row",
    ),
    (["--keep-prob", "0"], "keep_prob must be in (0, 1] in float32, got 0.0"),
    (["--keep-prob", "1.01"], "keep_prob must be in (0, 1] in float32, got 1.01"),
    (["--keep-prob", "nan"], "keep_prob must be in (0, 1] in float32, got nan"),
    (["--l2", "-0.7"], "l2 must be a finite number >= 0 in float32, got -0.7"),
    (["--l2", "inf"], "l2 must be a finite number >= 0 in float32, got inf"),
    (["--l2", "much"], "'much' is not a valid float"),
    (["--learning-rate", "-1"], "learning_rate must be a finite number >= 0 in float32, got -1.0"),
    (["--steps", "0"], "steps must be at least 1, got 0"),
    (["--steps", "1.5"], "steps must be a whole number, got 1.5"),
    (["--steps", "many"], "steps must be a whole number, got 'many'"),
    (["--steps", "inf"], "steps must be a whole number, got 'inf'"),
    (["--seed", "-1"], "seed must be at least 0, got -1"),
    (["--sed", "1"], "No such option"),
    (["--out", "{f}/a_file"], "{f}/a_file: output folder cannot be written"),
    (["--out", "{f}/a_file/below"], "output folder cannot be written"),
    (["--out", "/proc/nowhere"], "output folder cannot be written"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_bad_input_is_one_line_and_exit_code_two(arguments, words, files, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "use_compilation_cache", lambda wanted: None)  # this process is shared
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *(a.format(f=files) for a in arguments)])
    printed = capsys.readouterr()
    assert stop.value.code == 2
    assert printed.out == ""
    assert words.format(f=files) in printed.err
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    assert os.listdir(tmp_path) == []
    assert (files / "a_file").read_text() == ""


@pytest.mark.slow
def test_one_bad_input_in_a_process_of_its_own(tmp_path):
    done = process("compare", "--keep-prob", 2, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "regjax: error: keep_prob must be in (0, 1] in float32, got 2.0\n"
    assert os.listdir(tmp_path) == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "wait", [0.4, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.1, 0.9, 1.5, 2.5, 5.0))]
)
def test_ctrl_c_at_any_moment_is_130_and_says_what_was_written(wait, tmp_path):
    code = "import sys; from regjax.__main__ import main; print('up', file=sys.stderr, flush=True); main()"
    command = [sys.executable, "-c", code, "compare", "--steps", "2000000000", "--out", str(tmp_path / "o")]
    command += ["--no-compilation-cache"]  # to be interrupted while compiling too
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "up\n"  # a loaded machine takes its time to start Python
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "regjax: interrupted; nothing was written"
    assert not (tmp_path / "o").exists() or os.listdir(tmp_path / "o") == []


def test_ctrl_c_that_python_dropped_is_remembered(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "use_compilation_cache", lambda wanted: None)
    monkeypatch.setattr(terminal.ctrl_c, "pressed", True)  # as if raised inside a callback
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", "--steps", "5", "--out", str(tmp_path)])
    assert stop.value.code == 130
    assert os.listdir(tmp_path) == []


def test_ctrl_c_between_pictures_names_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "use_compilation_cache", lambda wanted: None)
    write, written = terminal.write, []

    def interrupted(path, save):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write(path, save)

    monkeypatch.setattr(terminal, "write", interrupted)
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", "--steps", "5", "--out", str(tmp_path)])
    assert stop.value.code == 130
    assert capsys.readouterr().err == f"regjax: interrupted; written: {tmp_path}/dataset.png\n"


def test_ctrl_c_during_an_import_waits_for_its_end(tmp_path, monkeypatch):
    press = "signal.raise_signal(signal.SIGINT)\n"
    (tmp_path / "half_made.py").write_text(f"import signal\n{press}{press}done = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    def work():
        importlib.import_module("half_made")
        time.sleep(30)

    ctrl_c = terminal.CtrlC()
    before = signal.signal(signal.SIGINT, ctrl_c)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        time.sleep(3 * terminal.AGAIN)  # it is answered once, however often it was pressed
        del sys.modules["half_made"]
        importlib.import_module("half_made")
        with pytest.raises(KeyboardInterrupt):
            ctrl_c.check()
        time.sleep(3 * terminal.AGAIN)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sys.modules.pop("half_made").done


@pytest.mark.nightly
@pytest.mark.bits
def test_check_passes_and_says_the_device(monkeypatch, capsys):
    from regjax.core import certificate
    from regjax.engine import native_certificate
    from regjax.native import library

    rows = certificate.certify(depths=(0,), losses=("squared_error",))
    native = [native_certificate.NativeCertificate("relu", "poisson", 1e-15)]

    def checked(rows, native, why=""):
        """Runs the command on these certificates; returns its exit code and what it printed."""
        monkeypatch.setattr(certificate, "certify", lambda on_progress: rows)
        monkeypatch.setattr(native_certificate, "certify", lambda: native)
        monkeypatch.setattr(library, "find", lambda dtype: library.Found(None, "", why))
        with pytest.raises(SystemExit) as stop:
            cli.main(["check"])
        return stop.value.code, capsys.readouterr().out

    monkeypatch.setattr(terminal, "use_compilation_cache", lambda wanted: None)
    code, out = checked(rows, native)
    assert code == 0
    assert f"all {len(rows) + len(native)} within their bounds; float64 on " in out
    assert re.search(r"poisson +1\.0e-15\n", out)
    code, out = checked(rows, native, why="no compiler")
    assert code == 0
    assert "native kernel: not there, no compiler\n" in out
    assert f"all {len(rows)} within" in out
    bad = [row._replace(error=1e-3) if row.term == "l1" else row for row in rows]
    code, out = checked(bad, native)
    assert code == 1
    assert f"{sum(row.term == 'l1' for row in rows)} of {len(rows) + len(native)} exceed their bound" in out
    code, out = checked(rows, [native[0]._replace(error=1e-3)])
    assert code == 1
    assert f"1 of {len(rows) + len(native)} exceed their bound" in out


def test_help_and_version():
    runner = CliRunner()
    for arguments in (["--help"], ["compare", "--help"], ["check", "-h"], ["--version"]):
        assert runner.invoke(cli.commands, arguments).exit_code == 0


@pytest.mark.nightly
def test_second_process_finds_the_first_ones_programs(tmp_path):
    cache = tmp_path / "cache"
    ours = ("JAX_", "REGJAX_CACHE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment["XDG_CACHE_HOME"] = str(cache)
    options = ("compare", "--steps", 5, "--json", "--out", tmp_path / "o")
    process(*options, "--no-compilation-cache", env=environment)
    assert not (cache / "regjax").exists()
    process(*options, env=environment)
    first = sorted(p.name for p in cache.rglob("*-cache"))
    assert first
    process(*options, env=environment)
    assert sorted(p.name for p in cache.rglob("*-cache")) == first
