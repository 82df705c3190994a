"""`regjax sweep` and `regjax plan`, as a user meets them."""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib

import numpy as np
import pandas as pd
import pytest

import regjax
from regjax.cli import main as cli
from regjax.cli import terminal

FILES = [
    "choice.csv",
    "comparison.csv",
    "curves.png",
    "results.csv",
    "scores.png",
    "summary.csv",
    "sweep.toml",
]
QUICK = ["--steps", "6", "--eval-every", "3", "--seeds", "2", "--folds", "3"]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path_factory):
    """A folder of its own, where the store goes; no compilation cache."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    monkeypatch.setattr(terminal, "use_compilation_cache", lambda wanted: None)  # this process is shared


def run(capsys, *arguments):
    """Runs the command in this process; returns (exit code, standard output, standard error)."""
    with pytest.raises(SystemExit) as stop:
        cli.main([*map(str, arguments)])
    printed = capsys.readouterr()
    return stop.value.code, printed.out, printed.err


@pytest.mark.slow
def test_a_sweep_prints_tables_and_writes_files(tmp_path, capsys):
    code, out, err = run(capsys, "sweep", *QUICK, "--l2", "0,0.1", "--keep-prob", "1,0.9", "--out", tmp_path)
    assert code == 0
    assert "24 networks = 4 configurations × 2 seeds × 3 folds" in out
    assert "val_accuracy of the final networks, over 3 folds × 2 seeds (t, 2 df)" in out
    assert "difference to l2=0, keep_prob=1" in out
    assert "corrected for the selection" in out
    # The answer stands before the choice, and both before the tables.
    said = ["\nChoosing a regulariser ", "In each fold the choice among 4", "Chosen: "]
    places = [
        out.index(words) for words in (*said, "difference to l2=0, keep_prob=1", "of the final networks")
    ]
    assert places == sorted(places)
    assert len(pd.read_csv(tmp_path / "choice.csv")) == 3
    assert "compiling" in out
    assert "…" not in out
    # Plain lines where there is no terminal.
    assert err.splitlines()[0] == "  0% compiling for 24 networks"
    assert err.splitlines()[-1].startswith("100% 24 of 24 networks done, 24 alive")
    assert sorted(os.listdir(tmp_path)) == FILES
    assert len(pd.read_csv(tmp_path / "results.csv")) == 24
    assert pd.read_csv(tmp_path / "summary.csv")["l2"].tolist() == [0, 0, 0.1, 0.1]
    assert len(pd.read_csv(tmp_path / "comparison.csv")) == 3
    for name in ("scores.png", "curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    # What was asked stands beside the results, and asks for them again.
    code, _again, _ = run(capsys, "sweep", tmp_path / "sweep.toml", "--out", tmp_path / "again")
    assert code == 0
    columns = [c for c in pd.read_csv(tmp_path / "results.csv") if c != "seconds"]
    for name in ("results.csv",):
        pd.testing.assert_frame_equal(
            pd.read_csv(tmp_path / name)[columns], pd.read_csv(tmp_path / "again" / name)[columns]
        )


@pytest.mark.nightly
def test_other_models_stand_beside_the_networks_where_they_are_asked_for(tmp_path, capsys):
    asked = ["sweep", "iris", *QUICK[:-2], "--l2", "0,1", "--no-store", "--out", tmp_path, "--references"]
    code, out, _ = run(capsys, *asked, "--folds", "3")
    assert code == 0
    assert "logistic regression 0." in out
    assert "; the chosen network less it: " in out
    table = pd.read_csv(tmp_path / "references.csv")
    assert table["name"].tolist() == ["logistic regression", "boosted trees"]
    code, out, _ = run(capsys, *asked, "--folds", "3", "--json")
    assert [entry["score"] for entry in json.loads(out)["references"]] == table["score"].tolist()
    # Another sweep's files go, and what cannot be answered is said.
    code, out, _ = run(capsys, *asked, "--folds", "none")
    assert code == 0
    assert "no references: best and compare must have samples held out" in out
    assert "references.csv" not in os.listdir(tmp_path)


@pytest.mark.nightly
def test_json_is_one_object_and_python_agrees(tmp_path, capsys):
    code, out, err = run(capsys, "sweep", *QUICK, "--l2", "0,1", "--json", "--out", tmp_path)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["networks"] == 12
    assert found["diverged"] == 0
    assert set(found["seconds"]) == {"compile", "train", "total"}
    config = regjax.Config(num_steps=6, eval_every=3)
    results = regjax.sweep("two_regions", config, {"l2": [0, 1]}, seeds=2, folds=3, progress=False)
    assert [row["val_accuracy"] for row in found["summary"]] == results.summary()["val_accuracy"].tolist()
    row, expected = found["comparison"]["table"][0], results.compare().table.iloc[0]
    assert row["difference"] == pytest.approx(expected["difference"], rel=1e-12)
    assert row["verdict"] == expected["verdict"]
    assert found["choice"]["index"] == results.best().index
    assert found["choice"]["test"] == pytest.approx(results.best().test)


@pytest.mark.nightly
def test_without_held_out_rows_nothing_is_chosen_and_it_says_why(tmp_path, capsys):
    options = ("--steps", 4, "--seeds", 2, "--folds", "none", "--l2", "0,1", "--out", tmp_path)
    code, out, _ = run(capsys, "sweep", *options)
    assert code == 0
    assert "no choice: best and compare must have samples held out" in out
    assert sorted(os.listdir(tmp_path)) == [f for f in FILES if f not in ("comparison.csv", "choice.csv")]


def test_a_diverged_configuration_is_counted_and_never_wins(tmp_path, capsys):
    code, out, _ = run(
        capsys, "sweep", "--steps", 60, "--eval-every", 20, "--seeds", 2, "--folds", 3,
        "--learning-rate", "0.1,1e30", "--over", "learning_rate", "--l2", "0,0.1", "--out", tmp_path,
    )  # fmt: skip
    assert code == 0
    assert "(0 of 6)" in out
    assert "6 diverged" in out or "12 diverged" in out
    assert "learning_rate=0.1" in out.split("the best mean")[0].splitlines()[-1]
    found = pd.read_csv(tmp_path / "results.csv")
    assert set(found["status"]) == {"ok", "diverged"}


@pytest.mark.nightly
def test_regression_with_a_test_file_and_a_named_target(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, n in (("a.csv", 60), ("b.csv", 20)):
        X = rng.standard_normal((n, 3))
        frame = pd.DataFrame(X, columns=["p", "q", "r"])
        frame.insert(1, "yield", X @ [1, -2, 0.5])
        frame.to_csv(tmp_path / name, index=False)
    code, out, _ = run(
        capsys, "sweep", "--data", tmp_path / "a.csv", "--test", tmp_path / "b.csv", "--target", "yield",
        "--hidden", "none", "--l2", "0,1,1000", "--steps", 50, "--folds", 3, "--seeds", 1, "--json",
        "--out", tmp_path / "o",
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)
    assert found["choice"]["metric"] == "val_r2"
    assert found["choice"]["index"] < 2
    assert found["choice"]["test"] > 0.9


@pytest.mark.nightly
def test_a_test_file_is_read_with_the_classes_of_training(tmp_path):
    pd.DataFrame({"a": np.arange(0, 60, 2), "b": ["x", "y", "z"] * 10}).to_csv(
        tmp_path / "t.csv", index=False
    )
    pd.DataFrame({"a": [1.0, 2.0], "b": ["z", "y"]}).to_csv(tmp_path / "v.csv", index=False)
    results = regjax.sweep(
        str(tmp_path / "t.csv"), {"num_steps": 1}, test=str(tmp_path / "v.csv"), progress=False
    )
    assert results.design.test is not None
    assert results.design.test.y.tolist() == [[2, 1]]
    assert results.predict(0, np.array([[1.0]]))[0] in ("x", "y", "z")


def test_print_config_prints_toml_and_does_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("sweep", "plan"):
        code, out, err = run(capsys, command, "--l2", "0,geomspace(1,100,3)", "--print-config")
        assert (code, err) == (0, "")
        assert tomllib.loads(out)["grid"]["l2"] == [0, 1, 10, 100]
        assert tomllib.loads(out)["grid"]["learning_rate"] == 0.3
    assert os.listdir(tmp_path) == []


def test_plan_says_what_a_sweep_will_take(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "plan", *QUICK, "--l2", "0,1")
    assert code == 0
    for words in ("12 networks = 2 configurations", "1 compilation", "chunks of", "memory:", "predicted:"):
        assert words in out
    assert "predicted" not in run(capsys, "plan", *QUICK, "--no-probe")[1]
    assert os.listdir(tmp_path) == []


@pytest.mark.nightly
def test_plan_detect_trains_a_pilot_whose_networks_the_sweep_recalls(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ["--steps", "6", "--folds", "3", "--seeds", "3", "--l2", "0,1", "--metric", "val_loss"]
    code, out, _ = run(capsys, "plan", *asked, "--detect", "0.05")
    assert code == 0
    assert "trains a pilot of 12 networks (2 configurations, 3 folds × 2 seeds), predicted: " in out
    assert "power to show a true difference of 0.05 in val_loss, from a pilot of 12 networks" in out
    assert "for the one question: " in out
    assert os.listdir(tmp_path) == []
    asked += ["--store", "s.sqlite"]
    assert run(capsys, "plan", *asked, "--detect", "0.05", "--no-probe")[0] == 0
    assert run(capsys, "sweep", *asked)[0] == 0
    assert regjax.load("s.sqlite").num_ok().tolist() == [9, 9]
    with sqlite3.connect("s.sqlite") as store:
        (rows,) = store.execute("SELECT count(*) FROM rows").fetchone()
    assert rows == 18


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--detect", "0"], "detect must be a positive number, got 0.0"),
        (["--detect", "-1"], "detect must be a positive number, got -1.0"),
        (["--detect", "nan"], "detect must be a positive number, got nan"),
        (["--detect", "much"], "'much' is not a valid float"),
        (["--detect", "0.1", "--folds", "none"], "must have samples held out from training"),
        (["--detect", "0.1", "--validation", "0.3", "--seeds", "1"], "or two seeds on one"),
        (["--detect", "0.1", "--folds", "1"], "folds must be at least 2, got 1"),
        (["--detect", "0.1", "--baseline", "l2=7"], "baseline must be in the grid, got l2=7"),
    ],
)
def test_what_no_pilot_can_say_is_one_line(capsys, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "plan", "--steps", "6", "--l2", "0,1", *flags)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == []


BAD = [
    (["--data", "iriss"], "did you mean iris?"),
    (["--data", "nowhere.csv"], "nowhere.csv: No such file or directory"),
    (["nowhere.toml"], "nowhere.toml: No such file or directory"),
    (["--l2", "0", "--l2", "1"], "l2 must be given once, got it 2 times"),
    (["--steps", "3", "--num-steps", "4"], "num_steps must be given once"),
    (["--l2", "-1"], "l2 must be a finite number >= 0 in float32, got -1"),
    (["--l2", "logspace(-4,0,3)"], "geomspace(first, last, count)"),
    (["--l2", ""], "l2 must have a value between two commas"),
    (["--l3", "1"], "No such option"),
    (["--keep-prob", "1", "--dropout", "0.2"], "keep_prob and dropout must not both be given"),
    (["--keep-prob", "0.9/0.8/0.7"], "keep_prob must be one value, or 2 (one per hidden layer)"),
    (["--folds", "400"], "folds must be at most the"),
    (["--folds", "many"], "folds must be a number"),
    (["--folds", "3", "--validation", "0.2"], "folds and validation must not both be given"),
    (["--validation", "2"], "validation must be"),
    (["--seeds", "0"], "seeds must be at least 1, got 0"),
    (["--seeds", "1,1"], "seeds must be distinct"),
    (["--batch-size", "500"], "batch_size must be at most the"),
    (["--steps", "3", "--epochs", "3"], "num_steps and epochs must not both be given"),
    (["--epochs", "0"], "epochs must be at least 1"),
    (["--rule", "luck"], "rule must be one of mean, one_se"),
    (["--rule", "one_se", "--folds", "none"], "one_se must have at least two folds or seeds"),
    (["--metric", "test_accuracy"], "metric must be one of val_loss"),
    (["--metric", "cost"], "which contains the penalties"),
    (["--baseline", "l2=3"], "baseline must be in the grid, got l2=3"),
    (["--baseline", "l2"], "baseline must be like l2=0,keep_prob=1"),
    (["--baseline", "l3=0"], "baseline must name hyperparameters"),
    (["--over", "l1"], "over must name axes of the grid"),
    (["--over", "l2", "--seeds", "1", "--validation", "0.2"], "over must have at least two folds or seeds"),
    (["--workers", "0"], "workers must be at least 1"),
    (["--kernel", "fast"], "kernel must be one of auto, xla, native, got 'fast'"),
    (["--workers", "two"], "workers must be a whole number"),
    (["--keep", "some"], "keep must be one of all, best, none"),
    (["--test", "1.5"], "test must be a fraction in (0, 1), got 1.5"),
    (["--test", "nowhere.npz"], "nowhere.npz: No such file or directory"),
    (["--target", "b"], "target must only be given with a table"),
    (["--task", "guess"], "task must be one of"),
    (
        ["--task", "regression", "--data", "digits", "--loss", "softmax_cross_entropy"],
        "y must hold class labels",
    ),
    (["--task", "regression"], "task must be classification for two_regions"),
    (["--optimizer", "sdg"], "optimizer must be one of sgd"),
    (["--pairing", "no"], "pairing must be one of paired, independent"),
    (["--hidden", "0"], "hidden must be at least 1, got 0"),
    (["--dtype", "float16"], "dtype must be one of float32, float64"),
    (["--hidden", "1000000/1000000"], "must fit into"),
    (["--store", "/proc/nowhere/s.sqlite"], "cannot be written"),
    (["--store", "x.sqlite", "--no-store"], "store and no_store must not both be given"),
    (["--out", ""], "output folder must have a name"),
    (["--out", "/proc/nowhere"], "output folder cannot be written"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_bad_input_is_one_line_and_exit_code_two(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "sweep", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.nightly
@pytest.mark.parametrize("wait", [2.0, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.3, 5.0))])
def test_ctrl_c_at_any_moment_is_130(wait, tmp_path):
    code = "import sys; from regjax.__main__ import main; print('up', file=sys.stderr, flush=True); main()"
    command = [sys.executable, "-c", code, "sweep", "--steps", "100000000", "--no-compilation-cache"]
    command += ["--store", str(tmp_path / "s.sqlite")]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "o")], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "up\n"
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert re.fullmatch(
        "regjax: interrupted; (nothing was written|"
        "(what is finished is|0 of 240 networks are done; they are) in .*s.sqlite, and the same command goes "
        "on with it)",
        err.splitlines()[-1],
    )
    assert not (tmp_path / "o").exists() or os.listdir(tmp_path / "o") == []


def test_ctrl_c_between_files_names_them(tmp_path, capsys, monkeypatch):
    write = terminal.write

    def interrupted(path, save):
        if path.name == "summary.csv":
            raise KeyboardInterrupt
        write(path, save)

    monkeypatch.setattr(terminal, "write", interrupted)
    code, _, err = run(capsys, "sweep", *QUICK, "--l2", "0,1", "--json", "--out", tmp_path)
    assert code == 130
    assert err == f"regjax: interrupted; written: {tmp_path}/sweep.toml, {tmp_path}/results.csv\n"


@pytest.mark.nightly
def test_what_an_earlier_sweep_wrote_does_not_stand_beside_this_ones(tmp_path, capsys):
    run(capsys, "sweep", *QUICK, "--l2", "0,1", "--json", "--out", tmp_path)
    assert "comparison.csv" in os.listdir(tmp_path)
    code, out, _ = run(capsys, "sweep", *QUICK, "--l2", "1,2", "--out", tmp_path)
    assert code == 0
    assert "note: there will be no comparison: baseline must be in the grid, got l2=0" in out
    assert "comparison.csv" not in os.listdir(tmp_path)


@pytest.mark.slow
def test_too_little_memory_while_training_is_one_line(tmp_path, capsys, monkeypatch):
    def no_memory(task):
        raise MemoryError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr("regjax.engine.scheduler.run_task", no_memory)
    code, _, err = run(capsys, "sweep", *QUICK, "--l2", "0,1", "--out", tmp_path)
    assert code == 1
    assert "one network must fit into memory" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.nightly
def test_tables_are_as_wide_as_their_lines(tmp_path, capsys):
    axes = [f"--{name}=0.5,0.6" for name in ("momentum", "b1", "b2", "learning-rate", "l1")]
    code, out, _ = run(
        capsys, "sweep", *QUICK[:4], "--folds", "2", "--seeds", "1", *axes, "--keep-prob",
        "1,0.987654/0.876543", "--baseline", "keep_prob=1", "--out", tmp_path,
    )  # fmt: skip
    assert code == 0
    assert "keep_prob=0.987654/0.876543" in out
    cut = [line for line in out.splitlines() if "…" in line and "more in" not in line]
    assert cut == []


@pytest.mark.nightly
def test_the_same_command_again_trains_nothing_and_says_the_same(tmp_path, capsys):
    command = ["sweep", *QUICK, "--l2", "0,1", "--json", "--out", tmp_path / "o"]
    first, again = (json.loads(run(capsys, *command)[1]) for _ in range(2))
    assert first["summary"] == again["summary"]
    assert first["comparison"] == again["comparison"]
    assert os.path.exists("regjax.sqlite")
    alone = json.loads(run(capsys, *command, "--no-store", "--store", "none")[1])
    assert alone["summary"] == first["summary"]
    with open("other.sqlite", "w") as file:
        file.write("no store")
    code, _, err = run(capsys, *command, "--store", "other.sqlite")
    assert (code, err.count("\n")) == (2, 1)
    assert "other.sqlite: must be a store of regjax, got another kind of file" in err


@pytest.mark.nightly
@pytest.mark.slow
def test_sigterm_keeps_what_is_done_and_the_same_command_goes_on(tmp_path, capsys):
    options = ["sweep", "--steps", "20000", "--seeds", "2", "--folds", "2", "--l2", "0,0.1"]
    options += ["--store", str(tmp_path / "s.sqlite"), "--out", str(tmp_path / "o"), "--no-compilation-cache"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from regjax.__main__ import main; main()", *options],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "networks done" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    if process.returncode != 0:  # it may have been quicker
        assert process.returncode == 143
        assert re.search(r"\d of 8 networks are done; they are in .*the same command goes on with it", err)
    code, out, _ = run(capsys, *options, "--json")
    assert code == 0
    assert json.loads(out)["networks"] == 8


@pytest.mark.slow
def test_show_export_and_resume(tmp_path, capsys):
    command = ["sweep", *QUICK, "--l2", "0,1", "--out", tmp_path / "o"]
    run(capsys, *command)
    run(capsys, *command, "--l1", "0,0.5")
    code, out, _ = run(capsys, "show", "regjax.sqlite")
    assert code == 0
    assert "sweep 1: two_regions (data " in out
    assert "12 of 12 networks, 0 diverged" in out
    assert "24 of 24 networks" in out
    assert ", jax " in out
    assert out.count(" none in validation accuracy") + out.count("it chose the baseline, none.") == 2
    found = json.loads(run(capsys, "show", "regjax.sqlite", "--json")[1])
    assert found["sweeps"][0]["first"] in out
    assert [sweep["done"] for sweep in found["sweeps"]] == [12, 24]
    code, _, _ = run(capsys, "export", "regjax.sqlite", "--sweep", "1", "--csv", tmp_path / "e.csv")
    assert code == 0
    assert len(pd.read_csv(tmp_path / "e.csv")) == 12
    code, out, _ = run(capsys, "resume", "regjax.sqlite")
    assert code == 0
    assert "difference to l2=0" in out
    for arguments, words in [
        (["show", "nowhere.sqlite"], "nowhere.sqlite: No such file or directory"),
        (["show", str(tmp_path / "e.csv")], "must be a store of regjax, got another kind of file"),
        (["export", "regjax.sqlite", "--csv", "x.csv", "--sweep", "9"], "sweep must be one of 1, 2, got 9"),
        (["resume", "regjax.sqlite", "--sweep", "first"], "sweep must be a number or last, got 'first'"),
    ]:
        code, out, err = run(capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert words in err


def test_a_damaged_store_is_one_line(tmp_path, capsys):
    command = ["sweep", *QUICK, "--l2", "0,1", "--out", tmp_path / "o"]
    run(capsys, *command)
    with contextlib.closing(sqlite3.connect("regjax.sqlite")) as connection:
        connection.execute("UPDATE rows SET val_accuracy = 0.99 WHERE seed = 1")
        connection.commit()
    for arguments, code in [
        (command, 1),
        (["resume", "regjax.sqlite"], 1),
        (["export", "regjax.sqlite", "--csv", "a"], 2),
    ]:
        found, _, err = run(capsys, *arguments)
        assert (found, err.count("\n")) == (code, 1)
        assert "is damaged" in err
    code, out, err = run(capsys, "show", "regjax.sqlite")
    assert (code, err) == (0, "")
    assert "best" not in out
    assert "is damaged; deleted from its table, it is trained again" in out


def test_nothing_overwrites_the_store(tmp_path, capsys):
    command = ["sweep", *QUICK, "--l2", "0,1", "--out", tmp_path / "o"]
    run(capsys, *command)
    os.mkdir("p")
    for arguments in (
        ["export", "regjax.sqlite", "--csv", "regjax.sqlite"],
        ["export", "regjax.sqlite", "--parquet", "./regjax.sqlite"],
        [*command, "--out", "p", "--store", "p/../p/results.csv"],
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert "must not" in err
    assert "12 of 12 networks" in run(capsys, "show", "regjax.sqlite")[1]


@pytest.mark.slow
@pytest.mark.bits
def test_replay_and_parquet(tmp_path, capsys):
    small = ["--hidden", "4", "--metrics", "accuracy", "--l2", "0,1"]
    run(capsys, "sweep", *QUICK, *small, "--out", tmp_path / "o")
    code, out, _ = run(capsys, "replay", "regjax.sqlite", "--row", "3")
    assert code == 0
    assert re.fullmatch(r"row 3 of sweep 1 \(l2=0, seed 1, fold 0\): came out as stored, to the bit\n", out)
    code, _, err = run(capsys, "replay", "regjax.sqlite", "--row", "99")
    assert (code, err) == (2, "regjax: error: row must be in 0 to 11, got 99\n")
    code, out, _ = run(capsys, "export", "regjax.sqlite", "--csv", "a.csv", "--parquet", "a.parquet")
    assert (code, out) == (0, "written: a.csv, a.parquet\n")
    one, other = pd.read_csv("a.csv"), pd.read_parquet("a.parquet")
    np.testing.assert_allclose(one["final_val_loss"], other["final_val_loss"], rtol=1e-6)
    assert list(one) == list(other)
    code, _, err = run(capsys, "export", "regjax.sqlite")
    assert (code, err) == (2, "regjax: error: export must have --csv PATH or --parquet PATH, got neither\n")


@pytest.mark.nightly
def test_resume_goes_on_with_what_was_asked(tmp_path, capsys):
    command = [
        "sweep",
        *QUICK,
        "--l2",
        "0,1",
        "--out",
        tmp_path / "o",
        "--rule",
        "one_se",
        "--metric",
        "val_loss",
    ]
    out = run(capsys, *command)[1]
    with contextlib.closing(sqlite3.connect("regjax.sqlite")) as connection:
        connection.execute("DELETE FROM rows WHERE seed = 1")
        connection.execute("UPDATE sweeps SET finished = NULL")
        connection.commit()
    run(capsys, *command[:-4], "--l1", "1")  # a later one, which is finished
    assert "not finished: `regjax resume` goes on" in run(capsys, "show", "regjax.sqlite", "--sweep", "1")[1]
    resumed = run(capsys, "resume", "regjax.sqlite")[1]
    table = [line for line in out.splitlines() if line.startswith(("val_loss", "l2=", "difference"))]
    assert table == [
        line for line in resumed.splitlines() if line.startswith(("val_loss", "l2=", "difference"))
    ]
    assert "one standard error" in resumed


@pytest.mark.nightly
def test_data_that_changed_under_its_name_is_said(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for _ in range(2):
        pd.DataFrame({"a": rng.random(30), "b": ["x", "y"] * 15}).to_csv("d.csv", index=False)
        run(capsys, "sweep", *QUICK, "--data", "d.csv", "--l2", "0,1", "--out", tmp_path / "o")
    out = run(capsys, "show", "regjax.sqlite")[1]
    assert "note: d.csv has changed: data " in out
    assert out.count("12 of 12 networks") == 2
