"""The boundary of any classifier of two features: an estimator, a `regjax.Model` or a function of points.

`decision.boundary` and `animation.animate` call it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit, softmax

from regjax.core.checks import shown
from regjax.core.data import Data, as_numbers
from regjax.data.table import as_pandas, is_frame
from regjax.plot.canvas import Panels, axes_or_new, plain, set_title
from regjax.plot.samples import class_legend, draw_boundary, draw_points, name_features, plane, thinned


class Points(NamedTuple):
    """Samples of two features with their labels.

    Attributes:
        x: features, `(2, n)`.
        labels: the user's labels, `(n,)`.
        columns: names of the columns of a frame; None where X is an array.
    """

    x: np.ndarray
    labels: np.ndarray
    columns: tuple[Any, ...] | None

    def as_asked(self, points: np.ndarray) -> Any:
        """Returns points `(2, k)` as the model takes them: `(k, 2)`, a frame where X is one."""
        if self.columns is None:
            return points.T
        import pandas as pd

        return pd.DataFrame(points.T, columns=list(self.columns))


def checked_points(X: Any, y: Any) -> Points:
    """Returns the samples that a boundary is drawn with; arguments and errors as in `decision.boundary`."""
    if isinstance(X, Data) and y is None:
        X, y = np.asarray(X.x).T, np.asarray(X.y)
    if X is None or y is None:
        missing = "X and y" if X is None and y is None else "X" if X is None else "y"
        raise TypeError(f"X and y must be given with a model, got no {missing}")
    table = as_pandas(X) if is_frame(X) else None
    x = as_numbers("X", X if table is None else table)
    if x.ndim != 2 or x.shape[1] != 2:
        found = f"{x.shape[1]} features" if x.ndim == 2 else f"shape {x.shape}"
        raise ValueError(f"X must have two features, over which a boundary is drawn, got {found}")
    if x.dtype.kind not in "fiub":
        raise TypeError(f"X must hold numbers, got dtype {x.dtype}")
    x = x.astype(np.float64).T
    if not np.isfinite(x).all(axis=0).any():
        raise ValueError(f"X must have a sample of finite features, got none in {x.shape[1]}")
    return Points(x, _checked_labels(y, x.shape[1]), None if table is None else tuple(table.columns))


def _checked_labels(y: Any, count: int) -> np.ndarray:
    labels = np.asarray(y)
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.ravel()
    if labels.shape != (count,):
        raise ValueError(f"y must have a label for each of {count} samples, got shape {labels.shape}")
    if labels.dtype.kind == "O":  # text of pandas and polars
        labels = labels.astype(str)
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.floor(labels)):
        real = labels[labels != np.floor(labels)][0]
        raise ValueError(f"y must hold labels of classes, got {real:g}")
    return labels


def boundary_of_model(model: Any, X: Any, y: Any, ax: Axes | None) -> Figure:
    """Returns a figure of the regions of a model; arguments and errors as in `decision.boundary`."""
    points, given = checked_points(X, y), ax
    classes, shade = _shade_of(model, points, 160)  # what is wrong with it is said before anything is drawn
    figure, ax = axes_or_new(ax, (5.4, 5.4))
    set_title(ax, f"{_name(model)}: {_words(model, shade)}")
    _draw(ax, points, classes, shade, 160)
    add_legend_of(given or figure, points, classes)
    return figure


def draw_model(ax: Axes, model: Any, points: Points, resolution: int) -> np.ndarray:
    """Draws the regions of a model and the samples; returns the classes of the model, `(n_classes,)`.

    Args:
        ax: axes that are drawn into.
        model: as in `decision.boundary`.
        points: the samples.
        resolution: points of the shade along each side.

    Raises:
        TypeError: no model.
        ValueError: labels that the model does not know, or answers that are none.
    """
    classes, shade = _shade_of(model, points, resolution)
    _draw(ax, points, classes, shade, resolution)
    return classes


def add_legend_of(where: Axes | Panels, points: Points, classes: np.ndarray) -> None:
    """Adds the legend of the classes to a figure or axes."""
    numbered = classes.dtype.kind in "iuf" and np.array_equal(classes, np.arange(len(classes)))
    class_legend(where, _places(points.labels, classes), None if numbered else classes)


def _draw(ax: Axes, points: Points, classes: np.ndarray, shade: np.ndarray, resolution: int) -> None:
    sides, _ = plane(points.x, resolution)
    draw_boundary(ax, sides, shade[:, 1] if shade.shape[1] == 2 else shade)
    some = thinned(points.x.shape[1])
    draw_points(ax, points.x[:, some], _places(points.labels, classes)[some], 16)
    ax.set(xlim=(sides[0][0], sides[0][-1]), ylim=(sides[1][0], sides[1][-1]))
    name_features(ax, ("x1", "x2") if points.columns is None else [*map(str, points.columns)])


def _shade_of(model: Any, points: Points, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes of a model, and how sure it is of each on a grid, `(resolution², n_classes)`."""
    if isinstance(model, type):
        raise TypeError(f"model must be fitted, got the class {model.__name__}")
    known = getattr(model, "classes_", None)
    known = getattr(model, "classes", None) if known is None else known  # a `regjax.Model`
    classes = np.unique(points.labels) if known is None else np.asarray(known)
    if known is None and classes.dtype.kind in "iufb" and np.isin(classes, (0, 1)).all():
        classes = np.array([0, 1], classes.dtype)  # the samples may lack one that the model knows
    _places(points.labels, classes)  # what does not fit is refused before the model is asked
    grid = points.as_asked(plane(points.x, resolution)[1])
    for name, read in ASKED:
        if (ask := getattr(model, name, None)) is not None:
            return classes, read(ask(grid), classes)
    raise TypeError(
        "model must have predict_proba, decision_function or predict, or be a function of points (n, 2), "
        f"got {shown(model)}"
    )


