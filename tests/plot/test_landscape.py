"""Figures of loss landscapes: what lines, colours and marks show."""

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

from regjax.plot.landscape import against, contours, profile
from regjax.plot.palette import BLUE, VERMILION
from regjax.research.landscape import Line, Surface

pytestmark = pytest.mark.slow

AT = jnp.linspace(0, 1, 5)


def lines(*shape):
    values = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, (*shape, 5)))
    return Line(jnp.broadcast_to(AT, (*shape, 5)), values, values, values)


def plane(lowest, mark=(0.0, 0.0)):
    a = jnp.linspace(-1, 1, 9)
    loss = lowest + jnp.square(a)[:, None] + jnp.square(a)[None, :]
    return Surface(a, a, loss, loss, loss, jnp.array([mark]))


def test_a_group_of_lines_has_its_mean_and_its_lines():
    found = lines(2, 3)
    figure = profile(found, ["l2 = 0", "l2 = 1"])
    figure.draw_without_rendering()
    (ax,) = figure.axes
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["l2 = 0", "l2 = 1"]
    thick = [line for line in ax.lines if line.get_alpha() is None]
    assert (len(ax.lines), [line.get_color() for line in thick]) == (8, [BLUE, VERMILION])
    np.testing.assert_allclose(thick[1].get_ydata(), found.loss[1].mean(axis=0), rtol=1e-6)
    assert len(profile(lines(3), ["a", "b", "c"], heights="score").axes[0].lines) == 3


def test_planes_share_their_colours_and_mark_their_networks():
    figure = contours([plane(0.1), plane(1.0, (0.5, -0.5))], ["one", "two"])
    figure.draw_without_rendering()
    one, two, bar = figure.axes
    assert (one.get_title(), two.get_title(), bar.get_ylabel()) == ("one", "two", "loss (nats)")
    ranges = {collection.get_clim() for ax in (one, two) for collection in ax.collections[:1]}
    (limits,) = ranges
    np.testing.assert_allclose(limits, (0.1, 3.0), rtol=1e-6)
    assert two.lines[0].get_xydata().tolist() == [[0.5, -0.5]]


def test_a_loss_of_zero_and_one_that_is_too_large_are_drawn():
    surface = plane(0.0)
    flawed = surface._replace(loss=surface.loss.at[0, 0].set(jnp.inf).at[4, 4].set(0))
    contours([flawed], ["one"]).draw_without_rendering()
    with pytest.raises(ValueError, match="surfaces must have a finite loss above 0, got"):
        contours([surface._replace(loss=jnp.full((9, 9), jnp.nan))], ["one"])


def test_measures_against_a_strength_are_shares_of_the_largest_mean():
    values = np.array([[2.0, 4.0], [1.0, 2.0], [0.5, 0.5]])
    ax = against([0, 0.1, 1], {"sharpness": values, "norm": [np.nan, 5.0, 1.0]}).axes[0]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1, 0.5, 1 / 6])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [np.nan, 1, 0.2])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.1", "1"]
    legend = ax.get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text() == "sharpness (1 is 3)"
    large = against([0.1, 1], {"path norm": [4766.8, 1.0], "γ": [4e-7, 1e-7]}).axes[0].get_legend()
    assert large is not None
    assert [text.get_text() for text in large.get_texts()] == ["path norm (1 is 4,767)", "γ (1 is 4e-07)"]
    own = Figure().subplots()
    assert against([0.1, 1], {"norm": [2.0, 1.0]}, relative=False, ax=own) is own.figure
    np.testing.assert_allclose(own.lines[0].get_ydata(), [2, 1])


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="names must be one for each of 2 lines, at most 6, got 1"):
        profile(lines(2), ["one"])
    with pytest.raises(
        ValueError, match=r"lines must be stacked, .lines, points., got heights of shape \(\d+,\)"
    ):
        profile(Line(*(values[0] for values in lines(2))), ["one"])
    with pytest.raises(ValueError, match="heights must be one of loss, cost, score, got 'height'"):
        profile(lines(1), ["one"], heights="height")
    with pytest.raises(ValueError, match="names must be one for each of 1 surfaces, got 2"):
        contours([plane(0.1)], ["one", "two"])
    with pytest.raises(ValueError, match="axes must be one for each of 1 surfaces, got 2"):
        contours([plane(0.1)], ["one"], axes=list(Figure().subplots(1, 2)))
    for strengths in ([1, 0.1], [-1, 1], [1]):
        with pytest.raises(ValueError, match="strengths must be at least two that rise from 0 or more, got"):
            against(strengths, {"norm": [1.0, 2.0]})
    with pytest.raises(ValueError, match="norm must have a value for each of 2 strengths, got 3"):
        against([0, 1], {"norm": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="measures must be 1 to 6, got 0"):
        against([0, 1], {})
