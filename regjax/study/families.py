"""Intervals of many paired differences at once: moderated variances, and the largest |t| of all of them.

`comparison.compare`, `importance.importance` and the page of a report call `together`. Pure functions of
NumPy arrays; docs/intervals.md says in words what they mean, and which errors simulations found.

Lines of a family share the baseline and the samples, so their differences are correlated. Two consequences
are used here. The largest |t| of correlated lines is smaller than that of as many independent ones, so the
family interval is narrower than Bonferroni's, which holds for every correlation and is the widest that is
given. And the variances of many lines say together how large a variance is, so that a line's own, which has
four degrees of freedom in five folds, is moderated toward the common one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from regjax.study.intervals import LEVEL

# Fewest lines whose variances are moderated: fewer do not show well enough how much variances differ, and the
# error rate of the family rose to 8 % in simulations of the worst case.
FEWEST_MODERATED = 10
# Draws of the largest |t|: at most MOST_DRAWS, and so many that at most BUDGET normal numbers are drawn.
MOST_DRAWS, FEWEST_DRAWS, BUDGET = 8192, 2048, 2**27
# Seed of the draws, so that the same differences have the same interval everywhere.
SEED = 0
# Most degrees of freedom that are drawn; more are mapped to these by the tail probability of one line.
MOST_DRAWN_DF = 64
# Numbers in memory at a time while drawing, and most lines whose correlation is held as a matrix.
AT_ONCE, MOST_AS_MATRIX = 2**21, 400
# Columns into which the errors of held-out samples are summed with random signs.
SKETCH = 64


class Sampling(NamedTuple):
    """The error of which samples are held out on one split.

    Attributes:
        se: standard error of each line, `(lines,)`.
        sketch: sums of the samples' errors with random signs, `(lines, columns)`: lines whose errors are
            alike have like rows.
    """

    se: np.ndarray
    sketch: np.ndarray


class Together(NamedTuple):
    """The intervals of the lines of a family; NaN in lines without one.

    Attributes:
        mean: mean difference, `(lines,)`.
        se: standard error by the moderated variance, `(lines,)`.
        total: the same with the sampling error of one split in quadrature, `(lines,)`.
        df: degrees of freedom of t, those of the moderation included.
        t: half a 95 % interval over its standard error, of a line alone.
        reach: the same of the interval that holds for all lines at once, for `total`.
        p: two-sided p-value of a difference of 0 by `total`, of a line alone, `(lines,)`.
        p_family: the same, adjusted for all lines: the chance that the largest |t| of the family is as large,
            if no line has a difference. Below 1 - LEVEL where the family interval excludes 0.
        prior_df: degrees of freedom that the moderation adds; 0 where nothing is moderated.
        prior_variance: the common variance toward which variances are moderated.
    """

    mean: np.ndarray
    se: np.ndarray
    total: np.ndarray
    df: int
    t: float
    reach: float
    p: np.ndarray
    p_family: np.ndarray
    prior_df: int
    prior_variance: float


def together(
    differences: np.ndarray,
    factor: float,
    least: np.ndarray,
    sampling: Sampling | None = None,
    most_draws: int = MOST_DRAWS,
) -> Together:
    """Returns the intervals of mean differences, each alone and all at once.

    A line without spread has no interval and does not count as a member of the family, nor does one with NaN.

    Args:
        differences: `(lines, units)`, at least two units where there is an interval.
        factor: variance of a mean over that of a unit: 1/J + n_val/n_train over folds, 1/S over seeds.
        least: least variance between units of each line, `(lines,)`.
        sampling: the error of the held-out samples, on one split.
        most_draws: most draws of the largest |t|; 0 takes Bonferroni's bound.

    References:
        Smyth 2004, §4 (moderated t); Westfall & Young 1993, §2 (single-step max-T); Schäfer & Strimmer 2005
        (shrunk correlations); Nadeau & Bengio 2003, eq. 16.
    """
    count, units = differences.shape
    mean = differences.mean(axis=1)
    nothing = np.full(count, np.nan)
    # NaN compares as False: a line that diverged has no spread, and no interval.
    members = np.flatnonzero(np.ptp(differences, axis=1) > 0) if units > 1 else np.arange(0)
    if sampling is not None:
        members = members[~np.isnan(sampling.se[members])]
    if not len(members):
        return Together(
            mean, nothing, nothing, max(0, units - 1), math.nan, math.nan, nothing, nothing, 0, 0.0
        )
    own = units - 1
    deviations = differences[members] - mean[members, None]
    variances = np.maximum(np.sum(deviations**2, axis=1) / own, least[members])
    directions = _unit(deviations)
    prior, prior_df = moderation(variances, directions, own)
    variances = np.maximum((prior_df * prior + own * variances) / (prior_df + own), least[members])
    se, total, p, p_family = (nothing.copy() for _ in range(4))
    se[members] = np.sqrt(factor * variances)
    total[members] = se[members] if sampling is None else np.hypot(se[members], sampling.se[members])
    shrinkage = shrinkage_of(directions)
    if sampling is not None:
        shares = (se[members] / total[members])[:, None], (sampling.se[members] / total[members])[:, None]
        directions = np.hstack([shares[0] * directions, shares[1] * _unit(sampling.sketch[members])])
    df = own + prior_df
    t = mean[members] / total[members]
    p[members], p_family[members], alone, reach = _levels(t, directions, shrinkage, df, most_draws)
    return Together(mean, se, total, df, alone, reach, p, p_family, prior_df, prior)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Returns rows divided by their lengths; a row of zeros stays."""
    lengths = np.sqrt(np.sum(rows**2, axis=1, keepdims=True))
    return rows / np.where(lengths > 0, lengths, 1)


