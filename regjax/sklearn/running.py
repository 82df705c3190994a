"""A search while it runs: what scikit-learn's `fit` finds in place of an estimator that it would train.

The searches of regjax/sklearn/search.py make a `Running`. scikit-learn fits clones of the search's estimator,
one for each candidate and fold. A hook makes them: a clone whose network is trained takes its weights over
when scikit-learn calls its `fit`, and is from then on like any other. The others fit as they always do.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone

from regjax.engine.connecting import within
from regjax.sklearn.candidates import Done, Trainer, networks_in, train_candidates
from regjax.sklearn.trained import Work


class _Splits:
    """A splitter that returns splits which have been made."""

    def __init__(self, splits: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.splits = splits

    def split(self, X: Any, y: Any = None, **params: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return iter(self.splits)


class Running:
    """A search while it runs; scikit-learn's own `fit` calls the search's methods, and they call these.

    Attributes:
        search: the search.
        routed: metadata of scikit-learn's routing.
        work: the samples and, once they are made, the splits.
        clones: the estimators that scikit-learn is about to fit on a fold, in its order.
        seconds: of each fit so far its share of a sweep's time, or None where scikit-learn has measured it.
        results: results of a sweep, or None, for each time that candidates were evaluated.
        num_seeds: how often each candidate is handed to scikit-learn.
        said: number of fits of which a line was printed.
        trainer: what trains the candidates that can be rows of a sweep.
        alone: the context of one process, and what else is undone at the end.
    """

    def __init__(self, search: Any) -> None:
        self.search = search
        self.routed: Any = None
        self.work: Any = None
        self.clones: Iterator[Any] = iter(())
        self.seconds: list[float | None] = []
        self.results: list[Any] = []
        self.num_seeds, self.said = 1, 0
        self.trainer: Trainer = search._trainer()
        self.alone = contextlib.ExitStack()
        self.verbose = search.verbose

    def begin(self, X: Any, y: Any) -> None:
        """Puts a hook on the search's estimator, of which scikit-learn makes a clone for each fit."""
        estimator = self.search.estimator
        self.work = Work(self.search, estimator, X, y, [], dict(self.routed.estimator.fit))
        # One process and thread while candidates are noted and handed out, also for what surrounds a network:
        # their fits are done, and no other process knows of them.
        backend, _ = joblib.parallel.get_active_backend()
        # Under joblib's backend "dask" the networks are trained where Dask's users expect it.
        self.alone.enter_context(within(getattr(backend, "client", None)))
        self.alone.enter_context(joblib.parallel_config(backend="sequential"))

        # The times of fits that are handed out are known later than scikit-learn would print them.
        self.search.verbose = min(self.verbose, 1)

        def first() -> Any:
            # The estimator of which all others are clones, and which nobody else sees.
            self.search.estimator = estimator
            return _hooked(estimator, self.clone)

        self.search.estimator = _hooked(estimator, first)

    def clone(self) -> Any:
        """Returns the next estimator that scikit-learn fits."""
        following = next(self.clones, None)
        if following is not None:
            return following
        return self.trainer.to_refit(self.work, clone(self.work.estimator))

    def evaluating(self, evaluate: Callable[..., Any]) -> Callable[..., Any]:
        """Returns scikit-learn's function that evaluates candidates, with all of them trained before."""

        def evaluated(
            candidate_params: Iterable[dict[str, Any]],
            cv: Any = None,
            more_results: Any = None,
            **context: Any,
        ) -> Any:
            search, work = self.search, self.work
            candidates = list(candidate_params)
            # Once, because a splitter may draw others the next time.
            cv = search._checked_cv_orig if cv is None else cv
            splits = [
                (np.asarray(a), np.asarray(b))
                for a, b in cv.split(work.X, work.y, **self.routed.splitter.split)
            ]
            seeded = [candidate for candidate in candidates for _ in range(search.n_seeds)]
            if search.n_seeds > 1:  # the tree of callbacks has room for one fit per candidate and fold
                context = {}
            done = train_candidates(work._replace(splits=splits), candidates, self.trainer)
            self.num_seeds = search.n_seeds
            self.results.append(done.results)
            if search.store is not None and self.verbose:
                print(f"{done.num_recalled} of {done.num_rows} networks were in the store")
            search.num_recalled_ = getattr(search, "num_recalled_", 0) + done.num_recalled
            self.clones = self._clones(done, len(candidates), len(splits))
            with done.together.handing_out():
                return evaluate(seeded, cv=_Splits(splits), more_results=more_results, **context)

        return evaluated

    def _clones(self, done: Done, num_candidates: int, num_splits: int) -> Iterator[Any]:
        """Yields the estimators that scikit-learn fits, in its order; some take over trained weights."""
        for number, seed, fold in itertools.product(
            range(num_candidates), range(self.search.n_seeds), range(num_splits)
        ):
            adopted = done.adopted.get((number, seed, fold))
            self.seconds.append(None if adopted is None else adopted.seconds)
            estimator: Any = clone(self.work.estimator)
            if adopted is not None:
                estimator.fit = functools.partial(_take_over, estimator, adopted.take)
            elif number in done.seeds:
                self.trainer.prepare(estimator, done.seeds[number][seed], (seed, fold))
            yield estimator

    def tell(self, candidates: list[Any], num_splits: int, out: list[dict[str, Any]]) -> None:
        """Writes the true times into scikit-learn's results of all fits so far, and prints lines on new ones.

        Args:
            candidates: parameters of each candidate, once for each seed.
            num_splits: number of folds.
            out: a dict for each candidate and fold.
        """
        for result, seconds in zip(out, self.seconds, strict=False):
            if seconds is not None:
                result["fit_time"] = seconds
        if self.verbose <= 1:
            return
        for place in range(self.said, len(out)):
            candidate, fold = divmod(place, num_splits)
            numbers = (fold, num_splits), (candidate, len(candidates))
            print(end_line(self.verbose, candidates[candidate], out[place], *numbers))
        self.said = len(out)

    def end(self) -> None:
        """Leaves the search as it was."""
        self.alone.close()
        self.search.verbose = self.verbose
        if self.work is not None:
            self.search.estimator = self.work.estimator


