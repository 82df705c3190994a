"""The pictures of a sweep: what they hold, under whatever grid."""

import numpy as np
import pytest
from test_results import made_up

from regjax import plot


def scores_of(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def texts(figure):
    return [t.get_text() for ax in figure.axes for t in ax.texts]


def test_two_axes_are_one_heat_map_in_order_of_the_values():
    grid = {"l2": [1, 0, 0.1], "keep_prob": [1, 0.9]}
    results = made_up(scores_of((6, 2, 3)), grid, folds=3)
    figure = plot.scores(results, "val_accuracy")
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "0.1", "1"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0.9", "1"]
    means = results.units("val_accuracy").mean(axis=1)
    shown = np.asarray(ax.images[0].get_array())
    # configurations: l2 1, 0, 0.1 × keep_prob 1, 0.9
    np.testing.assert_allclose(shown, [[means[3], means[5], means[1]], [means[2], means[4], means[0]]])
    assert sorted(texts(figure)) == sorted(f"{m:.3f}" for m in means)
    frame = ax.patches[0]
    row, column = np.unravel_index(np.argmax(shown), shown.shape)
    assert frame.get_xy() == (column - 0.5, row - 0.5)


def test_a_third_axis_makes_panels_and_diverged_ones_say_so():
    grid = {"l2": [0, 0.1, 1], "keep_prob": [1, 0.9], "learning_rate": [0.1, 0.2]}
    results = made_up(scores_of((12, 2, 3)), grid, folds=3, diverged=[0, 1])
    figure = plot.scores(results, "val_accuracy")
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["learning_rate=0.1", "learning_rate=0.2"] or titles == ["keep_prob=0.9", "keep_prob=1"]
    assert "4 of 6" in texts(figure)


def test_more_than_nine_panels_become_the_best_of_them():
    grid = {
        "l2": [0, 0.1, 1],
        "keep_prob": [1, 0.9, 0.8, 0.7],
        "b1": [0, 0.4, 0.8, 0.9],
        "b2": [0.1, 0.2, 0.3, 0.4],
    }
    results = made_up(scores_of((192, 1, 2)), grid, folds=2)
    figure = plot.scores(results, "val_accuracy")
    assert len([ax for ax in figure.axes if ax.get_title()]) == 1
    assert "the best of" in figure.axes[0].get_title()
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown.max() == results.units("val_accuracy").mean(axis=1).max()


@pytest.mark.parametrize("grid", [{"l2": [0, 0.1, 1]}, {"l2": 0.1}])
def test_one_axis_is_points_with_intervals(grid):
    count = len(grid["l2"]) if isinstance(grid["l2"], list) else 1
    results = made_up(scores_of((count, 2, 3)), grid, folds=3)
    ax = plot.scores(results, "val_accuracy").axes[0]
    assert len(ax.get_yticklabels()) == count
    points = ax.containers[0].lines[0].get_xdata()
    np.testing.assert_allclose(points, results.summary()["val_accuracy"])


def test_everything_diverged_can_still_be_drawn(tmp_path):
    results = made_up(scores_of((4, 1, 2)), {"l2": [0, 1], "b1": [0.1, 0.2]}, folds=2, diverged=range(8))
    plot.scores(results, "val_accuracy").savefig(tmp_path / "s.png")
    plot.curves(results, "val_accuracy").savefig(tmp_path / "c.png")


def test_curves_show_the_best_and_the_baseline():
    scores = np.repeat(np.linspace(0.1, 0.8, 8)[:, None, None], 2, axis=2)
    results = made_up(scores, {"l2": [0, 1, 2, 3, 4, 5, 6, 7]}, folds=2)
    figure = plot.curves(results, "val_accuracy", num=3)
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == ["l2=7", "l2=6", "l2=5", "l2=0 (all off)"]
    line = figure.axes[1].lines[0]
    np.testing.assert_allclose(line.get_xdata(), [0, 10])
    np.testing.assert_allclose(line.get_ydata(), [0.5, 0.8])
