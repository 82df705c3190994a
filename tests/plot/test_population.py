"""The figure of a population: what its lines are."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import loguniform, uniform

import regjax
from regjax import plot
from regjax.plot.palette import CHOSEN

SPACE = {
    "learning_rate": loguniform(0.05, 1e6),
    "l2": loguniform(1e-3, 10),
    "dropout": uniform(0, 0.5),
    "max_norm": [1, 4, None],
}


@pytest.fixture(scope="module")
def population():
    config = {"hidden": (4,), "num_steps": 40, "eval_every": 10}
    return regjax.population("two_regions", config, SPACE, size=8, folds=2, progress=False)


@pytest.mark.nightly
def test_the_bold_line_is_the_way_of_the_best_member(population):
    figure = plot.schedules(population)
    figure.draw_without_rendering()
    way = population.ancestors(population.best)
    bold = [line for line in figure.axes[0].lines if line.get_color() == CHOSEN]
    scores = [g.scores[member] for g, member in zip(population.generations, way, strict=True)]
    np.testing.assert_array_equal(bold[0].get_ydata(), scores)
    np.testing.assert_array_equal(bold[0].get_xdata(), [10, 20, 30, 40])
    assert [ax.get_ylabel() for ax in figure.axes if ax.axison] == [
        "validation accuracy (share of samples)",
        "learning_rate (log scale)",
        "l2 (log scale)",
        "keep_prob",
        "max_norm",
    ]
    (crosses,) = (c for c in figure.axes[0].collections if c.get_gid() == "replaced")
    replaced = [
        (g.step, g.scores[m])
        for g in population.generations
        for m, parent in enumerate(g.parents)
        if parent != m and np.isfinite(g.scores[m])
    ]
    assert replaced
    np.testing.assert_array_equal(np.asarray(crosses.get_offsets()), replaced)
    assert any(np.isnan(g.scores).any() for g in population.generations)


@pytest.mark.slow
def test_another_member_and_a_figure_of_ones_own(population):
    figure = Figure(figsize=(12, 8))
    assert plot.schedules(population, member=3, figure=figure) is figure
    figure.draw_without_rendering()
    assert figure.legends[0].get_texts()[0].get_text() == "the way of member 3"
    with pytest.raises(ValueError, match="member must be in 0 to 7"):
        plot.schedules(population, member=8)


@pytest.mark.slow
def test_one_segment_and_one_hyperparameter(population):
    last = population.generations[-1]
    one = dataclasses.replace(population, generations=(last,), explored=("l2",))
    figure = plot.schedules(one)
    figure.draw_without_rendering()
    assert len([ax for ax in figure.axes if ax.axison]) == 2