def moderation(variances: np.ndarray, directions: np.ndarray, own: int) -> tuple[float, int]:
    """Returns the common variance of the lines, and the degrees of freedom that it adds to a line's own.

        s̃² = (d₀ s₀² + d s²) / (d₀ + d),  with d₀ + d degrees of freedom

    d₀ and s₀² follow from the mean and the variance of log s² (Smyth 2004), with two changes for lines that
    are not independent. Lines of correlation r have log variances of correlation about r², so that chance
    explains only 1 - mean r² of the variance between lines that it explains in independent ones. And m
    correlated lines are worth no more than m / mean r² independent ones, the diagonal counted: the
    degrees of freedom end there, and a common variance is never taken for known.

    Args:
        variances: s² of each line, `(lines,)`, above 0.
        directions: deviations from the mean with length 1, `(lines, units)`; their products are correlations.
        own: d, degrees of freedom of each variance.
    """
    from scipy import special

    count = len(variances)
    if count < FEWEST_MODERATED:
        return 0.0, 0
    squares = float(
        np.sum((directions.T @ directions) ** 2)
    )  # Σ r² over all pairs, without a matrix of pairs
    between = (squares - count) / (count * (count - 1))
    logs = np.log(variances) - special.digamma(own / 2) + math.log(own / 2)
    chance = float(special.polygamma(1, own / 2)) * (1 - between)
    excess = float(np.var(logs, ddof=1)) - chance
    most = own * (count**2 / squares - 1)
    prior_df = min(most, 2 * _inverse_trigamma(excess)) if excess > 0 else most
    if prior_df < 1:
        return 0.0, 0
    prior_df = math.floor(prior_df)
    prior = math.exp(float(np.mean(logs)) + float(special.digamma(prior_df / 2)) - math.log(prior_df / 2))
    return prior, prior_df


def _inverse_trigamma(value: float) -> float:
    """Returns x with trigamma(x) = value, by Newton's method on 1/trigamma, which is nearly linear.

    References:
        Smyth 2004, appendix.
    """
    from scipy import special

    if value > 1e7 or value < 1e-6:  # where trigamma is 1/x² or 1/x to the last digit
        return 1 / math.sqrt(value) if value > 1 else 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        found = float(special.polygamma(1, x))
        step = found * (1 - found / value) / float(special.polygamma(2, x))
        x += step
        if -step < 1e-8 * x:
            break
    return x


