"""The figures of a sweep: what they hold, under whatever results."""

import dataclasses
import importlib.util
import inspect
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from cases import slow_but
from matplotlib.figure import Figure
from sweeps import made_up

import regjax
from regjax.cli import main as cli
from regjax.cli import plot as plot_command
from regjax.plot import figures as plot
from regjax.plot import palette, samples, scales
from regjax.plot.request import check_kept
from regjax.study.comparison import unit_interval
from regjax.study.design import Design

ROOT = Path(__file__).parents[2]
CONFIG = {"hidden": (4,), "num_steps": 20, "eval_every": 5}
GRID = {"l2": [0, 0.1, 10], "keep_prob": [1, 0.8], "learning_rate": [0.1, 0.3]}
HOSTILE = ["</script><script>alert(1)</script>", "$$x$$"]


def swept(data="two_regions", grid=GRID, config=CONFIG, **options):
    options = {"seeds": 2, "folds": 3, "keep": "all", "progress": False} | options
    return regjax.sweep(data, config, grid, **options)


def samples_of(n, features=2, classes=("a", "b")):
    X = np.random.default_rng(0).standard_normal((n, features))
    return X, np.array([classes[i % len(classes)] for i in range(n)])


@pytest.fixture(scope="module")
def results():
    return swept()


