"""A program of scikit-learn's words, run with scikit-learn's classes and with ours, and compared.

tests/sklearn/test_peer_random.py and test_peer_errors.py call it. A program is a list of Python statements;
what it leaves in the names `model` and `found` is compared after each of them, and so are its warnings,
errors and printed lines.
"""

import collections
import contextlib
import copy
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor

import regjax

PEERS = {
    "MLPClassifier": MLPClassifier,
    "MLPRegressor": MLPRegressor,
    "GridSearchCV": GridSearchCV,
    "RandomizedSearchCV": RandomizedSearchCV,
}
OURS = {name: getattr(regjax, f"Reg{name}") for name in PEERS}


class _Rounded:
    """A network of scikit-learn that rounds otherwise: hidden units and gradients move by their last bit."""

    def _forward_pass(self, activations: Any) -> Any:
        activations = super()._forward_pass(activations)  # pyright: ignore
        self._move(activations[1:-1])
        return activations

    def _backprop(self, X: Any, *args: Any) -> Any:
        loss, *gradients = super()._backprop(X, *args)  # pyright: ignore
        for parts in gradients:
            self._move(parts)
        return loss, *gradients

    def _move(self, arrays: Any) -> None:
        """Multiplies each number by 1, or 1 ± the distance to the next."""
        if not hasattr(self, "_bits"):
            self._bits = np.random.default_rng(0)
        for array in arrays:
            array *= 1 + np.finfo(array.dtype).eps * self._bits.integers(-1, 2, array.shape).astype(
                array.dtype
            )


# scikit-learn's networks under other rounding: what they differ by from PEERS, rounding alone can do.
ROUNDED = PEERS | {
    name: type(name, (_Rounded, PEERS[name]), {}) for name in ("MLPClassifier", "MLPRegressor")
}
# Warnings that are neither scikit-learn's nor ours: NumPy's of overflow and the like, and JAX's of its cache.
OTHERS = re.compile("^RuntimeWarning|persistent compilation cache")
HEADER = """
import numpy as np
import pandas as pd
import scipy.stats
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, TimeSeriesSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
"""


@dataclass
class Step:
    """What one statement of a program has done.

    Attributes:
        error: the exception, or None.
        warned: categories and words of the warnings, each once.
        printed: what it has printed.
        seen: public fitted attributes of `model`, and `found`, by name.
    """

    error: Exception | None = None
    warned: set[tuple[str, str]] = field(default_factory=set)
    printed: str = ""
    seen: dict[str, Any] = field(default_factory=dict)


def run(program: Sequence[str], classes: Mapping[str, type]) -> list[Step]:
    """Returns what each statement has done, up to the first that raises.

    Args:
        program: statements, after those of `HEADER`.
        classes: the classes under scikit-learn's names, `PEERS` or `OURS`.
    """
    namespace: dict[str, Any] = dict(classes)
    exec(HEADER, namespace)
    steps = []
    for statement in program:
        step = Step()
        steps.append(step)
        out = io.StringIO()
        with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(out):
            warnings.simplefilter("always")
            try:
                exec(statement, namespace)
            except Exception as error:
                step.error = error
        # NumPy's warnings of overflow and the like are not of scikit-learn's making.
        step.warned = {(w.category.__name__, words(w.message)) for w in warned
                       if w.category is not RuntimeWarning}  # fmt: skip
        step.printed = words(out.getvalue())
        if step.error is not None:
            break
        step.seen = attributes(namespace.get("model"))
        if "found" in namespace:
            step.seen["found"] = namespace["found"]
    return steps