def shrinkage_of(directions: np.ndarray) -> float:
    """Returns the share λ by which correlations are shrunk to 0, in [0, 1]: r* = (1 - λ) r.

        λ = Σ var(r) / Σ r²  over all pairs of lines

    Few units say little of a correlation; smaller ones make the family interval wider, never too narrow.

    Args:
        directions: deviations from the mean with length 1, `(lines, units)`.

    References:
        Schäfer & Strimmer 2005, eq. 10.
    """
    count, units = directions.shape
    squares = float(np.sum((directions.T @ directions) ** 2)) - count  # of pairs of different lines
    if units < 3 or squares <= 1e-12:
        return 1.0
    # Products x_ki x_kj of standardised deviations, whose mean over units is r: sums over pairs, from sums
    # over lines alone.
    scaled = directions**2 * (units - 1)
    fourth = float(np.sum(scaled.sum(axis=0) ** 2) - np.sum(scaled**2))
    spread = fourth - squares * (units - 1) ** 2 / units
    return min(1.0, max(0.0, units / (units - 1) ** 3 * spread / squares))


def _levels(
    t: np.ndarray, directions: np.ndarray, shrinkage: float, df: int, most_draws: int
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Returns p of each line, alone and of all at once, and the t of 95 % intervals, alone and at once."""
    from scipy import special

    count = len(t)
    p = 2 * special.stdtr(df, -np.abs(t))
    alone, bound = (float(special.stdtrit(df, 1 - (1 - LEVEL) / (2 * m))) for m in (1, count))
    at_most = np.minimum(1.0, count * p)  # Bonferroni
    if count == 1 or most_draws == 0:
        return p, at_most, alone, bound
    drawn_df = min(df, MOST_DRAWN_DF)
    largest = largest_t(directions, shrinkage, drawn_df, most_draws)
    place = math.ceil(LEVEL * len(largest)) - 1
    as_drawn = -special.stdtrit(drawn_df, p / 2)  # |t| of the same p
    beyond = (len(largest) - np.searchsorted(largest, as_drawn)) / len(largest)
    p_family = np.minimum(at_most, np.maximum(beyond, p))
    reach = -float(special.stdtrit(df, special.stdtr(drawn_df, -float(largest[place]))))
    return p, p_family, alone, max(alone, min(bound, reach))


def largest_t(directions: np.ndarray, shrinkage: float, df: int, most_draws: int) -> np.ndarray:
    """Returns draws of the largest |t| of lines without a difference, sorted, float32.

    Numerators and the df squares in each line's own denominator are normal numbers of the same correlation.

    Args:
        directions: rows of length 1 whose products are correlations, `(lines, columns)`.
        shrinkage: share by which correlations are shrunk to 0.
        df: degrees of freedom.
        most_draws: most draws.
    """
    count = len(directions)
    draws = min(most_draws, max(FEWEST_DRAWS, BUDGET // (count * (df + 1))))
    root, own = _root(directions, shrinkage)
    random, found = np.random.default_rng(SEED), []
    size = max(1, min(draws, AT_ONCE // ((df + 1) * max(count, len(root)))))
    for start in range(0, draws, size):
        shape = (df + 1, min(size, draws - start))
        z = random.standard_normal((*shape, len(root)), np.float32) @ root
        if own > 0:
            z += own * random.standard_normal((*shape, count), np.float32)
        # With one degree of freedom a draw in millions is 0 in float32.
        squares = np.maximum(np.mean(z[1:] ** 2, axis=0), np.float32(1e-30))
        found.append(np.max(np.abs(z[0]) / np.sqrt(squares), axis=1))
    return np.sort(np.concatenate(found))


def _root(directions: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.float32]:
    """Returns A `(columns, lines)` and b with A'A + b² I, the shrunk correlation: z = g A + b e has it."""
    if len(directions) > MOST_AS_MATRIX:
        return (math.sqrt(1 - shrinkage) * directions.T).astype(np.float32), np.float32(math.sqrt(shrinkage))
    matrix = (1 - shrinkage) * directions @ directions.T
    np.fill_diagonal(matrix, 1.0)
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))).T.astype(np.float32), np.float32(0)


def signs(count: int) -> np.ndarray:
    """Returns signs that sum the errors of samples into a sketch, `(count, columns)`; of few, no sums."""
    if count <= SKETCH:
        return np.eye(count)
    return np.random.default_rng(SEED).choice([-1.0, 1.0], (count, SKETCH))