def scores_of(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def texts(figure):
    return [t.get_text() for ax in figure.axes for t in ax.texts]


def with_gid(figure, gid):
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def drawn(kind, results, **options) -> Any:
    """Draws a kind, and renders it: no warning may come of it."""
    figure = plot.KINDS[kind](results, **options)
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    return figure


# -- whatever the results -----------------------------------------------------------------------------------

SMALL = {"l2": [0, 1], "keep_prob": [1, 0.8], "learning_rate": 0.1}


def everything_diverged():
    return swept(grid=SMALL | {"learning_rate": 1e30}, config=CONFIG | {"num_steps": 40})


def one_value():
    return swept(grid={"l2": 0.1, "keep_prob": 0.8, "learning_rate": 0.1}, seeds=1)


def one_sample():
    return swept(samples_of(1, classes=("a",)), grid=SMALL, folds=None)


def three_classes():
    return swept(samples_of(30, classes=("a", "b", "c")), grid=SMALL, seeds=1)


def regression():
    X, _ = samples_of(30, features=3)
    return swept((X, X[:, 0]), grid=SMALL)


def random_configurations():
    rng = np.random.default_rng(0)
    drawn = [(10 ** rng.uniform(-4, 1), rng.uniform(0.5, 1), 10 ** rng.uniform(-2, 5)) for _ in range(40)]
    grid = [dict(zip(("l2", "keep_prob", "learning_rate"), values, strict=True)) for values in drawn]
    return swept(grid=grid, config=CONFIG | {"num_steps": 60}, seeds=1)


def nothing_held_out():
    return swept(folds=None, seeds=1, grid=SMALL)


CASES = {
    case.__name__: case
    for case in (
        everything_diverged,
        one_value,
        one_sample,
        three_classes,
        regression,
        random_configurations,
        nothing_held_out,
    )
}
# What cannot be drawn, and what is said.
REFUSED = {
    "everything_diverged": {"importance": "diverged", "question": "they diverged"},
    "one_value": dict.fromkeys(("question", "forest", "power"), "baseline must be in the grid"),
    "one_sample": {
        "gap": "gap must have samples held out",
        "question": "must have samples held out",
        "forest": "must have samples held out",
        "power": "must have samples held out",
        "importance": "importance must have samples held out from training",
    },
    "three_classes": dict.fromkeys(
        ("boundary", "boundaries"), "two features and two classes, got 2 features and 3"
    ),
    "regression": dict.fromkeys(("boundary", "boundaries"), "got 3 features and real targets"),
    "random_configurations": dict.fromkeys(("question", "forest", "power"), "baseline must be in the grid"),
    "nothing_held_out": {
        "gap": "gap must have samples held out",
        "question": "must have samples held out",
        "forest": "must have samples held out",
        "power": "must have samples held out",
        "importance": "importance must have samples held out from training",
    },
}


@pytest.mark.nightly
@pytest.mark.parametrize(
    "case", slow_but(CASES, {"one_sample", "one_value", "regression", "nothing_held_out"})
)
def test_every_kind_is_drawn_or_says_why_not(case):
    results = CASES[case]()
    for kind in plot.KINDS:
        if kind in REFUSED.get(case, {}):
            with pytest.raises(ValueError, match=REFUSED[case][kind]) as said:
                plot.KINDS[kind](results)
            assert "\n" not in str(said.value)
        else:
            figure = drawn(kind, results)
            for ax in figure.axes:
                if ax.axison and ax.get_label() != "<colorbar>":
                    assert ax.get_title() or figure.get_suptitle(), kind
                    assert ax.get_xlabel() or not ax.get_subplotspec().is_last_row(), kind
                    assert ax.get_ylabel() or not ax.get_subplotspec().is_first_col(), kind


@pytest.fixture(scope="module")
def large():
    """10,000 networks of 2,500 configurations, each with weights."""
    grid = {
        "l2": [0, *np.geomspace(1e-4, 10, 24)],
        "learning_rate": list(np.geomspace(1e-3, 10, 50)),
        "input_keep_prob": [1, 0.8],
    }
    found = made_up(scores_of((2500, 2, 2)), grid, folds=2, diverged=range(0, 10_000, 97))
    rng = np.random.default_rng(0)
    kept = {
        row: (regjax.Layer(rng.standard_normal((1, 2)).astype(np.float32), np.zeros((1, 1), np.float32)),)
        for row in range(len(found))
        if found.diverged_at[row] < 0
    }
    return dataclasses.replace(found, kept=kept)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("kind", plot.KINDS)
def test_ten_thousand_networks(kind, large):
    drawn(kind, large)


@pytest.mark.nightly
def test_ten_thousand_samples_are_thinned_and_it_says_so():
    found = drawn("data_set", swept(samples_of(10_000), grid=None, seeds=1, folds=None))
    assert "5,000 of them drawn" in found.axes[0].get_title().replace("\n", " ")
    assert sum(len(c.get_offsets()) for c in found.axes[0].collections) == samples.MAX_POINTS


@pytest.mark.nightly
@pytest.mark.parametrize(
    "names",
    slow_but(
        [HOSTILE, ["_hidden", "x" * 500], ["猫", "собака"], ["قط", "γάτα"], ["a\x00b", "line\nline"]],
        [HOSTILE],
    ),
)
def test_names_are_shown_as_they_are_and_run_nothing(names, results, tmp_path):
    named = dataclasses.replace(results.design, classes=np.array(names))
    for kind in ("data_set", "boundary", "boundaries"):
        figure = plot.KINDS[kind](dataclasses.replace(results, design=named))
        (legend,) = figure.legends
        assert len(legend.get_texts()) >= 2
        figure.savefig(tmp_path / "f.svg")
        svg = (tmp_path / "f.svg").read_text()
        ElementTree.fromstring(svg)
        assert "<script" not in svg
        if names is HOSTILE:
            # What is written stands beside its outlines, as a comment.
            assert "<!-- $$x$$ -->" in svg
            assert "<!-- &lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt; -->" in svg
    figure.savefig(tmp_path / "f.pdf")


@pytest.mark.nightly
def test_no_global_state_is_touched(results):
    before = dict(matplotlib.rcParams)
    for kind in plot.KINDS:
        drawn(kind, results)
    assert dict(matplotlib.rcParams) == before
    code = (
        "import sys, numpy, regjax.plot.figures, regjax.tutorial.figures\n"
        "from regjax.plot.dropped import draw_masks\n"
        "draw_masks(None, [('layer', numpy.ones((2, 3)))], 'sample', 'title').canvas.draw()\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.nightly
def test_layouts_of_ones_own(results):
    for kind, draw in plot.KINDS.items():
        figure: Any = Figure(figsize=(16, 8), layout="constrained")
        left, right = figure.subfigures(1, 2)
        takes = inspect.signature(draw).parameters
        assert ("ax" in takes) != ("figure" in takes)
        for part in (left, right):
            where = {"ax": part.subplots()} if "ax" in takes else {"figure": part}
            assert draw(results, **where) is figure, kind
        figure.canvas.draw()


# -- what they hold -----------------------------------------------------------------------------------------


def test_two_axes_are_one_heat_map_in_order_of_the_values():
    grid = {"l2": [1, 0, 0.1], "keep_prob": [1, 0.9]}
    results = made_up(scores_of((6, 2, 3)), grid, folds=3)
    figure = drawn("heatmap", results)
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "0.1", "1"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0.9", "1"]
    means = results.units("val_accuracy").mean(axis=1)
    shade = np.asarray(ax.images[0].get_array())
    # configurations: l2 1, 0, 0.1 × keep_prob 1, 0.9
    np.testing.assert_allclose(shade, [[means[3], means[5], means[1]], [means[2], means[4], means[0]]])
    assert sorted(texts(figure)) == sorted(f"{m:.3f}" for m in means)
    (frame,) = with_gid(figure, "chosen")
    row, column = np.unravel_index(np.argmax(shade), shade.shape)
    assert frame.get_xy() == (column - 0.5, row - 0.5)
    assert means[results.best().index] == shade[row, column]
    turned = drawn("heatmap", results, x="keep_prob", y="l2").axes[0]
    np.testing.assert_allclose(np.asarray(turned.images[0].get_array()), shade.T)


def test_what_is_framed_is_chosen_by_validation_whatever_is_shown():
    results = made_up(
        scores_of((6, 1, 3)), {"l2": [0, 1, 2], "keep_prob": [1, 0.9]}, folds=3, test=scores_of(18, 2)
    )
    figure = drawn("heatmap", results, metric="test_accuracy")
    (frame,) = with_gid(figure, "chosen")
    column, row = (int(place + 0.5) for place in frame.get_xy())
    shade = np.asarray(figure.axes[0].images[0].get_array())
    assert shade[row, column] == pytest.approx(
        results.units("test_accuracy").mean(axis=1)[results.best().index]
    )
    assert shade[row, column] < shade.max()
    assert "framed: the best by val_accuracy" in figure.get_suptitle().replace("\n", " ")
    for metric in results.records:
        drawn("heatmap", results, metric=metric)


def test_a_third_axis_makes_panels_and_diverged_ones_say_so():
    grid = {"l2": [0, 0.1, 1], "keep_prob": [1, 0.9], "learning_rate": [0.1, 0.2]}
    results = made_up(scores_of((12, 2, 3)), grid, folds=3, diverged=[0, 1])
    figure = drawn("heatmap", results)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["learning_rate=0.1", "learning_rate=0.2"]
    assert "4 of 6" in texts(figure)
    (hatched,) = with_gid(figure, "diverged")
    assert hatched.get_xy() == (-0.5, 0.5)  # l2 0, keep_prob 1
    assert "hatched" in figure.get_suptitle()


def test_more_than_nine_panels_become_the_best_of_them():
    grid = {
        "l2": [0, 0.1, 1],
        "keep_prob": [1, 0.9, 0.8, 0.7],
        "b1": [0, 0.4, 0.8, 0.9],
        "b2": [0.1, 0.2, 0.3, 0.4],
    }
    results = made_up(scores_of((192, 1, 2)), grid, folds=2)
    figure = drawn("heatmap", results)
    assert len([ax for ax in figure.axes if ax.get_title()]) == 1
    assert "the best of" in figure.axes[0].get_title()
    shade = np.asarray(figure.axes[0].images[0].get_array())
    assert shade.max() == results.units("val_accuracy").mean(axis=1).max()


@pytest.mark.parametrize("grid", [{"l2": [0, 0.1, 1, 10]}, {"l2": 0.1}, {"activation": ["relu", "tanh"]}])
def test_one_axis_is_points_with_intervals(grid):
    (values,) = grid.values()
    count = len(values) if isinstance(values, list) else 1
    results = made_up(scores_of((count, 2, 3)), grid, folds=3)
    figure = drawn("heatmap", results)
    (bars,) = figure.axes[0].containers
    table = results.summary()
    np.testing.assert_allclose(bars.lines[0].get_ydata(), table["val_accuracy"])
    ends = np.array([path.vertices[:, 1] for path in bars.lines[2][0].get_paths()])
    np.testing.assert_allclose(ends, table[["low", "high"]])
    (ring,) = with_gid(figure, "chosen")
    assert ring.get_ydata()[0] == table["val_accuracy"].max()


def test_a_random_grid_is_points():
    rng = np.random.default_rng(0)
    grid = [{"l2": 10 ** rng.uniform(-4, 1), "learning_rate": 10 ** rng.uniform(-3, 0)} for _ in range(40)]
    results = made_up(scores_of((40, 1, 3)), grid, folds=3, diverged=[0])
    figure = drawn("heatmap", results, x="learning_rate", y="l2")
    lost, points = figure.axes[0].collections
    assert len(lost.get_offsets()) == 1
    values = results.units("val_accuracy").mean(axis=1)[1:]
    np.testing.assert_allclose(points.get_array(), values)
    rates = [c["learning_rate"] for c in results.design.configurations[1:]]
    np.testing.assert_allclose(points.get_offsets()[:, 0], np.log10(rates))
    assert figure.axes[0].get_xlabel() == "learning_rate (log scale)"


def test_curves_show_the_best_and_the_baseline():
    scores = np.repeat(np.linspace(0.1, 0.8, 8)[:, None, None], 2, axis=2)
    results = made_up(scores, {"l2": [0, 1, 2, 3, 4, 5, 6, 7]}, folds=2)
    figure = drawn("curves", results, num=3)
    legend = figure.axes[3].get_legend()
    assert [t.get_text() for t in legend.get_texts()] == ["l2=7", "l2=6", "l2=5", "l2=0 (all off)"]
    cost, loss, accuracy = (ax.get_ylabel() for ax in figure.axes[:3])
    assert (cost, loss, accuracy) == (
        "training cost (nats)",
        "validation loss (nats)",
        "validation accuracy (share of samples)",
    )
    line = figure.axes[2].lines[0]
    np.testing.assert_allclose(line.get_xdata(), [0, 10])
    np.testing.assert_allclose(line.get_ydata(), [0.5, 0.8])


def test_bands_reach_from_the_lowest_to_the_highest_seed(results):
    figure = drawn("curves", results)
    best = int(np.argmax(results.units("val_accuracy").mean(axis=1)))
    for ax, metric in zip(figure.axes, ("train_cost", "val_loss", "val_accuracy"), strict=False):
        seeds = results.records[metric].reshape(-1, 2, 3, 5)[best].mean(axis=1)
        band = ax.collections[0].get_paths()[0].vertices
        for step, values in zip(results.steps(best), seeds.T, strict=True):
            heights = band[band[:, 0] == step, 1]
            np.testing.assert_allclose(
                [heights.min(), heights.max()], [values.min(), values.max()], rtol=1e-6
            )
        np.testing.assert_allclose(ax.lines[0].get_ydata(), seeds.mean(axis=0), rtol=1e-6)


@pytest.mark.nightly
def test_a_curve_ends_where_a_network_diverged_and_the_others_stay_readable():
    results = swept(
        grid={"l2": [0, 1], "learning_rate": [0.1, 1e4]}, config=CONFIG | {"num_steps": 100, "eval_every": 1}
    )
    assert 0 < np.sum(results.diverged_at >= 0) < len(results)
    figure = drawn("curves", results)
    ends = [np.isnan(line.get_ydata()[-1]) for line in figure.axes[1].lines]
    assert any(ends)
    assert not all(ends)
    assert figure.axes[1].get_ylim()[1] < 10
    assert any(" ok" in t.get_text() for t in figure.axes[3].get_legend().get_texts())


def test_forest_holds_the_differences_of_the_comparison(results):
    baseline = {"l2": 0, "keep_prob": 1}
    figure = drawn("forest", results, baseline=baseline, metric="val_loss")
    table = results.compare(baseline, metric="val_loss").table.sort_values("difference", kind="stable")
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == table["name"].tolist()
    lines = [np.asarray(line.get_xdata()) for line in ax.lines[:-1]]  # the last is 0
    np.testing.assert_allclose(np.ravel(lines[2::3]), table["difference"])
    np.testing.assert_allclose(lines[1::3], table[["low", "high"]])
    np.testing.assert_allclose(lines[0::3], table[["family_low", "family_high"]])
    assert "better: left of 0" in ax.get_xlabel()


@pytest.mark.slow
def test_forest_shows_both_ends_and_tells_verdicts_apart():
    scores = 0.5 + 0.001 * scores_of((101, 1, 5))
    scores[1] += 0.3
    scores[2] -= 0.3
    results = made_up(scores, {"l2": list(range(101))}, folds=5)
    figure = drawn("forest", results)
    ax = figure.axes[0]
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert len(names) == 40
    assert (names[0], names[-1]) == ("l2=1", "l2=2")
    assert any("60 more" in text for text in texts(figure))
    marks = {
        line.get_marker(): line.get_color() for line in ax.lines if line.get_marker() not in ("None", "")
    }
    assert marks == {look.marker: look.colour for look in palette.VERDICTS.values()}
    assert len(marks) == len(set(marks.values())) == 3


def test_forest_says_what_diverged_and_gives_it_no_interval():
    results = made_up(scores_of((3, 1, 5)), {"l2": [0, 1, 2]}, folds=5, diverged=[7])
    figure = drawn("forest", results)
    assert [t.get_text() for t in with_gid(figure, "diverged")] == ["no verdict: 4 of 5 ok"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["l2=2", "l2=1"]
    assert len(figure.axes[0].lines) == 4  # two intervals, a point, 0


def test_power_draws_the_power_of_this_sweep_and_of_more(results):
    figure = drawn("power", results, metric="val_loss")
    left, right = figure.axes
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["this sweep", "3 repeats", "10 repeats", "4 times the rows", "16 times the rows"]
    curves = np.array([line.get_ydata() for line in left.lines[: len(names)]])
    assert (np.diff(curves, axis=1) >= -1e-9).all()  # the power rises with the difference …
    assert (curves[1:, 1:] > curves[0, 1:]).all()  # … and with the evidence
    (now,), (floor,) = with_gid(figure, "now"), with_gid(figure, "floor")
    widths = right.lines[0].get_ydata()
    assert (np.diff(widths) < 0).all()
    assert now.get_ydata()[0] == widths[0]
    assert floor.get_ydata()[0] < widths[-1]
    assert "no number of repeats goes below" in texts(figure)[-1]
    table = results.compare(metric="val_loss").table
    seen = with_gid(figure, "seen")[0].get_xdata()
    assert set(seen) <= set(np.abs(table["difference"]))


def test_power_of_one_split_is_drawn_against_seeds():
    results = made_up(scores_of((3, 4, 1)), {"l2": [0, 1, 2]}, validation=0.3)
    figure = drawn("power", results)
    assert figure.axes[1].get_xlabel() == "seeds"
    assert "64 seeds" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_gap_is_the_paired_difference_with_its_interval(results):
    figure = drawn("gap", results, metric="val_loss")
    design, ax = results.design, figure.axes[0]
    difference = results.units("val_loss") - results.units("train_loss")
    lines = {
        text.get_text(): bars for text, bars in zip(figure.legends[0].get_texts(), ax.containers, strict=True)
    }
    assert len(lines) == 4
    bars = lines["keep_prob=0.8, learning_rate=0.3"]
    chosen = [
        i for i, c in enumerate(design.configurations) if (c["keep_prob"], c["learning_rate"]) == (0.8, 0.3)
    ]
    np.testing.assert_allclose(bars.lines[0].get_ydata(), difference[chosen].mean(axis=1), rtol=1e-6)
    found = [unit_interval(design, difference[i]) for i in chosen]
    ends = np.array([path.vertices[:, 1] for path in bars.lines[2][0].get_paths()])
    np.testing.assert_allclose(ends, [[f.low, f.high] for f in found], rtol=1e-6)


def test_path_holds_norms_and_zeros(results):
    exact = {0: [[0.0, 3.0], [4.0, 0.0]], 6: [[1e-5, 1.0], [0.0, 1.0]]}
    base = made_up(scores_of((2, 1, 1)), {"l2": [0, 1]}, validation=0.3)
    layers = {
        row: tuple(regjax.Layer(np.array([w]), np.zeros((1, 1))) for w in v)
        for row, v in enumerate(exact.values())
    }
    figure = drawn("path", dataclasses.replace(base, kept=layers))
    whole, by_layer, sparsity = figure.axes[:3]
    np.testing.assert_allclose(whole.lines[0].get_ydata(), [5, np.sqrt(2 + 1e-10)])
    np.testing.assert_allclose([line.get_ydata() for line in by_layer.lines], [[3, 1], [4, 1]], rtol=1e-9)
    np.testing.assert_allclose([line.get_ydata() for line in sparsity.lines], [[0.5, 0.25], [0.5, 0.5]])
    none = dataclasses.replace(base, kept={})
    for kind in ("path", "boundary", "boundaries", "importance"):
        with pytest.raises(ValueError, match=f"{kind} must have the networks' parameters, got"):
            plot.KINDS[kind](none)
    check_kept(results, "path")


def test_importance_is_that_of_the_results_best_on_top(results):
    found = results.importance(configuration=2, metric="val_loss")
    figure = drawn("importance", results, configuration=2, metric="val_loss")
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == found.table["column"].tolist()
    bars, dots = (
        [
            line.get_xdata()
            for line in ax.lines
            if (line.get_marker() == "o") == is_dot and len(line.get_xdata()) == n
        ]
        for is_dot, n in ((False, 2), (True, 1))
    )
    np.testing.assert_allclose(np.ravel(dots), found.table["importance"])
    ends = found.table[["family_low", "family_high", "low", "high"]].to_numpy().reshape(-1, 2)
    np.testing.assert_allclose(bars[: len(ends)], ends)
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "how much worse validation loss (nats) gets\nright of 0: the column helps"
    words = ax.get_title() or figure.get_suptitle()
    assert f"{found.title}; thick: 95" in words.replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


NAMES = {
    "</script><script>alert(1)</script>": "</script><script>alert(1)</script>",
    "$x^2$": r"\$x^2\$",
    "word " * 60 + "the end": None,
    "_" * 400: None,
    "two\nlines": "two lines",
    "": "",
}


@pytest.mark.nightly
def test_columns_of_any_name_are_shown(monkeypatch):
    results = swept(samples_of(40, features=len(NAMES) + 2))
    named = {name: (index,) for index, name in enumerate(NAMES)} | {"rest": (len(NAMES), len(NAMES) + 1)}
    monkeypatch.setattr(Design, "column_inputs", property(lambda self: named))
    ax = drawn("importance", results).axes[0]
    shown = dict(
        zip(results.importance().table["column"], (t.get_text() for t in ax.get_yticklabels()), strict=True)
    )
    for name, text in shown.items():
        lines = text.split("\n")
        assert len(lines) <= 3
        assert max(map(len, lines)) <= 40
        if len(name) > 200:
            assert "…" in text
            assert text.endswith(name[-3:])
        elif name in NAMES:
            assert text.replace("\n", "") == NAMES[name].replace("\n", "")
    few = drawn("importance", results, top=2)
    assert len(few.axes[0].get_yticklabels()) == 2
    assert "2 of 7 columns" in few.axes[0].get_title() + few.get_suptitle()
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        plot.KINDS["importance"](results, top=0)


def test_stability_counts_the_networks_that_diverged():
    grid = {"l2": [0, 1], "learning_rate": [0.1, 1, 10], "keep_prob": [1, 0.9]}
    results = made_up(scores_of((12, 2, 2)), grid, folds=2, diverged=[*range(40, 48), 16])
    figure = drawn("stability", results)
    loss, share = (np.asarray(image.get_array().filled(np.nan)) for image in figure.axes[0].images)
    means = results.units("val_loss").mean(axis=1).reshape(2, 3, 2).mean(axis=2)
    np.testing.assert_allclose(loss, np.where(np.isnan(means), np.nan, means))
    np.testing.assert_allclose(share, [[np.nan, np.nan, 1 / 8], [np.nan, np.nan, 1]])
    assert {"1 of 8", "8 of 8"} <= set(texts(figure))
    with pytest.raises(
        ValueError, match="stability must have learning_rate and l2 in the grid, got keep_prob"
    ):
        plot.stability(made_up(scores_of((2, 1, 2)), {"keep_prob": [1, 0.9]}, folds=2))


def test_boundary_is_that_of_the_network(results):
    figure = drawn("boundary", results, configuration=3)
    sides, points = samples.plane(results.design.data.x, 160)
    shade = results.predict_proba(results.design.index(3, 0, 0), points.T)[:, 1]
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), shade.reshape(160, 160))
    assert figure.axes[0].get_xlim() == (sides[0][0], sides[0][-1])
    edges = [
        c for c in figure.axes[0].collections if c.get_edgecolor().size and not c.get_edgecolor()[0, :3].any()
    ]
    outlined = sum(len(c.get_offsets()) for c in edges if len(c.get_facecolor()))
    assert outlined == results.design.splits.num_val[0]
    with pytest.raises(ValueError, match="configuration must be a number from 0 to 11, got 12"):
        plot.boundary(results, configuration=12)


@pytest.mark.nightly
def test_boundaries_are_a_sheet_over_both_axes(results):
    figure = drawn("boundaries", results)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "l2=0\nkeep_prob=0.8"
    assert titles[-1] == "l2=10\nkeep_prob=1"
    assert len(titles) == 6
    assert "the best of learning_rate by val_accuracy" in figure.get_suptitle().replace("\n", " ")
    # Each regulariser beside none is a list.
    single = swept(grid=[{}, {"l2": 1}, {"keep_prob": 0.8}], seeds=1)
    titles = [ax.get_title() for ax in drawn("boundaries", single).axes]
    assert titles == ["l2=0, keep_prob=1", "l2=1, keep_prob=1", "l2=0, keep_prob=0.8"]


@pytest.mark.slow
def test_masks_are_those_of_the_step(results):
    figure = drawn("masks", results, configuration=3)  # keep_prob 0.8
    design = results.design
    keep = np.full(1, 0.8, np.float32)
    width = design.padded.x.shape[1]
    found = regjax.dropout_masks(regjax.replicate_key(0), 0, (2, 4, 1), width, keep_prob=keep)
    assert found is not None
    trains = np.flatnonzero(design.weights(design.row(0))[0] > 0)
    assert design.configurations[3]["keep_prob"] == 0.8
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), np.asarray(found[1])[:, trains] > 0)
    with pytest.raises(
        ValueError, match="masks must be of a configuration with dropout, got l2=0, keep_prob=1"
    ):
        plot.masks(results, configuration=0)


