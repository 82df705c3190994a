"""The built-in data sets of two features: what a decision boundary is taught with, drawn from a key.

`regjax.data.loaders` reads them by name (`--data moons`); users call them as `regjax.datasets`, and
`two_regions` as `regjax.two_regions` too. All points lie within a few units of 0: nothing is standardised.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.checks import check_choice, check_count, shown
from regjax.core.config import Dtype
from regjax.core.data import Data
from regjax.core.host import bits, fold_in, uniforms
from regjax.core.random import as_key, root_key
from regjax.core.settings import GENERATOR, own_settings
from regjax.data.names import DEFAULT

__all__ = ["two_regions", "moons", "circles", "spirals", "blobs", "xor", "flower"]

# Class of each sample, `(n,)`, and its place on the curve in [0, 1), `(n,)` -> points `(n, 2)`.
Curve = Callable[[np.ndarray, np.ndarray], np.ndarray]


def two_regions(key: jax.Array, *, num_train: int = 211, num_test: int = 200) -> tuple[Data, Data]:
    """Returns (train, test) of the default data set: two regions, a curved border, noisy labels.

    Points are uniform on [-1, 1]²; class 1 lies above x₂ = 0.4·sin(3·x₁). Then 10 % of the labels
    are flipped, in train and test alike: on new points no classifier is right in more than 90 % on average,
    and a higher accuracy on the training samples is learnt by heart.

    Args:
        key: any JAX key.
        num_train: training samples, at least 2.
        num_test: test samples, at least 1.

    Raises:
        TypeError: a count that is no whole number, or no key.
        ValueError: a count out of its range.

    Example:
        >>> import jax, regjax
        >>> train, test = regjax.two_regions(jax.random.key(0))
        >>> train.x.shape, test.x.shape
        ((2, 211), (2, 200))
    """
    num_train = check_count("num_train", num_train, at_least=2)
    num_test = check_count("num_test", num_test)
    total = num_train + num_test
    u, flips = _uniforms_of(key, 2 * total, total)
    X, flipped = 2 * u.astype(np.float64).reshape(total, 2) - 1, flips < 0.1
    above = X[:, 1] > 0.4 * np.sin(3 * X[:, 0])
    y = (above ^ flipped).astype(np.int32)
    return Data.from_arrays(X[:num_train], y[:num_train]), Data.from_arrays(X[num_train:], y[num_train:])


def moons(key: jax.Array, n: int = 300, noise: float = 0.2, dtype: Dtype = "float32") -> Data:
    """Returns two half circles of radius 1 that reach into each other.

    Class 0 is the upper half of the circle about (0, 0), class 1 the lower half of that about (1, ½).

    Args:
        key: any JAX key; one key places the points alike whatever the noise.
        n: samples, at least 2; the numbers of the classes differ by one at most.
        noise: standard deviation of the normal noise on each coordinate, >= 0; with 0 the points lie on the
            curves.
        dtype: "float32" or "float64", the dtype of the points.

    Raises:
        TypeError: n is no whole number, noise no number, or key no key.
        ValueError: n, noise or dtype out of its range.

    References:
        `make_moons` of scikit-learn (Pedregosa et al. 2011), whose points are evenly spaced.

    Example:
        >>> import jax, regjax
        >>> data = regjax.datasets.moons(jax.random.key(0))
        >>> data.x.shape, sorted(set(data.y[0].tolist()))
        ((2, 300), [0, 1])
    """

    def curve(y: np.ndarray, place: np.ndarray) -> np.ndarray:
        x1, x2 = np.cos(np.pi * place), np.sin(np.pi * place)
        return np.stack([np.where(y == 0, x1, 1 - x1), np.where(y == 0, x2, 0.5 - x2)], axis=1)

    return _sampled(curve, key, n, noise, dtype)


def circles(key: jax.Array, n: int = 300, noise: float = 0.1, dtype: Dtype = "float32") -> Data:
    """Returns two circles about (0, 0): class 0 of radius 1, class 1 of radius ½.

    Arguments and errors as in `moons`.

    References:
        `make_circles` of scikit-learn (Pedregosa et al. 2011), with factor=0.5.

    Example:
        >>> import jax, regjax
        >>> data = regjax.datasets.circles(jax.random.key(0), n=4, noise=0)
        >>> (data.x**2).sum(axis=0).round(2).tolist()
        [1.0, 0.25, 1.0, 0.25]
    """

    def curve(y: np.ndarray, place: np.ndarray) -> np.ndarray:
        return _polar(np.where(y == 0, 1, 0.5), 2 * np.pi * place)

    return _sampled(curve, key, n, noise, dtype)


def spirals(key: jax.Array, n: int = 300, noise: float = 0.05, dtype: Dtype = "float32") -> Data:
    """Returns two spirals about (0, 0) of one and a half turns; class 1 is class 0 turned by half a turn.

    At radius r, from 0.1 to 1, class 0 lies at the angle 3π·r. Neighbouring arms are ⅓ apart.

    Arguments and errors as in `moons`.

    References:
        Lang and Witbrock 1988, "Learning to tell two spirals apart": three turns, here half as many.

    Example:
        >>> import jax, regjax
        >>> data = regjax.datasets.spirals(jax.random.key(0), n=200)
        >>> int(data.y.sum())
        100
    """

    def curve(y: np.ndarray, place: np.ndarray) -> np.ndarray:
        radius = 0.1 + 0.9 * place
        return _polar(radius, 3 * np.pi * radius + np.pi * y)

    return _sampled(curve, key, n, noise, dtype)


def blobs(
    key: jax.Array, n: int = 300, noise: float = 0.6, dtype: Dtype = "float32", *, num_classes: int = 2
) -> Data:
    """Returns a normal cloud for each class, the centres evenly spread on the circle of radius 1.

    Class k of K has its centre at the angle π/4 + 2π·k/K. Of two classes, the best boundary is a straight
    line through (0, 0): with the default noise it is right in 95.2 % of new points.

    Args:
        key: any JAX key.
        n: samples, at least `num_classes`; the numbers of the classes differ by one at most.
        noise: standard deviation of a cloud in each coordinate, >= 0.
        dtype: "float32" or "float64", the dtype of the points.
        num_classes: number of clouds, at least 2.

    Raises:
        TypeError: as `moons`.
        ValueError: as `moons`.

    References:
        `make_blobs` of scikit-learn (Pedregosa et al. 2011), whose centres are random.

    Example:
        >>> import jax, regjax
        >>> regjax.datasets.blobs(jax.random.key(0), n=4, noise=0, num_classes=4).y.tolist()
        [[0, 1, 2, 3]]
    """
    num_classes = check_count("num_classes", num_classes, at_least=2)

    def curve(y: np.ndarray, place: np.ndarray) -> np.ndarray:
        return _polar(np.ones(len(y)), np.pi / 4 + 2 * np.pi * y / num_classes)

    return _sampled(curve, key, n, noise, dtype, num_classes)


def xor(key: jax.Array, n: int = 300, noise: float = 0.4, dtype: Dtype = "float32") -> Data:
    """Returns a normal cloud at each corner of the square [-1, 1]²; opposite corners are of one class.

    Class 0 where the signs of the two features agree, class 1 where they differ: no straight line parts them.

    Arguments and errors as in `moons`.

    References:
        Minsky and Papert 1969, "Perceptrons".

    Example:
        >>> import jax, regjax
        >>> data = regjax.datasets.xor(jax.random.key(0), n=4, noise=0)
        >>> data.x.T.tolist(), data.y.tolist()
        ([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]], [[0, 1, 0, 1]])
    """

    def curve(y: np.ndarray, place: np.ndarray) -> np.ndarray:
        # By number and not by chance, so that the four corners have the same number of points within one.
        sign = np.where(np.arange(len(y)) // 2 % 2 == 0, 1, -1)
        return np.stack([sign, np.where(y == 0, sign, -sign)], axis=1)

    return _sampled(curve, key, n, noise, dtype)


def flower(key: jax.Array, n: int = 400, noise: float = 0.05, dtype: Dtype = "float32") -> Data:
    """Returns a flower of eight petals: the rose r = sin(4t), class 0 for t in [0, π), class 1 in [π, 2π).

    A point lies at (r·sin t, r·cos t), opposite where r < 0: petals of the two classes take turns, but
    for two pairs of neighbours.

    Arguments and errors as in `moons`.

    References:
        The "planar data" of Ng et al. 2017, "Neural Networks and Deep Learning" (deeplearning.ai), week 3:
        there four times as large, with noise on angle and radius.

    Example:
        >>> import jax, regjax
        >>> data = regjax.datasets.flower(jax.random.key(0))
        >>> bool((abs(data.x) < 1.3).all())
        True
    """

    def curve(y: np.ndarray, place: np.ndarray) -> np.ndarray:
        t = np.pi * (y + place)
        # The angle is measured from the vertical, as in the course.
        return _polar(np.sin(4 * t), np.pi / 2 - t)

    return _sampled(curve, key, n, noise, dtype)


def built_in(name: str) -> tuple[Data, Data]:
    """Returns (train, test) of a built-in data set as `--data` takes it.

    Those of two_regions are `two_regions(jax.random.key(0))`. Of the others the training samples are
    drawn from `jax.random.key(0)`, and as many test samples from `jax.random.key(1)`.

    Args:
        name: one of `names.BUILT_IN`.
    """
    with own_settings("float32"):
        if name == DEFAULT:
            return two_regions(root_key())
        draw: Callable[..., Data] = globals()[name]
        return draw(root_key()), draw(as_key(np.array([0, 1])))


def _sampled(curve: Curve, key: jax.Array, n: int, noise: float, dtype: Dtype, num_classes: int = 2) -> Data:
    """Returns samples at random places of a curve of each class, with normal noise on both coordinates."""
    n = check_count("n", n, at_least=num_classes)
    if not isinstance(noise, numbers.Real) or isinstance(noise, bool):
        raise TypeError(f"noise must be a number, got {shown(noise)}")
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise must be a finite number >= 0, got {shown(noise)}")
    check_choice("dtype", dtype, ("float32", "float64"))
    # In turn, so that the classes have as many samples in every first part of the data too.
    y = np.arange(n) % num_classes
    place, turn, u = (drawn.astype(np.float64) for drawn in _uniforms_of(key, n, n, n))
    # Box and Muller 1958: two independent normal numbers; log1p of -u, since u may be 0 and never is 1.
    shift = _polar(float(noise) * np.sqrt(-2 * np.log1p(-u)), 2 * np.pi * turn)
    with np.errstate(over="ignore"):  # said by `from_arrays`
        X = (curve(y, place) + shift).astype(dtype)
    return Data.from_arrays(X, y)


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns the points at radii and angles, `(n, 2)`."""
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _uniforms_of(key: Any, *counts: int) -> list[np.ndarray]:
    """Returns numbers of JAX, uniform on [0, 1), for each of the keys that a key is split into."""
    if not isinstance(key, jax.Array):
        raise TypeError(f"key must be a key of JAX such as jax.random.key(0), got {shown(key)}")
    if str(jax.random.key_impl(key)) == GENERATOR:  # by NumPy, which compiles nothing
        words = fold_in(np.asarray(jax.random.key_data(key)), np.arange(len(counts)))
        return [uniforms(bits(own[None], count), 0.0)[0] for own, count in zip(words, counts, strict=True)]
    # The same points whatever the user's setting of this flag, which changes the random bits.
    with jax.threefry_partitionable(True):
        parts = jax.random.split(key, len(counts))
        drawn = (
            jax.random.uniform(own, (count,), jnp.float32) for own, count in zip(parts, counts, strict=True)
        )
        return [np.asarray(numbers) for numbers in drawn]
