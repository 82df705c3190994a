"""The report: its arrays, the page as text, and the command that writes it."""

import base64
import dataclasses
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from pages import HOSTILE, SCRIPT, arrays, wait_for

import regjax
from regjax.cli.main import main
from regjax.engine.sweep import NotFinished
from regjax.report import About, compact, evidence, inputs, networks, page
from regjax.report import arrays as report_data
from regjax.study.records import num_params


def of_halves(bits):
    return np.asarray(bits).view(np.float16).astype(np.float64)


# -- arrays -------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_scores_ranks_and_curves(planar):
    data = arrays(planar)
    assert data["chosen"] == data["start"] == planar.best().index
    np.testing.assert_allclose(
        data["scores"]["val_accuracy"]["values"], planar.table("val_accuracy").mean((1, 2))
    )
    means = planar.units("val_accuracy").mean(axis=1)
    assert list(np.argsort(data["rank"])) == sorted(range(len(means)), key=lambda c: (-means[c], c))
    curves = data["curves"]
    loss = of_halves(curves["means"]["val_loss"]).reshape(len(means), -1)
    assert curves["steps"][-1] == 200
    np.testing.assert_allclose(loss[:, -1], planar.table("val_loss").mean((1, 2)), rtol=1e-3)
    np.testing.assert_allclose(
        loss[:, 0], planar.records["val_loss"][:, 0].reshape(len(means), -1).mean(axis=1), rtol=1e-3
    )
    every = of_halves(data["dots"]["values"]["val_accuracy"]).reshape(len(means) + 1, 3, 4)
    np.testing.assert_allclose(every[:-1], planar.table("val_accuracy"), rtol=1e-3)
    assert np.isnan(every[-1]).all()


@pytest.mark.slow
def test_no_column_of_the_table_is_of_test_samples(planar):
    data = arrays(planar)
    assert "test_accuracy" in data["scores"]  # to look at
    assert not [name for name in data["columns"] if "test" in name]


def test_gaps_are_paired(planar):
    data = arrays(planar)
    gap = planar.units("train_accuracy") - planar.units("val_accuracy")
    np.testing.assert_allclose(data["gap"]["mean"], gap.mean(axis=1))
    assert (data["gap"]["low"] < data["gap"]["mean"]).all()


@pytest.mark.nightly
def test_a_gap_in_loss_is_positive_where_training_samples_do_better(real):
    gaps = evidence.gaps(real, "val_loss")
    assert (gaps["mean"] > 0).all()


def test_the_first_differences_are_those_of_the_comparison(planar):
    table = planar.compare().table
    first = arrays(planar)["first"]
    arms = [planar.design.in_words(c) in set(table["name"]) for c in planar.design.configurations]
    for name in ("difference", "low", "high", "family_low", "family_high"):
        np.testing.assert_array_equal(first[name][arms], table[name])
        assert np.isnan(first[name][~np.array(arms)]).all()


def test_long_axes_are_binned():
    from scipy import stats

    grid = regjax.random_grid(300, l2=stats.loguniform(1e-4, 1), keep_prob=[1, 0.9])
    design = regjax.plan("two_regions", grid=grid, seeds=1, folds=2, probe=False)
    assert design.num_rows == 600
    from regjax.study.resolve import make_design

    first, second = report_data.axes_of(make_design("two_regions", None, grid, seeds=1, folds=2))
    assert (first.name, len(first.texts)) == ("l2", report_data.BINS)
    assert np.bincount(first.level).tolist() == [15] * report_data.BINS
    assert second.texts == ["0.9", "1"]
    values = np.array([c["l2"] for c in grid])
    assert max(values[first.level == 0]) < min(values[first.level == 1])


def test_weights_travel_as_halves(planar):
    data = arrays(planar)["networks"]
    for configuration in range(len(planar.design.configs)):
        place = data["place"][configuration]
        count = data["shapes"][data["shape"][configuration]]["count"]
        row = data["row"][configuration]
        assert planar.design.row(row)[:2] == (configuration, 0)
        flat = np.concatenate([part.ravel() for layer in planar.params(row) for part in layer])
        np.testing.assert_allclose(
            of_halves(data["weights"][place : place + count]), flat, rtol=1e-3, atol=1e-7
        )