def test_off_stands_left_of_a_logarithmic_axis():
    scale = scales.scale_of("l2", [1.0, 0.0, 0.01, 0.1])
    places = [scale.places[value] for value in (0.0, 0.01, 0.1, 1.0)]
    np.testing.assert_allclose(places, [-3, -2, -1, 0])
    assert scale.names == ["0\n(off)", "0.01", "0.1", "1"]
    assert scale.cut == -2.5
    assert scales.scale_of("max_norm", [float("inf"), 1.0, 2.0]).names == ["1", "2", "off"]
    assert scales.scale_of("keep_prob", [0.8, 1.0]).names == ["0.8", "1\n(off)"]
    assert scales.scale_of("hidden", [(), (4,), (4, 3)]).names == ["none", "4", "4/3"]
    many = scales.scale_of("l2", [0.0, *np.geomspace(1e-5, 10, 300)])
    assert len(many.names) <= 9
    assert many.names[0] == "0\n(off)"


def test_a_metric_or_an_axis_that_is_not_there(results):
    for kind in ("curves", "heatmap", "gap", "forest"):
        with pytest.raises(ValueError, match="metric must be one of"):
            plot.KINDS[kind](results, metric="val_magic")
    for kind in ("boundaries", "heatmap", "gap", "path"):
        with pytest.raises(
            ValueError, match=r"x must be one of the names of the grid \(l2, keep_prob, learn"
        ):
            plot.KINDS[kind](results, x="$l1$")
    with pytest.raises(ValueError, match="x and y must be two axes, got l2 twice"):
        plot.heatmap(results, x="l2", y="l2")