def words(message: object) -> str:
    """Returns a text with scikit-learn's class names, single spaces, and without addresses and times."""
    text = re.sub(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*", "", str(message))
    text = _grouped(re.sub(r"reg(?=mlp|gridsearch|randomizedsearch)", "", text.lower()))
    text = " ".join(re.sub(r"0x[0-9a-f]+|[\d.]+(s|min)\b", "…", text).split())
    # How the text of a long estimator is shortened depends on the length of its class's name.
    return re.sub(r"when fitting .*", "when fitting …", text)


def _grouped(text: str) -> str:
    """Returns a search's report of failures with those of one message in one group, whatever raised them."""
    head, *groups = re.split(r"-{80}\n", text)
    counts = collections.Counter()
    for group in groups:
        count, _, message = group.partition(" fits failed with the following error:")
        counts[message.strip()] += int(count) if count.isdigit() else 0
    return "\n".join([head, *(f"{count} fits failed: {message}" for message, count in counts.items())])


def attributes(model: Any) -> dict[str, Any]:
    """Returns the public fitted attributes of an estimator, but for times."""
    found = {}
    for name, value in vars(model).items() if model is not None else ():
        if name.endswith("_") and not name.startswith("_") and "_time" not in name:
            # scikit-learn trains a network's weights in place.
            found[name] = copy.deepcopy(value) if isinstance(value, (list, np.ndarray)) else value
    return found


def differences(
    peer: Sequence[Step], ours: Sequence[Step], rtol: float, atol: float, *, texts: bool = True
) -> list[str]:
    """Returns a line for each difference between two runs of one program; the first is scikit-learn's.

    Args:
        peer: scikit-learn's steps.
        ours: our steps.
        rtol: relative tolerance of numbers.
        atol: absolute tolerance of numbers.
        texts: whether messages of errors must be equal too.
    """
    lines: list[str] = []
    for number, (one, other) in enumerate(zip(peer, ours, strict=False)):
        at = f"statement {number}: "
        if type(one.error) is not type(other.error):
            lines.append(f"{at}raises {one.error!r:.300}, ours {other.error!r:.300}")
        elif texts and one.error is not None and words(one.error) != words(other.error):
            lines.append(f"{at}says {words(one.error):.400}\n    ours {words(other.error):.400}")
        # A fit that fails may do so before it warns of something else.
        if one.error is None and not _same_lines(_lines(one.warned), _lines(other.warned), rtol):
            lines.append(f"{at}warns {_brief(one.warned - other.warned)}")
            lines.append(f"    only ours {_brief(other.warned - one.warned)}")
        if not _same_lines(one.printed, other.printed, rtol):
            lines.append(f"{at}prints {one.printed[-300:]!r}\n    ours {other.printed[-300:]!r}")
        ties = _equally_good(one.seen, other.seen, rtol)
        for name, value in one.seen.items():
            if ties and name != "cv_results_":
                continue
            if name not in other.seen:
                lines.append(f"{at}{name} is missing")
            else:
                lines += [at + line for line in compared(name, value, other.seen[name], rtol, atol)]
        if lines or ties:
            break
    return lines


def _brief(warned: set[tuple[str, str]]) -> list[str]:
    # The end of a list of failures says what has failed.
    return sorted(f"{category}: {text[:120]} … {text[120:][-180:]}" for category, text in warned)


def _lines(warned: set[tuple[str, str]]) -> str:
    return "\n".join(": ".join(warning) for warning in sorted(warned))


def _same_lines(one: str, other: str, rtol: float) -> bool:
    """Returns whether words are the same; numbers in them may differ in the last digit printed."""
    number = re.compile(r"-?\d+\.\d+(?:e[+-]\d+)?|nan|inf")
    if number.sub("#", one) != number.sub("#", other):
        return False
    both = ([float(x) for x in number.findall(text)] for text in (one, other))
    return np.allclose(*both, rtol=max(1e-6, rtol), atol=max(2e-8, rtol), equal_nan=True)


def compared(name: str, one: Any, other: Any, rtol: float, atol: float) -> list[str]:
    """Returns a line for each difference between two values, and their parts."""
    if _plain_type(one) != _plain_type(other):
        return [f"{name} has type {type(one).__name__}, ours {type(other).__name__}"]
    if isinstance(one, Mapping):
        if list(one) != list(other):
            return [f"{name} has keys {list(one)}, ours {list(other)}"]
        pairs = [(f"{name}[{key!r}]", one[key], other[key]) for key in one if "_time" not in str(key)
                 and not _same_ranks(str(key), one, other, rtol)]  # fmt: skip
    elif isinstance(one, BaseEstimator):
        mine, its = attributes(other), attributes(one)
        if missing := set(its) - set(mine):
            return [f"{name} lacks {missing}"]
        pairs = [(f"{name}.{key}", its[key], mine[key]) for key in its]
        own = other.get_params(deep=False)
        pairs += [(f"{name}.{key}", value, own.get(key)) for key, value in one.get_params(deep=False).items()]
    elif isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f"{name} has {len(one)} parts, ours {len(other)}"]
        pairs = [(f"{name}[{i}]", a, b) for i, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return _compared_values(name, one, other, rtol, atol)
    return [line for pair in pairs for line in compared(*pair, rtol, atol)]


def _equally_good(one: Mapping[str, Any], other: Mapping[str, Any], rtol: float) -> bool:
    """Returns whether two searches chose other candidates, of which rounding alone makes one the better."""
    if one.get("best_index_") == other.get("best_index_"):
        return False
    return bool(np.isclose(*(run.get("best_score_", np.nan) for run in (one, other)), rtol=rtol, atol=rtol))


def _same_ranks(key: str, one: Mapping[str, Any], other: Mapping[str, Any], rtol: float) -> bool:
    """Returns whether ranks are those of equal scores, of which rounding makes one the better."""
    if not key.startswith("rank_test_"):
        return False
    scores = np.asarray(one[key.replace("rank", "mean")])
    return all(
        np.isclose(scores[i], scores[j], rtol=rtol, atol=rtol) or (a < b) == (c < d)
        for i, (a, c) in enumerate(zip(one[key], other[key], strict=True))
        for j, (b, d) in enumerate(zip(one[key], other[key], strict=True))
    )


def _plain_type(value: Any) -> str:
    """Returns a type's name; numbers of NumPy and of Python that are equal are one type."""
    if isinstance(value, (float, np.floating)):
        return "float"
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return "int"
    return type(value).__name__.removeprefix("Reg")


def _compared_values(name: str, one: Any, other: Any, rtol: float, atol: float) -> list[str]:
    if sparse.issparse(one):
        one, other = one.toarray(), other.toarray()
    if isinstance(one, np.ma.MaskedArray) and not np.array_equal(one.mask, other.mask):
        return [f"{name} has the mask {one.mask}, ours {other.mask}"]
    if not isinstance(one, (np.ndarray, float, np.floating)):
        if callable(one) or repr(one) == repr(other) or words(one) == words(other):
            return []
        return [f"{name} is {one!r:.200}, ours {other!r:.200}"]
    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape or a.dtype != b.dtype:
        return [f"{name} is {a.shape} of {a.dtype}, ours {b.shape} of {b.dtype}"]
    if a.dtype.kind not in "fc":
        if a.dtype == object and a.size and isinstance(a.flat[0], float):
            same = repr(a.tolist()) == repr(b.tolist())
        else:
            same = words(a.tolist()) == words(b.tolist())
        return [] if same else [f"{name} is {a.tolist()!r:.200}, ours {b.tolist()!r:.200}"]
    with np.errstate(all="ignore"):
        gap = np.abs(a - b)
        bad = ~((gap <= atol + rtol * np.abs(a)) | (a == b) | (np.isnan(a) & np.isnan(b)))
    if not bad.any():
        return []
    return [f"{name} differs by up to {np.max(np.where(bad, gap, 0)):.2g}: "
            f"{a[bad].flat[0]!r}, ours {b[bad].flat[0]!r}"]  # fmt: skip


def as_script(program: Sequence[str], classes: str) -> str:
    """Returns a program as a script of its own; `classes` is "peers" or "ours"."""
    origin = {
        "peers": "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
        "from sklearn.model_selection import GridSearchCV, RandomizedSearchCV",
        "ours": "from regjax import RegMLPClassifier as MLPClassifier, RegMLPRegressor as MLPRegressor\n"
        "from regjax import RegGridSearchCV as GridSearchCV, RegRandomizedSearchCV as RandomizedSearchCV",
    }[classes]
    return "\n".join([HEADER.strip(), origin, *program])
