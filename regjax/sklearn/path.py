"""`RegPathCV`: one alpha after the other, each network starting from its neighbour's weights.

So do glmnet, and scikit-learn's `LassoCV` and `LogisticRegressionCV`, for linear models. All folds and seeds
of an alpha are trained at once; candidates.py asks the trainer of this module for them, and running.py for
what is refitted. Users make the search; `import regjax` has it.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._param_validation import StrOptions

from regjax.core.mlp import Params
from regjax.engine.sweep import run
from regjax.engine.workers import place
from regjax.sklearn.base import starting_from
from regjax.sklearn.candidates import Swept, Trainer, asked_of, num_workers, places_of, seeded
from regjax.sklearn.rungs import TrainedRows, with_steps
from regjax.sklearn.search import OWN_CONSTRAINTS, Search, extended
from regjax.sklearn.trained import Candidate, Fold, Work, as_candidate, inside
from regjax.study.design import Design, part_of
from regjax.study.evidence import Row
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design

# Epochs between two records of networks that may stop, and about the most records of one.
EPOCHS, MOST_RECORDS = 10, 1000
# The alphas by default.
ALPHAS = 10.0 ** np.arange(1, -4.25, -0.25)


@dataclasses.dataclass(frozen=True, eq=False)
class _Started(Design):
    """A design of one configuration whose networks start from given weights.

    Attributes:
        starts: the weights of each row; None where they are drawn.
        whole: the design of the path, which draws the orders of samples once for all alphas.
    """

    starts: tuple[Params | None, ...] = ()
    whole: Design | None = None

    def drawn(self, row: Row) -> tuple[Params | None, np.ndarray | None]:
        assert self.whole is not None
        params, orders = self.whole.drawn(row)
        start = self.starts[self.index(0, self.seeds.index(row.seed), row.fold)]
        return params if start is None else start, orders


def with_records(design: Design) -> Design:
    """Returns a design with more records where networks may stop, since an alpha ends at one."""
    ends = [config.num_steps for config in design.configs]
    every = [config.eval_every for config in design.configs]
    for number, batches in enumerate(design.num_batches):
        if every[number] < ends[number]:
            every[number] = min(every[number], max(EPOCHS * batches, ends[number] // MOST_RECORDS))
    return with_steps(design, ends, every)


def train_path(design: Design, workers: int | None) -> tuple[TrainedRows, dict[int, Params]]:
    """Returns the rows of a design, and the weights that each has started from where these were not drawn.

    Configurations are trained one after the other. A row starts from the final weights of the same seed and
    fold of the configuration before, with a new optimizer; where that row diverged, from drawn weights.

    Args:
        design: what is asked; its configurations have networks of one shape.
        workers: number of tasks at a time; None takes a thread per core.
    """
    per, rows = design.num_replicates, design.num_rows
    standing = TrainedRows(design, np.full(rows, -1), np.full(rows, -1), np.zeros(rows), {})
    starts: dict[int, Params] = {}
    for number in range(len(design.configurations)):
        part, first = part_of(design, [number]), number * per
        fields = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        one = _Started(**fields, starts=tuple(starts.get(first + i) for i in range(per)), whole=design)
        plan = make_plan(one, workers=workers, keep="all", **place())
        results = run(one, plan=plan)
        own = slice(first, first + per)
        standing.diverged_at[own], standing.stopped_at[own] = results.diverged_at, results.stopped_at
        standing.seconds[own] = results.seconds
        standing.kept.update({first + row: params for row, params in results.kept.items()})
        if first + per < rows:
            starts |= {first + per + row: params for row, params in results.kept.items()}
    return standing, starts


class Path(Trainer):
    """Trains the candidates of a path, and what is refitted.

    Args:
        name: parameter of the estimator that is alpha.
        alphas: the values, in the order of the path.
    """

    def __init__(self, name: str, alphas: Sequence[float]) -> None:
        self.name, self.alphas = name, alphas
        self.error: Exception | None = None
        self.swept = False
        # (seed, fold) -> weights and biases of its last network, where networks are fitted one by one.
        self.last: dict[tuple[int, int], tuple[list[np.ndarray], list[np.ndarray]]] = {}

    def train(
        self, work: Work, key: Any, members: list[Candidate], folds: list[Fold], seeds: list[int]
    ) -> Swept:
        """Returns what the candidates have become, trained one after the other."""
        try:
            asked, indices = asked_of(work, members, folds, seeds)
            design = with_records(make_design(**asked))
            standing, starts = train_path(design, num_workers(work.search))
        except Exception as error:
            self.error = error
            raise
        self.swept = True
        return Swept(places_of(design, indices), standing, None, starts)

    def at_once(self, fits: list[Callable[[], Any]]) -> list[Callable[[], Any]]:
        """Returns no fit: each needs the weights of the one before. Raises what ended the sweep."""
        if fits and self.error is not None:
            raise self.error
        return []

    def prepare(self, estimator: Any, seed: int | None, place: tuple[int, int]) -> None:
        """Gives an estimator a `fit` that starts from the weights of the alpha before."""
        if self.swept:  # then it is one that diverged
            super().prepare(estimator, seed, place)
        else:
            estimator.fit = functools.partial(self._fit_after, estimator, seed, place)

    def _fit_after(
        self, estimator: Any, seed: int | None, place: tuple[int, int], *args: Any, **params: Any
    ) -> Any:
        """The `fit` of an estimator on a path whose networks are fitted one by one."""
        del estimator.fit
        with starting_from(self.last.pop(place, None)):  # none where the one before diverged
            seeded(estimator, seed).fit(*args, **params)
        network = inside(estimator)[1]
        self.last[place] = network.coefs_, network.intercepts_
        return estimator

    def to_refit(self, work: Work, estimator: Any) -> Any:
        """Returns an estimator whose `fit` follows the path to the best alpha, on all samples."""
        chosen = work.search.best_index_
        estimator.fit = functools.partial(_fit_path, estimator, self.name, self.alphas[: chosen + 1])
        return estimator


def _fit_path(estimator: Any, name: str, alphas: Sequence[float], *args: Any, **params: Any) -> Any:
    """The `fit` of an estimator that is fitted at each alpha, from the weights of the one before."""
    del estimator.fit
    start = None
    for alpha in alphas[:-1]:
        estimator.set_params(**{name: alpha})
        with warnings.catch_warnings(), starting_from(start):
            warnings.simplefilter("ignore")
            try:
                network = inside(estimator.fit(*args, **params))[1]
                start = network.coefs_, network.intercepts_
            except ValueError:  # it diverged; what else is wrong is raised by the last fit too
                start = None
    estimator.set_params(**{name: alphas[-1]})
    with starting_from(start):
        return estimator.fit(*args, **params)


class RegPathCV(Search, BaseSearchCV):
    """A search over alpha alone, in which each network starts from its neighbour's weights.

    The alphas are trained one after the other, all folds × seeds of one at once. A network starts from the
    final weights of the same fold and seed at the alpha before, with a new optimizer, new counts of epochs
    and the orders of samples of a new network; it is trained for at most `max_iter` epochs, and stops as the
    estimator says. A path of k alphas takes the epochs of k networks for each fold and seed, fewer where
    networks stop early, and cannot train alphas beside one another: docs/scikit-learn.md says what it takes
    beside a `RegGridSearchCV` of the same alphas. Networks that cannot be rows of a sweep are fitted one
    after the other: with sample weights or several labels per sample, and on folds that lack a class, repeat
    samples, or are in another order than the data and trained in batches.

    Args:
        estimator: a `RegMLPClassifier` or `RegMLPRegressor` with solver "sgd" or "adam", alone or at the end
            of a Pipeline. Its own alpha is not read.
        alphas: values >= 0, distinct; None takes 10, 10^0.75, …, 10^-4.
        first: "smallest" or "largest", the alpha that begins the path. glmnet begins with the largest, but
            the weights of a network that a large alpha has brought near 0 are a poor start: where it was
            measured, paths from the smallest came to lower costs in fewer epochs.
        scoring: as in `RegGridSearchCV`, like `cv`, `error_score`, `verbose` and `return_train_score`.
        n_jobs: tasks at a time; None takes a thread per core.
        refit: the best candidate is fitted on all samples along the path that leads to it.
        n_seeds: networks per alpha and fold.

    Attributes:
        alphas_: the alphas in the order of the path.
        alpha_: the best one.
        scores_: test scores, `(alphas, folds, seeds)`; with several scorers, a mapping by name.
        cv_results_: scikit-learn's keys, in the order of the path; `mean_fit_time` is that of an alpha alone.
        best_estimator_: the network of alpha_, and `best_params_`, `best_score_`, … as in scikit-learn.

    Raises:
        ValueError: by `fit`, invalid parameters or data.

    References:
        Friedman, Hastie & Tibshirani 2010, §2.5; for networks Lemhadri et al. 2021, who begin with the
        smallest.

    Example:
        >>> import regjax
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> network = regjax.RegMLPClassifier((8,), tol=0.01, max_iter=500, random_state=0)
        >>> path = regjax.RegPathCV(network, alphas=[1, 0.1, 0.01], cv=3).fit(X, y)
        >>> path.alphas_.tolist(), path.scores_.shape
        ([0.01, 0.1, 1.0], (3, 3, 1))
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        **BaseSearchCV._parameter_constraints,
        "alphas": ["array-like", None],
        "first": [StrOptions({"largest", "smallest"})],
        "n_seeds": OWN_CONSTRAINTS["n_seeds"],
    }

    alphas: Any
    first: str
    # A store would hold these rows under the names of networks that start from drawn weights.
    store = None

    __init__: Any = extended(BaseSearchCV, alphas=None, first="smallest", return_train_score=False, n_seeds=1)

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Returns the search after training the path on all folds, and on all samples to the best alpha.

        Args:
            X: `(n_samples, n_features)`, or what the estimator takes.
            y: targets.
            **params: sample_weight and groups, as in scikit-learn.

        Raises:
            ValueError: invalid parameters or data.
        """
        super().fit(X, y, **params)
        self.scores_ = self.seed_scores_
        if hasattr(self, "best_index_"):
            self.alpha_ = float(self.alphas_[self.best_index_])
        return self

    def _trainer(self) -> Trainer:
        self._validate_params()
        member = as_candidate(0, {}, self.estimator)
        if member is None:
            raise ValueError(
                "estimator must be a network of regjax with solver sgd or adam and a whole number or None as "
                f"random_state, alone or at the end of a Pipeline, got {self.estimator}"
            )
        self.alphas_ = _checked(ALPHAS if self.alphas is None else self.alphas)
        if self.first == "largest":
            self.alphas_ = self.alphas_[::-1]
        return Path(f"{member.prefix}alpha", self.alphas_.tolist())

    def _run_search(self, evaluate_candidates: Callable[..., Any], *, callback_ctx: Any = None) -> None:
        path: Any = self._running.trainer
        evaluate = self._running.evaluating(evaluate_candidates)
        # scikit-learn's callbacks follow this search as they do a grid search.
        context = callback_ctx.subcontext(
            task_name="search",
            max_subtasks=len(path.alphas) * self.n_splits_,
            sequential_subtasks=False,
        ).call_on_fit_task_begin(estimator=self)
        evaluate([{path.name: alpha} for alpha in path.alphas], callback_ctx=context)
        context.call_on_fit_task_end(estimator=self)
        self._running.alone.close()


def _checked(alphas: Any) -> np.ndarray:
    """Returns alphas in ascending order; raises ValueError."""
    found = np.asarray(list(alphas), dtype=object)
    real = all(isinstance(alpha, Real) and 0 <= float(alpha) < np.inf for alpha in found)
    if not real or not len(found) or len(set(found)) < len(found):
        raise ValueError(f"alphas must be distinct numbers >= 0, at least one, got {alphas!r:.200}")
    return np.sort(found.astype(float))