# -- the command line, and the gallery ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "runs.png"  # a name that would pass for a picture
    swept(store=path)
    swept(grid={"l2": [0, 1]}, seeds=1, store=path)
    return path


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([*map(str, arguments)])
    printed = capsys.readouterr()
    return stop.value.code, printed.out, printed.err


STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.nightly
@pytest.mark.parametrize("ending", STARTS)
def test_plot_writes_what_the_ending_says(ending, store, tmp_path, capsys):
    out = tmp_path / f"f.{ending}"
    code, said, err = run(
        capsys, "plot", store, "heatmap", "--sweep", 1, "--metric", "val_loss", "--x", "l2", "-o", out
    )
    assert (code, said, err) == (0, f"written: {out}\n", "")
    assert out.read_bytes().startswith(STARTS[ending])
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.parametrize("kind", plot.KINDS)
def test_every_kind_has_a_command(kind, store, tmp_path, capsys):
    assert kind in (plot_command.plot.help or "")
    code, _, err = run(capsys, "plot", store, kind, "--sweep", 1, "-o", tmp_path / "f.png")
    # This grid has a baseline per learning rate and keep_prob: each kind can be drawn.
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["heatmap", "-o", "f.gif"], "output must end in .png, .svg, .pdf, got 'f.gif'"),
        (["heatmap", "-o", "f"], "output must end in"),
        (["pie", "-o", "f.png"], "kind must be one of data_set, curves"),
        (["heatmap", "-o", "no/f.png"], "No such file or directory"),
        (["heatmap", "--metric", "no", "-o", "f.png"], "metric must be one of"),
        (["heatmap", "--x", "no", "-o", "f.png"], "x must be one of the names of the grid"),
        (
            ["masks", "--x", "l2", "-o", "f.png"],
            "x must be given with boundaries, heatmap, gap, path, got masks",
        ),
        (["masks", "--sweep", "last", "-o", "f.png"], "masks must be of a configuration with dropout"),
        (
            ["boundary", "--configuration", "99", "-o", "f.png"],
            "configuration must be a number from 0 to 1, got 99",
        ),
        (["heatmap", "--sweep", "9", "-o", "f.png"], "sweep must be"),
        (["heatmap", "--sweep", "one", "-o", "f.png"], "sweep must be a number or last"),
        (["heatmap"], "Missing option '-o'"),
        (["heatmap", "-o", "STORE"], "plot must not go into the store itself"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(words, message, store, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = store.read_bytes()
    code, out, err = run(capsys, "plot", store, *(str(store) if word == "STORE" else word for word in words))
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    assert store.read_bytes() == before


@pytest.mark.nightly
def test_a_store_that_is_not_there(tmp_path, capsys):
    code, _, err = run(capsys, "plot", tmp_path / "no.sqlite", "heatmap", "-o", tmp_path / "f.png")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_the_gallery_shows_every_kind(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    gallery: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gallery", gallery)
    spec.loader.exec_module(gallery)
    page = gallery.page()
    assert re.findall(r"pictures/gallery/(\w+)\.png", page) == list(plot.KINDS)
    assert re.findall(r"regjax plot gallery.sqlite (\w+)", page) == list(plot.KINDS)
    # What is checked in was made by it; here it runs at its smallest size.
    assert page == (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    monkeypatch.setattr(gallery, "STEPS", 40)
    monkeypatch.setattr(sys, "argv", ["gallery.py", "--out", str(tmp_path)])
    gallery.main()
    assert (tmp_path / "gallery.md").is_file()
    for kind in plot.KINDS:
        for folder in (tmp_path, ROOT / "docs"):
            assert 5_000 < (folder / "pictures" / "gallery" / f"{kind}.png").stat().st_size < 150_000, kind
