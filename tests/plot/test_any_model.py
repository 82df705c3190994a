"""The boundary of any model: estimators, a `regjax.Model`, functions; what is drawn, and what is refused."""

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import regjax
from regjax.plot import samples
from regjax.plot.palette import class_look
from regjax.plot.samples import draw_boundary

DATA = regjax.datasets.moons(jax.random.key(0), n=80)
X, Y = np.asarray(DATA.x).T, np.asarray(DATA.y[0])
THREE = regjax.datasets.blobs(jax.random.key(0), n=90, noise=0.3, num_classes=3)
X3, Y3 = np.asarray(THREE.x).T, np.asarray(THREE.y[0])


def drawn(*arguments, **options):
    """Returns the axes of a boundary that was rendered: no warning may come of it."""
    figure = regjax.plot.boundary(*arguments, **options)
    figure.canvas.draw()
    return figure.axes[0]


def shade_of(ax):
    return np.asarray(ax.images[0].get_array())


def points_of(ax):
    """Returns the samples that are drawn, `(n, 2)`."""
    drawn = [part for part in ax.collections if isinstance(part, PathCollection)]
    return np.concatenate([np.asarray(part.get_offsets()) for part in drawn])


def legend_of(ax):
    return [text.get_text() for text in ax.figure.legends[0].get_texts()]


class Predicts:
    def predict(self, x):
        return (x[:, 1] > 0.25).astype(int)


def grid_of(X):
    return samples.plane(X.T, 160)[1].T


def test_probabilities_are_those_of_the_model():
    model = LogisticRegression().fit(X, Y)
    ax = drawn(model, X, Y)
    np.testing.assert_allclose(shade_of(ax).ravel(), model.predict_proba(grid_of(X))[:, 1], atol=1e-6)
    assert ax.get_title() == "LogisticRegression: probability of a class"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x1", "x2")
    assert legend_of(ax) == ["class 0", "class 1"]
    assert len(points_of(ax)) == len(X)


def test_scores_are_a_half_at_the_border_and_predictions_are_regions():
    scored = Perceptron().fit(X, Y)
    ax = drawn(scored, X, Y)
    assert ax.get_title() == "Perceptron: score, squashed to 0 … 1"
    np.testing.assert_array_equal(shade_of(ax).ravel() > 0.5, scored.decision_function(grid_of(X)) > 0)
    predicted = Predicts()
    ax = drawn(predicted, X, Y)
    assert ax.get_title() == "Predicts: predicted class"
    np.testing.assert_array_equal(shade_of(ax).ravel(), predicted.predict(grid_of(X)))


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(LogisticRegression(), {"C": [1, 10]}, cv=2),
        DecisionTreeClassifier(),
        DummyClassifier(),
        LinearDiscriminantAnalysis(),
        regjax.RegMLPClassifier(hidden_layer_sizes=(4,), max_iter=20),
    ],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators(model):
    for labels in (Y, np.array(["no", "yes"])[Y], Y.astype(bool), np.array([3, 7])[Y], Y.astype(float)):
        ax = drawn(model.fit(X, labels), X, labels)
        assert np.isfinite(shade_of(ax)).all()
    assert legend_of(drawn(model.fit(X, np.array(["no", "yes"])[Y]), X, np.array(["no", "yes"])[Y])) == [
        "no",
        "yes",
    ]


@pytest.mark.nightly
def test_a_model_of_fit_and_frames_are_asked_by_their_columns():
    table = pd.DataFrame({"width": X[:, 0], "height": X[:, 1], "kind": np.array(["a", "b"])[Y]})
    results = regjax.sweep(table, {"num_steps": 20, "eval_every": 20}, folds=2, progress=False)
    model = regjax.refit(results)
    for frame in (table[["height", "width"]], pl.from_pandas(table[["height", "width"]])):
        ax = drawn(model, frame, table["kind"])
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("height", "width")
        assert ax.get_title() == "Model: probability of a class"
        asked = pd.DataFrame(grid_of(X[:, ::-1]), columns=["height", "width"])
        np.testing.assert_allclose(shade_of(ax).ravel(), model.predict_proba(asked)[:, 1], atol=1e-6)


def test_functions_return_labels_or_probabilities():
    for answer, title in (
        (lambda x: x[:, 0] > 0.5, "function: predicted class"),
        (lambda x: (x[:, 0] > 0.5).astype(int), "function: predicted class"),
        (lambda x: x[None, :, 0] > 0.5, "function: predicted class"),  # features-first, as the tutorial's
        (lambda x: 1 / (1 + np.exp(0.5 - x[:, 0])), "function: probability of a class"),
        (lambda x: jax.nn.sigmoid(x[:, :1] - 0.5), "function: probability of a class"),
        (lambda x: np.stack([x[:, 0] <= 0.5, x[:, 0] > 0.5], 1) * 1.0, "function: predicted class"),
    ):
        ax = drawn(answer, DATA)
        assert ax.get_title() == title
        np.testing.assert_array_equal(shade_of(ax).ravel() > 0.5, grid_of(X)[:, 0] > 0.5)
    ax = drawn(lambda x: x[:, 0] > 0.5, X, 0 * Y)
    assert legend_of(ax) == ["class 0"]
    assert set(np.unique(shade_of(ax))) == {0, 1}
    names = np.array(["no", "yes"])
    ax = drawn(lambda x: names[(x[:, 0] > 0.5).astype(int)], X, names[Y].tolist())
    assert legend_of(ax) == ["no", "yes"]
    assert drawn(lambda x: 0.3 + 0 * x[:, 0], X, names[Y]).get_title() == "function: probability of a class"


