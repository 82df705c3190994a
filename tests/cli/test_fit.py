"""`regjax fit` and `regjax predict`: from a stored sweep to predictions of a new file."""

import sqlite3

import numpy as np
import pandas as pd
import pytest
import scipy.io
from command_line import regjax as command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_models import CONFIG, GRID, mixed, unseen

import regjax


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table, stores of sweeps of it and of arrays, and models of both."""
    folder = tmp_path_factory.mktemp("fit")
    mixed().to_csv(folder / "train.csv", index=False)
    mixed("real").to_csv(folder / "real.csv", index=False)
    options = {"folds": 3, "progress": False, "target": "y", "store": folder / "store.sqlite"}
    questions = regjax.Questions(rule="one_se", metric="val_loss")
    regjax.sweep(folder / "real.csv", CONFIG, GRID, **options)
    regjax.sweep(folder / "train.csv", CONFIG, GRID, questions=questions, **options)
    done = command("fit", folder / "store.sqlite", "--sweep", 1, "-o", folder / "real.safetensors")
    assert done.returncode == 0, done.stderr
    done = command("fit", folder / "store.sqlite", "-o", folder / "model")
    assert done.returncode == 0, done.stderr
    return folder


def read(done):
    """Returns the table that a command printed."""
    from io import StringIO

    assert done.returncode == 0, done.stderr
    return pd.read_csv(StringIO(done.stdout), keep_default_na=False)


@pytest.mark.slow
def test_fit_says_what_was_chosen_and_why(folder, tmp_path):
    done = command("fit", folder / "store.sqlite", "--ensemble", 2, "-o", f"{tmp_path}/made/model/")
    assert done.returncode == 0, done.stderr
    chosen, trained, written = done.stdout.splitlines()
    assert chosen.startswith("chosen: λ = ")
    assert ", which is l2=" in chosen
    assert "within one standard error" in chosen  # the rule that the sweep was begun with
    assert "validation loss" in chosen
    assert trained.startswith("trained: 2 networks (seed 0, 1) on all 150 rows, 5 columns as 12 inputs, in ")
    assert written == f"written: {tmp_path}/made/model/model.safetensors"
    model = regjax.load_model(tmp_path / "made" / "model")
    assert len(model.networks) == 2
    assert model.schema.target == "y"
    named = command("fit", folder / "store.sqlite", "--configuration", 1, "-o", tmp_path / "m.safetensors")
    assert named.stdout.startswith("chosen: configuration 1: named; validation loss ")
    assert regjax.load_model(tmp_path / "m.safetensors").training.configuration["l2"] == 0.1


def test_predictions_are_those_of_the_model(folder, tmp_path):
    frame, model = unseen(), regjax.load_model(folder / "model")
    frame.to_csv(tmp_path / "new.csv", index=False)
    found = read(command("predict", folder / "model", tmp_path / "new.csv"))
    assert list(found) == ["row", "prediction", "p(no)", "p(yes)"]
    assert found["row"].tolist() == list(range(2, 42))
    assert found["prediction"].tolist() == model.predict(frame).tolist()
    np.testing.assert_allclose(found[["p(no)", "p(yes)"]], model.predict_proba(frame), atol=1e-7)
    done = command(
        "predict", folder / "model" / "model.safetensors", tmp_path / "new.csv", "-o", tmp_path / "p.csv"
    )
    assert (done.returncode, done.stdout) == (0, f"written: {tmp_path / 'p.csv'}\n")
    assert done.stderr.splitlines() == [
        "note: town has a level that the training table does not have: none of its inputs is 1, in row 2"
    ]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "p.csv", keep_default_na=False), found)


def test_a_target_that_is_there_is_compared_with(folder):
    done = command("predict", folder / "model", folder / "train.csv")
    accuracy = np.mean(read(done)["prediction"] == mixed()["y"])
    assert done.stderr == f"accuracy {accuracy:.4f} on these 150 rows\n"
    done = command("predict", folder / "real.safetensors", folder / "real.csv")
    found = read(done)
    assert list(found) == ["row", "prediction"]
    rmse = np.sqrt(np.mean((found["prediction"] - mixed("real")["y"]) ** 2))
    assert done.stderr == f"rmse {rmse:.4f} on these 150 rows\n"


def test_a_target_with_gaps_or_words_is_compared_where_it_is_known(folder, tmp_path):
    frame = mixed()
    frame.assign(y=frame["y"].mask(frame.index < 10)).to_csv(tmp_path / "some.csv", index=False)
    done = command("predict", folder / "model", tmp_path / "some.csv")
    assert done.stderr.endswith(" on these 140 rows whose y is known\n")
    frame.assign(y=None).to_csv(tmp_path / "none.csv", index=False)
    done = command("predict", folder / "model", tmp_path / "none.csv")
    assert (done.returncode, done.stderr) == (0, "y is not known in these rows: no accuracy\n")
    frame.assign(y="?").to_csv(tmp_path / "none.csv", index=False)
    done = command("predict", folder / "real.safetensors", tmp_path / "none.csv")
    assert (done.returncode, done.stderr) == (0, "y is not known in these rows: no rmse\n")


def test_other_forms_of_the_same_table_give_the_same(folder, tmp_path):
    frame = unseen()
    frame.to_csv(tmp_path / "new.csv", index=False)
    wanted = command("predict", folder / "model", tmp_path / "new.csv").stdout
    frame[frame.columns[::-1]].to_csv(tmp_path / "b.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "c.csv", index=False, sep=";", decimal=",")
    frame.assign(age=frame["age"].fillna(-9)).to_csv(tmp_path / "d.csv", index=False)
    frame.to_parquet(tmp_path / "e.parquet")
    for name, *flags in (
        ("b.tsv",),
        ("c.csv", "--separator", ";", "--decimal", ","),
        ("d.csv", "--gaps=-9", "--header"),
        ("e.parquet",),
    ):
        assert command("predict", folder / "model", tmp_path / name, *flags).stdout == wanted, name


@pytest.mark.nightly
def test_arrays_are_predicted_too(folder, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = np.where(X[:, 0] > 0, 5, 2)
    np.savez(tmp_path / "a.npz", X=X, y=y)
    regjax.sweep(tmp_path / "a.npz", CONFIG, GRID, folds=2, progress=False, store=tmp_path / "s.sqlite")
    assert command("fit", tmp_path / "s.sqlite", "-o", tmp_path / "m").returncode == 0
    done = command("predict", tmp_path / "m", tmp_path / "a.npz")
    found = read(done)
    assert list(found) == ["row", "prediction", "p(2)", "p(5)"]
    assert found["row"].tolist() == list(range(1, 41))
    assert done.stderr == f"accuracy {np.mean(found['prediction'] == y):.4f} on these 40 rows\n"
    scipy.io.savemat(tmp_path / "a.mat", {"X": X})
    assert command("predict", tmp_path / "m", tmp_path / "a.mat").stdout == done.stdout
    np.savez(tmp_path / "other.npz", X=X[:, :2])
    np.savez(tmp_path / "no.npz", Y=X)
    for name, flags, words in (
        ("other.npz", (), "other.npz: X must be (n_samples, 3), got shape (40, 2)"),
        ("no.npz", (), "no.npz: must hold X, it holds Y"),
        ("a.npz", ("--separator", ";"), "separator must only be given with a table"),
    ):
        done = command("predict", tmp_path / "m", tmp_path / name, *flags)
        assert done.returncode == 2
        assert words in done.stderr


def test_rows_have_their_numbers_in_the_file(folder, tmp_path):
    text = unseen(6).to_csv(index=False).splitlines()
    (tmp_path / "gaps.csv").write_text("\n".join([*text[:3], "", "", *text[3:]]) + "\n")
    found = read(command("predict", folder / "model", tmp_path / "gaps.csv"))
    assert found["row"].tolist() == [2, 3, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.drop(columns=["age", "town"]), "lacks 'age', 'town'"),
        (lambda frame: frame.rename(columns={"town": "towns"}), "is 'towns' meant?"),
        (lambda frame: frame.assign(more=1), "got 'more' besides"),
        (lambda frame: frame.assign(age="old"), "column 'age' must hold numbers, got 'old' in row 2"),
        (
            lambda frame: frame.assign(when="soon"),
            "column 'when' must hold dates as year-month-day, got 'soon' in row 2",
        ),
        (lambda frame: frame.iloc[:0], "must hold rows"),
    ],
)
def test_other_columns_are_refused_by_name(folder, tmp_path, change, words):
    change(unseen()).to_csv(tmp_path / "new.csv", index=False)
    done = command("predict", folder / "model", tmp_path / "new.csv", "-o", tmp_path / "p.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"regjax: error: {tmp_path / 'new.csv'}: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "p.csv").exists()


PLAUSIBLE = {
    "age": ["1", "-3.5", "", "NA"],
    "large": ["2e6", "7"],
    "town": ["Oslo", "Bø", "1", "ä", ""],
    "flag": ["True", "False"],
    "when": ["2020-01-01", "2021-12-31 10:00:00", ""],
    "number": ["3", "x"],
    "y": ["yes", "no", "", "maybe"],
}
ODD = ["1e400", "Oslo", "31/12/2020", '"', "x,y", "2020-01-01", "yes"]


@pytest.mark.nightly
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_table_is_predicted_or_refused_in_one_line(folder, tmp_path, data):
    names = data.draw(st.permutations(["age", "large", "town", "flag", "when"]))
    names += data.draw(st.lists(st.sampled_from(["number", "y", "more"]), unique=True, max_size=2))
    odd = data.draw(st.booleans())
    cell = {name: st.sampled_from([*PLAUSIBLE.get(name, ODD), *(ODD if odd else [])]) for name in names}
    rows = data.draw(st.lists(st.tuples(*cell.values()), min_size=1, max_size=5))
    separator = data.draw(st.sampled_from([",", ";", "\t"]))
    text = "\n".join(separator.join(line) for line in [names, *rows])
    (tmp_path / "any.csv").write_text(text, encoding="utf-8")
    done = command("predict", folder / "model", tmp_path / "any.csv")
    if done.returncode == 0:
        # A quotation mark may join two lines.
        lines = done.stdout.count("\n")
        assert lines == 1 + len(rows) or ('"' in text and lines < 1 + len(rows))
        return
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith(f"regjax: error: {tmp_path / 'any.csv'}: ")
    assert done.stderr.count("\n") == 1


def test_bad_files_and_folders_are_refused(folder, tmp_path):
    table, model = folder / "train.csv", folder / "model"
    damaged = tmp_path / "damaged.safetensors"
    content = bytearray((model / "model.safetensors").read_bytes())
    content[500] ^= 1
    damaged.write_bytes(content)
    for words, said in (
        (("predict", damaged, table), "damaged.safetensors: is damaged, its checksum"),
        (("predict", table, table), "train.csv: must be a model, which `regjax fit`"),
        (("predict", folder / "nothing", table), "nothing/model.safetensors: No such file"),
        (("predict", model, folder / "no.csv"), "no.csv: No such file"),
        (("predict", model, "https://x.org/a.csv"), "must be a file: download it first"),
        (("predict", model, folder / "store.sqlite"), "must be a table"),
        (("predict", model, table, "-o", table), "predictions must not go into"),
        (("predict", model, table, "-o", model / "model.safetensors"), "predictions must not go into"),
        (("predict", model, table, "-o", model), "is a directory"),
        (("fit", table), "train.csv"),
        (("fit", folder / "store.sqlite", "--sweep", 7), "sweep must be"),
        (("fit", folder / "store.sqlite", "--configuration", 5), "configuration must be"),
        (("fit", folder / "store.sqlite", "--ensemble", 0), "ensemble must be at least 1, got 0"),
        (
            ("fit", folder / "store.sqlite", "-o", folder / "store.sqlite"),
            "must not go into the store itself",
        ),
        (("fit", folder / "store.sqlite", "--onnx", folder / "store.sqlite"), "must not go into the store"),
        (
            ("fit", folder / "store.sqlite", "-o", tmp_path / "a.x", "--onnx", tmp_path / "a.x"),
            "another file",
        ),
        (("fit", folder / "store.sqlite", "-o", f"{table}/x"), "cannot be written"),
        (("fit", folder / "store.sqlite", "-o", ""), "model must have a path, got ''"),
    ):
        done = command(*words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert said in done.stderr, words
        assert done.stderr.count("\n") == 1


def test_an_unfinished_sweep_is_refused(folder, tmp_path):
    path = tmp_path / "part.sqlite"
    path.write_bytes((folder / "store.sqlite").read_bytes())
    with sqlite3.connect(path) as connection:
        connection.execute(
            "DELETE FROM rows WHERE rowid IN (SELECT rowid FROM rows ORDER BY rowid DESC LIMIT 1)"
        )
    done = command("fit", path, "-o", tmp_path / "model")
    assert done.returncode == 2
    assert "`regjax resume` goes on with it" in done.stderr
    assert not (tmp_path / "model" / "model.safetensors").exists()


def test_onnx_is_written_beside(folder, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    done = command("fit", folder / "store.sqlite", "-o", tmp_path / "m", "--onnx", tmp_path / "m.onnx")
    assert done.stdout.splitlines()[-1] == f"written: {tmp_path}/m/model.safetensors, {tmp_path}/m.onnx"
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [entry.name for entry in session.get_inputs()] == ["age", "large", "town", "flag", "when"]


@pytest.mark.nightly
def test_a_million_rows_go_through_in_pieces(folder, tmp_path):
    import resource

    frame = pd.concat([unseen(1000)] * 1000, ignore_index=True)
    frame.to_csv(tmp_path / "many.csv", index=False)
    done = command("predict", folder / "model", tmp_path / "many.csv", "-o", tmp_path / "p.csv")
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert len(found) == 1_000_000
    model = regjax.load_model(folder / "model")
    np.testing.assert_allclose(found["p(yes)"][-1000:], model.predict_proba(unseen(1000))[:, 1], atol=1e-6)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # 4 GiB in KiB


@pytest.mark.nightly
def test_words_for_gaps_and_labels_of_digits_hold_for_new_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=60).round(3)
    table = pd.DataFrame({"x": x, "z": np.where(np.arange(60) % 7, 1 + x, -999)})
    table["code"] = np.where(np.arange(60) % 20 == 0, "x1", np.where(x > 0, "01", "02"))
    table.to_csv("t.csv", index=False)
    quick = ("--steps", 300, "--folds", 2, "--seeds", 1, "--l2", 0)
    assert command("sweep", "t.csv", "--target", "code", "--gaps=-999", *quick).returncode == 0
    assert command("fit", "regjax.sqlite").returncode == 0
    alone = table[table["code"] != "x1"]  # whose labels a reader takes for the numbers 1 and 2
    alone.to_csv("new.csv", index=False)
    done = command("predict", "model", "new.csv")
    assert done.returncode == 0, done.stderr
    assert float(done.stderr.split("accuracy ")[1].split()[0]) > 0.8
    filled = alone.assign(z=alone["z"].mask(alone["z"] == -999))
    filled.to_csv("filled.csv", index=False)
    assert command("predict", "model", "filled.csv").stdout == done.stdout
    np.savez("empty.npz", X=np.zeros((0, 3)))
    done = command("predict", "model", "empty.npz")
    assert (done.returncode, done.stderr) == (2, "regjax: error: empty.npz: X must hold rows, got none\n")