def test_what_does_not_fit_is_there_for_the_best(planar, monkeypatch):
    monkeypatch.setitem(compact.BUDGET, "networks", 5 * 2 * 127)
    data = arrays(planar)
    there = np.flatnonzero(data["networks"]["place"] >= 0)
    assert sorted(data["rank"][there]) == [0, 1, 2, 3, 4]


def test_large_numbers_are_not_lost():
    assert compact.as_half(np.array([1.0, np.nan, 6e4])).dtype == np.uint16
    np.testing.assert_array_equal(compact.as_half(np.array([1.0, np.nan, 1e6])), [1, np.nan, 1e6])


def test_histograms(planar):
    bars = arrays(planar)["bars"]
    shares = of_halves(bars["shares"]).reshape(-1, networks.BARS)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=5e-3)
    weights = np.concatenate([w.ravel() for row in range(12) for w, _ in planar.params(row)])
    middle = np.abs(weights) < bars["edge"] / networks.BARS
    np.testing.assert_allclose(shares[0, networks.BARS // 2], middle.mean(), rtol=5e-3)


@pytest.mark.nightly
def test_confusion_is_of_held_out_samples(one_split):
    data = arrays(one_split)["predictions"]
    samples = data["columns"]["samples"].reshape(-1, 3, 3)
    held = one_split.design.splits.val[0] > 0
    truth = np.asarray(one_split.design.data.y[0])[held]
    place = data["place"][0]
    x = np.asarray(one_split.design.data.x).T[held]
    expected = np.zeros((3, 3))
    np.add.at(expected, (truth, one_split.predict(0, x)), 1)
    np.testing.assert_array_equal(samples[place], expected)
    assert data["place"][1] == -1  # diverged


def test_residuals_are_of_held_out_samples(real):
    data = arrays(real)["predictions"]
    predicted = data["columns"]["predicted"].reshape(-1, data["count"])
    fold_of = np.argmax(np.stack(real.design.splits.val) > 0, axis=0)
    some = np.linspace(0, len(fold_of) - 1, data["count"]).astype(int)
    x = np.asarray(real.design.data.x).T
    expected = [real.predict(real.design.index(1, 0, fold_of[i]), x[i : i + 1])[0] for i in some[:20]]
    np.testing.assert_allclose(predicted[data["place"][1]][:20], expected, rtol=1e-4)


@pytest.mark.nightly
def test_what_is_shown_of_standardised_targets_is_in_their_own_unit():
    x = np.random.default_rng(0).standard_normal((60, 3))
    y = 3e5 + 1e5 * x[:, :2]
    config = {"hidden": (4,), "num_steps": 40, "eval_every": 20}
    options = {"folds": 2, "standardize_target": True, "progress": False}
    results = regjax.sweep((x, y), config, regjax.grid(l2=[0, 0.1]), **options)
    data = arrays(results)["predictions"]
    shown = {name: values.reshape(-1, 60)[data["place"][0]] for name, values in data["columns"].items()}
    fold_of = np.argmax(np.stack(results.design.splits.val) > 0, axis=0)
    expected = np.stack([results.predict(fold, x)[:, 0] for fold in (0, 1)])[fold_of, np.arange(60)]
    np.testing.assert_allclose(shown["predicted"], expected, rtol=1e-5)
    np.testing.assert_allclose(shown["residual"], y[:, 0] - expected, rtol=1e-5, atol=0.1)
    assert "3 features, real targets, standardised in each fold; no test samples" in page(
        results, results.compare(), results.best()
    )
    planar = regjax.sweep((x[:, :2], y), config, {"l2": 0.1}, **options)
    found = report_data.arrays_of(planar, "val_r2", None, None)["networks"]["targets"]
    mean, scale = planar.design.target_standardisation(0)
    np.testing.assert_allclose(found, [mean[0, 0], scale], rtol=1e-6)


# -- words --------------------------------------------------------------------------------------------------


def test_our_own_script_is_short():
    folder = SCRIPT.parent
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 150
    assert "innerHTML" not in text
    others = [p.name for p in folder.iterdir() if p.suffix in (".js", ".ts")]
    assert others == ["report.js"]


@pytest.mark.nightly
def test_the_decision_is_the_comparison(planar):
    comparison, choice = planar.compare(), planar.best()
    html = page(planar, comparison, choice)
    row = comparison.table[comparison.table["name"] == planar.design.in_words(choice.configuration)]
    said = re.search(r'<p class="decision">(.*?)</p>', html)[1]
    if len(row):
        assert " than none in validation accuracy" in said
        assert f"{row['difference'].item():+.4f}" in html
    assert "over 4 folds × 3 seeds (t, 3 df)" in html
    assert "selected among 12: optimistic" in html


@pytest.mark.nightly
def test_the_columns_that_matter_to_the_choice_or_why_they_are_not_known(planar, one_split, monkeypatch):
    html = page(planar, planar.compare(), planar.best())
    found = planar.importance(repeats=inputs.REPEATS)
    assert ">Which inputs matter</h2>" in html
    assert f"{found.title}. Thick: 95 %" in html
    assert "over 4 seeds on this one split: says nothing about other data" in page(
        one_split, one_split.compare(), one_split.best()
    )
    # As `importance` does, not by the network alone: the metric is that of the choice.
    choice = planar.best("val_loss")
    assert "how much worse val_loss gets where a column is shuffled" in page(planar, planar.compare(), choice)
    none = dataclasses.replace(planar, kept={})
    assert "got none: none was kept: sweep with keep=&#39;all&#39;" in page(none, none.compare(), none.best())
    assert "Which inputs matter" not in page(planar, planar.compare())


@pytest.mark.nightly
def test_other_models_stand_on_the_page(planar):
    found = regjax.references(planar)
    html = page(planar, planar.compare(), planar.best(), references=found)
    assert "Beside other models" in html
    assert str(found.table["sentence"].iloc[0]) in html
    assert "Beside other models" not in page(planar, planar.compare(), planar.best())
    assert "no references: too long" in page(planar, references="no references: too long")


def test_importance_takes_the_samples_that_there_is_time_for(planar, monkeypatch):
    per_sample = inputs.REPEATS * 12 * 2 * num_params(planar.design.configs[0])
    for samples, words in (
        (50, "This rests on 50 of the held-out samples"),
        (49, None),
        (60, "Columns that"),
    ):
        monkeypatch.setattr(inputs, "WORK", samples * per_sample)
        found = inputs.importance_of(planar, planar.best())
        if words is None:
            assert found == "2 columns and 12 networks are too many for a page: see Results.importance"
        else:
            assert found.notes[0].startswith(words)


@pytest.mark.nightly
def test_what_diverged_is_counted(one_split):
    html = page(one_split, one_split.compare(), one_split.best())
    assert "2 configurations with networks that diverged, 8 in all" in html


@pytest.mark.nightly
def test_all_diverged_and_nothing_held_out():
    grid = regjax.grid(l2=[0, 1], learning_rate=1e9)
    config = {"hidden": (4,), "num_steps": 20, "eval_every": 10}
    results = regjax.sweep("iris", config, grid, folds=2, progress=False)
    assert "Nothing was chosen." in page(results, missing=["no choice: all diverged"])
    results = regjax.sweep("iris", config, regjax.grid(l2=[0.1, 0]), seeds=1, progress=False)
    html = page(results)
    assert "2 configurations × 1 network<" in html
    assert len(re.findall(r"<figure [^>]*hidden>", html)) == 2  # no differences, no gap
    data = report_data.arrays_of(results, "train_loss", None, None)
    assert "rank" not in data["columns"]  # nothing ranks by the samples that were trained on
    assert (data["start"], data["chosen"], list(data["rank"])) == (0, -1, [0, 1])


@pytest.mark.slow
def test_no_text_of_a_user_is_html(planar):
    about = About(source=HOSTILE, command=f"regjax sweep {HOSTILE}", toml=HOSTILE)
    html = page(planar, planar.compare(), planar.best(), missing=[HOSTILE], about=about)
    assert HOSTILE not in html
    assert html.count("&lt;/script&gt;&lt;script&gt;alert(1)") >= 4
    bare = page(None, about=dataclasses.replace(about, every=5))
    assert HOSTILE not in bare
    assert "location.reload(), 5000)" in bare
    assert "reload" not in page(None, about=about)


# -- commands -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a finished sweep of the command line."""
    folder = tmp_path_factory.mktemp("store")
    asked = ["sweep", "--l2", "none,0.1", "--keep-prob", "1", "--num-steps", "50", "--seeds", "2"]
    with pytest.raises(SystemExit) as stop:
        main([*asked, "--folds", "3", "--store", str(folder / "runs.sqlite"), "--out", str(folder)])
    assert stop.value.code == 0
    return folder / "runs.sqlite"


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code


@pytest.mark.slow
def test_report_of_a_store(store, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert run("report", store, "-o", out) == 0
    assert capsys.readouterr().out == f"written: {out}\n"
    html = out.read_text()
    asked = re.search(r'<pre id="asked">(.*?)</pre>', html, re.DOTALL)[1]
    assert asked.startswith("regjax sweep --num-steps 50 --l2 none,0.1 --keep-prob 1 --seeds 2")
    assert "num_steps = 50" in asked
    assert "two_regions: 2 configurations × 6 networks" in html
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert "logistic regression 0." in html
    assert run("report", store, "-o", out, "--no-references") == 0
    assert "logistic regression" not in out.read_text()


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["STORE", "-o", "STORE"], "report must not go into the store itself"),
        (["STORE", "--sweep", "7"], "sweep must be one of 1, got 7"),
        (["STORE", "--sweep", "x"], "sweep must be a number or last, got 'x'"),
        (["STORE", "-o", "."], "is a directory where a file must go"),
        (["STORE", "-o", "missing/report.html"], "No such file or directory"),
        (["missing.sqlite"], "No such file or directory"),
        (["STORE", "--every", "0"], "0 is not in the range"),
    ],
)
def test_bad_input(store, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    before = store.read_bytes()
    assert run("report", *(store if a == "STORE" else a for a in arguments)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert store.read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_without_bokeh(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    assert run("report", store, "-o", tmp_path / "x.html") == 2
    assert "pip install 'regjax[report]'" in capsys.readouterr().err


def lose(store, rows):
    """Takes finished networks out of a copy of a store."""
    import sqlite3

    with sqlite3.connect(store) as connection:
        names = [n for (n,) in connection.execute("SELECT identity FROM sweep_rows ORDER BY row")]
        for row in rows:
            connection.execute("DELETE FROM rows WHERE identity = ?", [names[row]])
            connection.execute("DELETE FROM arrays WHERE identity = ?", [names[row]])
        connection.execute("UPDATE sweeps SET finished = NULL")
    connection.close()


@pytest.mark.nightly
def test_what_is_finished_of_a_sweep_that_is_not(store, tmp_path, capsys):
    part = tmp_path / "part.sqlite"
    shutil.copy(store, part)
    lose(part, [0])
    with pytest.raises(NotFinished, match="must be finished, and 1 has 11 of 12"):
        regjax.load(part)
    whole, rest = regjax.load(store), regjax.load(part, unfinished=True)
    assert rest.design.configurations == whole.design.configurations[1:]
    assert rest.to_pandas()["final_val_loss"].tolist() == whole.to_pandas()["final_val_loss"].tolist()[6:]
    np.testing.assert_array_equal(rest.params(0)[0].w, whole.params(6)[0].w)
    assert sum(len(group.configurations) for group in rest.plan.groups) == 1
    assert run("report", part, "-o", tmp_path / "part.html") == 0
    assert "11 of 12 networks are finished" in (tmp_path / "part.html").read_text()
    lose(part, [7])
    with pytest.raises(NotFinished, match="none yet"):
        regjax.load(part, unfinished=True)
    assert run("report", part, "-o", tmp_path / "part.html") == 0
    assert "No configuration is finished yet." in (tmp_path / "part.html").read_text()


@pytest.mark.nightly
def test_a_page_is_written_until_the_sweep_is_finished(store, tmp_path):
    part, out = tmp_path / "part.sqlite", tmp_path / "report.html"
    shutil.copy(store, part)
    lose(part, [0])
    command = [sys.executable, "-m", "regjax", "report", str(part), "-o", str(out), "--every", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: out.exists() and "11 of 12" in out.read_text())
        shutil.copy(store, tmp_path / "whole.sqlite")
        os.replace(tmp_path / "whole.sqlite", part)
        assert process.wait(60) == 0
    finally:
        process.kill()
    html = out.read_text()
    assert "11 of 12" not in html
    assert '["every",0]' in html


@pytest.mark.nightly
def test_pictures_stand_in_the_page_as_images(planar):
    text, again = (
        page(planar, pictures={"How <b>it</b> went": regjax.plot.forest(planar)}) for _ in range(2)
    )
    source = re.search(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="How &lt;b&gt;', text)
    drawn = base64.b64decode(source[1]).decode()
    assert "<svg" in drawn
    assert "<script" not in drawn
    assert source[0] in again