def _places(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Returns the number of each label among the classes; raises ValueError for one that is none of them."""
    same = labels[:, None] == classes[None, :]
    if not same.any(axis=1).all():
        strange = labels[np.argmin(same.any(axis=1))]
        names = ", ".join(plain(name) for name in classes)
        raise ValueError(f"y must hold the classes of the model, {names}, got {plain(strange)}")
    return same.argmax(axis=1)


def _probabilities(found: Any, classes: np.ndarray) -> np.ndarray:
    """Returns checked probabilities of the classes, `(k, n_classes)`."""
    p: Any = np.asarray(found)
    p = p.ravel() if p.ndim == 2 and 1 in p.shape else p
    if p.ndim == 1 and len(classes) == 2:
        p = np.stack([1 - p, p], axis=1)
    if p.ndim == 1 and len(classes) == 1:
        p = p[:, None]
    if p.ndim != 2 or p.shape[1] != len(classes):
        raise ValueError(
            f"model must return a probability of each of {len(classes)} classes, got shape {np.shape(found)}"
        )
    inside = (p >= -1e-6) & (p <= 1 + 1e-6)  # of NaN neither is true
    if not inside.all():
        raise ValueError(f"model must return labels, or probabilities in [0, 1], got {p[~inside][0]:g}")
    return np.clip(p, 0, 1)


def _of_scores(found: Any, classes: np.ndarray) -> np.ndarray:
    """Returns scores of a `decision_function` as numbers in [0, 1]: ½ where the score of two classes is 0."""
    scores = np.asarray(found)
    squashed = expit(scores) if scores.ndim == 1 else softmax(scores, axis=1)
    return _probabilities(squashed, classes)


def _of_answers(found: Any, classes: np.ndarray) -> np.ndarray:
    """Returns what a function or `predict` answers: labels as 0 and 1 of each class, else probabilities."""
    answers = np.asarray(found)
    if answers.ndim == 2 and 1 in answers.shape:
        answers = answers.ravel()
    if answers.ndim == 1:
        same = answers[:, None] == classes[None, :]
        if same.any(axis=1).all():
            return same.astype(np.float64)
        if answers.dtype.kind != "f":
            strange = answers[np.argmin(same.any(axis=1))]
            names = ", ".join(plain(name) for name in classes)
            raise ValueError(f"model must return labels, {names}, or probabilities, got {plain(strange)}")
    return _probabilities(answers, classes)


# What a model is asked, the first that it has, and how its answer is read.
ASKED = (
    ("predict_proba", _probabilities),
    ("decision_function", _of_scores),
    ("predict", _of_answers),
    ("__call__", _of_answers),
)


def _words(model: Any, shade: np.ndarray) -> str:
    """Returns what the shade is, in words."""
    if hasattr(model, "decision_function") and not hasattr(model, "predict_proba"):
        return "score, squashed to 0 … 1"
    return "predicted class" if np.isin(shade, (0, 1)).all() else "probability of a class"


def _name(model: Any) -> str:
    """Returns the name of a model in a title."""
    if hasattr(model, "predict"):
        return type(model).__name__
    name = getattr(model, "__name__", type(model).__name__)
    return "function" if name == "<lambda>" else plain(name)
