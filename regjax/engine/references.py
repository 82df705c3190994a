"""`references`: a linear model and boosted trees of scikit-learn on the folds of a sweep.

Users call it, `regjax sweep --references`, `regjax report` and `regjax tune`. Nothing of it is stored: the
models are fitted again whenever they are asked for. scikit-learn is imported where a model is fitted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from regjax.core.config import REAL_LOSSES, Loss
from regjax.core.data import Data
from regjax.core.minibatches import weigh_classes
from regjax.core.objective import resolve_loss
from regjax.core.settings import own_settings
from regjax.study.design import Design
from regjax.study.predict import score_of
from regjax.study.questions import Questions
from regjax.study.references import References, hold_against
from regjax.study.results import Results
from regjax.study.words import duration

# Strengths of the linear models' penalties, from strong to weak, so that equal scores go to the stronger:
# C of logistic regression, alpha of ridge regression and of Poisson regression.
STRENGTHS = {
    "logistic regression": (0.01, 0.1, 1.0, 10.0, 100.0),
    "ridge regression": (1000.0, 100.0, 10.0, 1.0, 0.1),
    "Poisson regression": (1.0, 0.1, 0.01, 0.001, 0.0001),
}
LINEAR: dict[Loss, str] = {"squared_error": "ridge regression", "poisson": "Poisson regression"}
# Iterations of an iterative linear model: standardised inputs need tens.
MAX_ITER = 300
# Levels of a category that boosted trees can hold, by their histograms of 255 bins.
MOST_LEVELS = 255
# Seconds of one core: of a linear model at all strengths, for a sample and input; of a tree, for a column,
# and for a cell of it besides. Measured on tables of 200 to 60,000 samples.
LINEAR_SECONDS, TREE_SECONDS, CELL_SECONDS, BOOSTED_ITERATIONS = 5e-7, 6e-5, 4e-9, 100
# Seconds that all models together may take by prediction.
MOST_SECONDS = 30.0


def references(
    results: Results, questions: Questions | None = None, *, most_seconds: float | None = MOST_SECONDS
) -> References:
    """Returns how the chosen network does beside a linear model and boosted trees on the same folds.

    The linear model is scikit-learn's LogisticRegression, Ridge or, with the loss poisson, PoissonRegressor,
    on the inputs as the fold's networks see them: standardised, a level an input. In each fold its penalty is
    the best of five strengths on the other folds, as the network is the best configuration there. The boosted
    trees are HistGradientBoosting at its defaults on the columns themselves, with their gaps and categories.
    Both train on all of a fold's training part, with the weights of its samples and classes. Models see no
    groups or times but those by which the folds were made.

    Args:
        results: the results of a sweep.
        questions: how the network is chosen: metric, rule and allow_diverged; None is the best mean.
        most_seconds: refuse where the models would take longer than this by prediction; None never does.

    Raises:
        ValueError: nothing was held out, all configurations diverged, samples with several labels, or models
            that would take too long.

    Example:
        >>> import regjax
        >>> grid = regjax.grid(l2=[0, 1], learning_rate=0.3)
        >>> results = regjax.sweep(
        ...     "iris", {"hidden": (8,), "num_steps": 200}, grid, folds=5, standardize=True, progress=False
        ... )
        >>> found = regjax.references(results)
        >>> found.table["name"].tolist()
        ['logistic regression', 'boosted trees']
        >>> print(found)  # doctest: +ELLIPSIS
        val_accuracy of other models beside the chosen network's 0..., over 5 folds × 1 seed (t, 4 df)
          logistic regression 0.9...; the chosen network less it: ...
          boosted trees 0.9...; the chosen network less it: ...
        In each fold the network and the strength of a linear model are chosen without that fold; ...
    """
    questions = Questions() if questions is None else questions
    design, metric = results.design, results.design.check_metric(questions.metric)
    loss = resolve_loss(design.configs[0], design.data)
    if loss == "multilabel_cross_entropy":
        raise ValueError("references must have one label for each sample, got several")
    seconds = predicted_seconds(design)
    if most_seconds is not None and seconds > most_seconds:
        raise ValueError(
            f"references must take at most {duration(most_seconds)}, and would take about "
            f"{duration(seconds)} on {design.data.x.shape[1]:,} samples: see regjax.references(most_seconds=)"
        )
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    linear = LINEAR.get(loss, "logistic regression")
    # One thread: those of OpenMP wait for each other at every node of a tree, and spin where cores are busy.
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1):
        warnings.simplefilter("always")
        scores = {
            linear: _scores(design, metric, lambda fold: _linear(design, fold, linear)),
            "boosted trees": _scores(design, metric, lambda fold: _boosted(design, fold)),
        }
    stopped = sum(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    notes = (f"{stopped} fits of the {linear} stopped after {MAX_ITER} iterations.",) if stopped else ()
    return hold_against(results, questions, scores, notes)


def references_or_why(results: Results, questions: Questions | None = None) -> References | str:
    """Returns `references`, or a sentence that says why there are none."""
    try:
        return references(results, questions)
    except ValueError as error:
        return f"no references: {error}"


def predicted_seconds(design: Design) -> float:
    """Returns about how many seconds of one core the models of `references` take."""
    n, columns = design.data.x.shape[::-1]
    outputs = design.configs[0].layer_sizes[-1]
    models = 1 if outputs <= 2 and np.issubdtype(design.data.y.dtype, np.integer) else outputs
    linear = LINEAR_SECONDS * n * len(design.input_names)
    trees = BOOSTED_ITERATIONS * columns * (TREE_SECONDS + n * CELL_SECONDS)
    # With weights scikit-learn sorts a column anew for each edge of its bins.
    bins = 0 if _weights(design, 0) is None else MOST_LEVELS * columns * (1e-4 + n * 1e-7)
    return design.num_folds * (models * (linear + trees) + bins)


def _scores(design: Design, metric: str, predict: Callable[[int], Iterator[np.ndarray]]) -> np.ndarray:
    """Returns the scores of a model, `(strengths, folds)`.

    Args:
        design: design of the sweep.
        metric: validation metric.
        predict: fold -> predictions of its held-out samples, as `score_of` takes them, for each strength.
    """
    loss = resolve_loss(design.configs[0], design.data)
    found = []
    for fold in range(design.num_folds):
        held, of_strengths = design.splits.val[fold] > 0, []
        for predictions in predict(fold):
            mean = np.zeros((len(predictions), len(held)))
            mean[:, held] = predictions
            of_strengths.append(score_of(mean, design, loss, fold, metric))
        found.append(of_strengths)
    return np.array(found).T


def _linear(design: Design, fold: int, name: str) -> Iterator[np.ndarray]:
    """Yields a linear model's predictions of a fold's held-out samples, from strong to weak penalties."""
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    x = design.inputs(fold)[0][:, : design.data.x.shape[1]].T.astype(np.float64)
    # A held-out sample may hold any number.
    x = np.nan_to_num(x, posinf=1e6, neginf=-1e6)
    models: dict[str, Any] = {
        "logistic regression": lambda: LogisticRegression(max_iter=MAX_ITER, warm_start=True),
        "ridge regression": Ridge,
        "Poisson regression": lambda: PoissonRegressor(max_iter=MAX_ITER, warm_start=True),
    }
    of_outputs = [models[name]() for _ in design.data.y]
    for strength in STRENGTHS[name]:
        for model in of_outputs:  # the last strength's weights are where the next one begins
            model.set_params(**{"C" if name == "logistic regression" else "alpha": strength})
        yield _fitted(design, fold, of_outputs, x)


def _boosted(design: Design, fold: int) -> Iterator[np.ndarray]:
    """Yields the predictions of boosted trees of the held-out samples of a fold."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x = np.asarray(design.data.x if design.fold_inputs is None else design.fold_inputs[fold]).T
    options: dict[str, Any] = {"random_state": 0}
    if design.coded:
        assert design.schema is not None
        options["categorical_features"] = [
            column.kind == "category" and len(column.levels) + bool(column.rare) <= MOST_LEVELS
            for column in design.schema.kept
        ]
    loss = resolve_loss(design.configs[0], design.data)
    if loss in REAL_LOSSES:
        options["loss"] = loss
        models: Any = [HistGradientBoostingRegressor(**options) for _ in design.data.y]
    else:
        models = [HistGradientBoostingClassifier(**options)]
    yield _fitted(design, fold, models, x)