def _hooked(estimator: Any, hook: Callable[[], Any]) -> Any:
    """Returns a copy of an estimator of which `hook` makes the clones."""
    copied = copy.copy(estimator)
    copied.__sklearn_clone__ = hook
    return copied


def _take_over(estimator: Any, take: Callable[[Any], None], X: Any, y: Any = None, **params: Any) -> Any:
    """The `fit` of an estimator whose network is trained."""
    del estimator.fit
    take(estimator)
    return estimator


def has_networks(search: Any) -> bool:
    """Returns whether a search may meet a network: in its estimator or among the values of parameters."""
    given = getattr(search, "param_grid", None) or getattr(search, "param_distributions", None)
    grids = given if isinstance(given, list | tuple) else [given]
    values = [value for grid in grids if isinstance(grid, Mapping) for value in grid.values()]
    lists = [v for v in values if isinstance(v, list | tuple | np.ndarray) and getattr(v, "ndim", 1) > 0]
    listed = [one for value in lists for one in value]
    return any(networks_in(one) for one in [search.estimator, *listed])


def end_line(
    verbose: int,
    parameters: Mapping[str, Any],
    result: Mapping[str, Any],
    split: tuple[int, int],
    candidate: tuple[int, int],
) -> str:
    """Returns scikit-learn's line on a fit that has ended, with the network's share of the time.

    Args:
        verbose: as in the search, above 1.
        parameters: parameters of the candidate.
        result: scores and times of the fit.
        split: number of the fold, and of all folds.
        candidate: number of the candidate, and of all.
    """
    begun = f"[CV{f' {split[0] + 1}/{split[1]}' if verbose > 2 else ''}"
    begun += f"; {candidate[0] + 1}/{candidate[1]}" if verbose > 9 else ""
    said = ", ".join(f"{name}={parameters[name]}" for name in sorted(parameters))
    said += ";" if said else ""
    if verbose > 2:
        test, train = result["test_scores"], result.get("train_scores")
        if isinstance(test, dict):
            for name in sorted(test):
                said += (
                    f" {name}: ({'' if train is None else f'train={train[name]:.3f}, '}test={test[name]:.3f})"
                )
        else:
            said += ", score=" + (f"{test:.3f}" if train is None else f"(train={train:.3f}, test={test:.3f})")
    seconds = joblib.logger.short_format_time(result["fit_time"] + result["score_time"])
    said += f" total time={seconds}"
    begun += "] END "
    return begun + "." * (80 - len(begun) - len(said)) + said