def test_three_classes_have_three_regions():
    ax = drawn(LogisticRegression().fit(X3, Y3), X3, Y3)
    image = shade_of(ax)
    assert image.shape == (160, 160, 3)
    assert legend_of(ax) == ["class 0", "class 1", "class 2"]
    points = samples.plane(X3.T, 160)[1]
    for k in range(3):  # at a class's own centre the region has its colour, or one that is paler
        centre = X3[k == Y3].mean(axis=0)
        pixel = image.reshape(-1, 3)[np.argmin(np.hypot(*(points.T - centre).T))]
        full = 1 - np.asarray(to_rgb(class_look(k).colour))
        paler = (1 - pixel) / np.where(full > 0, full, 1)
        np.testing.assert_allclose(paler[full > 0.05], paler[full > 0.05][0], rtol=1e-4)
        assert 0.5 < paler[full > 0.05][0] <= 1
    only = drawn(DummyClassifier().fit(X3, np.zeros(len(X3), int)), X3, np.zeros(len(X3), int))
    np.testing.assert_allclose(shade_of(only)[0, 0], to_rgb(class_look(0).colour), rtol=1e-6)


def test_two_classes_as_regions_have_the_colours_of_the_shade():
    sides = samples.plane(X.T, 20)[0]
    p = np.linspace(0, 1, 400)
    pair = Figure().subplots(1, 2)
    draw_boundary(pair[0], sides, p)
    draw_boundary(pair[1], sides, np.stack([1 - p, p], axis=1))
    one, other = (ax.images[0] for ax in pair)
    np.testing.assert_allclose(one.cmap(one.get_array())[:, :, :3], other.get_array(), atol=0.01)


def test_axes_of_ones_own_and_samples_that_are_not_finite():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    gaps = X.copy()
    gaps[0, 0] = np.nan
    assert regjax.plot.boundary(lambda x: x[:, 0] > 0, gaps, Y, ax=right) is figure
    assert not left.images
    assert right.get_legend() is not None
    assert len(points_of(right)) == len(X) - 1


class Sure:
    classes_ = np.array([0, 1])

    def __init__(self, p):
        self.p = p

    def predict_proba(self, x):
        return np.full((len(x), *self.p.shape), self.p)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((None, X, Y), TypeError, "model must have predict_proba, decision_function or predict, or be"),
        (("moons", X, Y), TypeError, "model must have predict_proba.* got 'moons'"),
        ((LogisticRegression, X, Y), TypeError, "model must be fitted, got the class LogisticRegression"),
        ((np.sin,), TypeError, "X and y must be given with a model, got no X and y"),
        ((np.sin, X), TypeError, "X and y must be given with a model, got no y"),
        ((np.sin, None, Y), TypeError, "X and y must be given with a model, got no X"),
        ((np.sin, np.c_[X, X], Y), ValueError, "X must have two features, .* got 4 features"),
        ((np.sin, X[:, :1], Y), ValueError, "X must have two features, .* got 1 features"),
        ((np.sin, X[:, 0], Y), ValueError, r"X must have two features, .* got shape \(80,\)"),
        ((np.sin, [["a", "b"]], [0]), TypeError, "X must hold numbers, got dtype"),
        ((np.sin, X * np.nan, Y), ValueError, "X must have a sample of finite features, got none in 80"),
        ((np.sin, X, Y[:-1]), ValueError, r"y must have a label for each of 80 samples, got shape \(79,\)"),
        ((np.sin, X, X[:, 0]), ValueError, "y must hold labels of classes, got "),
        ((lambda x: x[:, 0] + 9, X, Y), ValueError, r"model must return labels, or probabilities in"),
        ((lambda x: x[:, 0] * np.nan, X, Y), ValueError, r"or probabilities in \[0, 1\], got nan"),
        ((lambda x: np.full(len(x), "z"), X, Y), ValueError, "model must return labels, 0, 1, or .* got z"),
        ((lambda x: np.zeros(len(x), int) + 5, X, Y), ValueError, "labels, 0, 1, or probabilities, got 5"),
        ((lambda x: x[:, :1] @ np.ones((1, 3)), X, Y), ValueError, "of each of 2 classes, got shape"),
        ((lambda x: 0.5, X, Y), ValueError, r"probability of each of 2 classes, got shape \(\)"),
        ((Sure(np.array([0.2, 0.3, 0.5])), X, Y), ValueError, "of each of 2 classes, got shape"),
        ((Sure(np.array([0.5, 0.5])), X, Y + 1), ValueError, "hold the classes of the model, 0, 1, got 2"),
        ((LinearRegression().fit(X, 9 * X[:, 0]), X, Y), ValueError, "model must return labels, or probab"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(arguments, error, words):
    with pytest.raises(error, match=words) as said:
        regjax.plot.boundary(*arguments)
    assert "\n" not in str(said.value)


@pytest.mark.nightly
def test_results_bring_their_own_samples():
    results = regjax.sweep("moons", {"num_steps": 5}, progress=False)
    with pytest.raises(ValueError, match="X and y must be left out with results"):
        regjax.plot.boundary(results, X, Y)
    with pytest.raises(ValueError, match="configuration must only be given with results"):
        regjax.plot.boundary(np.sin, X, Y, configuration=0)