def _fitted(design: Design, fold: int, models: list[Any], x: np.ndarray) -> np.ndarray:
    """Returns predictions of the held-out samples by models that are fitted to a fold's training part.

    Args:
        design: design of the sweep.
        fold: number of the fold.
        models: estimators of scikit-learn, one for each output.
        x: inputs of all samples, `(n, columns)`.
    """
    y, weights = np.asarray(design.data.y), _weights(design, fold)
    seen, held = design.splits.train[fold] > 0, design.splits.val[fold] > 0
    own_weights = None if weights is None else weights[seen]
    classes = np.issubdtype(y.dtype, np.integer)
    found = []
    for model, own in zip(models, y, strict=True):
        if classes and np.ptp(own[seen]) == 0:  # nothing to fit: always that class
            found.append(np.eye(_num_classes(design))[:, own[held] * 0 + own[seen][0]])
            continue
        model.fit(x[seen], own[seen], sample_weight=own_weights)
        if not classes:
            found.append(model.predict(x[held])[None])
            continue
        shares = np.zeros((_num_classes(design), np.count_nonzero(held)))
        shares[model.classes_] = model.predict_proba(x[held]).T
        found.append(shares)
    if not classes:
        return np.concatenate(found)
    # Networks of two classes may have one output, and so do their metrics.
    return found[0][1:] if design.configs[0].layer_sizes[-1] == 1 else found[0]


def _num_classes(design: Design) -> int:
    return max(2, design.configs[0].layer_sizes[-1])


def _weights(design: Design, fold: int) -> np.ndarray | None:
    """Returns the weights of samples and classes in a fold's training, `(n,)`; None where all are equal."""
    train = np.asarray(design.splits.train[fold], np.float64)
    if design.configs[0].class_weight is None and np.ptp(train[train > 0]) == 0:
        return None
    data = Data(None, design.data.y, train)
    with own_settings("float64"):
        return np.asarray(weigh_classes(data, design.configs[0]).weights)
