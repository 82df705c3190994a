"""Members of one network: networks that share their weights, and differ by factors of rank one.

    z_m = s_m ⊙ (w·(r_m ⊙ h)) + b_m

The weights of member m are w ⊙ (s_m·r_mᵀ). All members see every sample: `(units, members·n)`, member after
member, so that a product with w serves them all. Each is trained by its own loss; their mean predicts.
`blocks` calls these functions, `objective` calls `for_members`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .config import Loss, Precision
from .data import Data
from .mlp import product
from .platforms import apart


class Factors(NamedTuple):
    """The factors of the members: r `(fan_in, members)` on inputs, s `(fan_out, members)` on sums."""

    r: jax.Array
    s: jax.Array


def affine(
    w: jax.Array, b: jax.Array | None, factors: Factors | None, h: jax.Array, precision: Precision
) -> tuple[jax.Array, jax.Array]:
    """Returns z, `(fan_out, members·n)`, and the product without s and b, which `affine_backward` needs.

    Args:
        w: weights, `(fan_out, fan_in)`.
        b: biases, `(fan_out, members)`, or None without.
        factors: None with one member.
        h: inputs, `(fan_in, members·n)`.
        precision: of the product.

    References:
        Wen, Tran & Ba 2020, eq. 5.
    """
    if factors is None:
        u = product(w, h, precision)
        return (u if b is None else u + b), u
    n = h.shape[1] // factors.r.shape[1]
    u = product(w, h * _spread(factors.r, n), precision)
    z = u * _spread(factors.s, n)
    return (z if b is None else z + _spread(b, n)), u


def affine_backward(
    w: jax.Array, factors: Factors | None, h: jax.Array, u: jax.Array, dz: jax.Array, precision: Precision
) -> tuple[jax.Array, jax.Array, Factors | None, jax.Array]:  # fmt: skip
    """Returns the gradients in w, b, the factors and h.

    Args:
        w: weights.
        factors: None with one member.
        h: inputs.
        u: second result of `affine`.
        dz: gradient of a scalar in z.
        precision: of the products.
    """
    if factors is None:
        sums = jnp.sum(dz, axis=1, keepdims=True)  # z = w·h + b
        return apart(product(dz, h.T, precision)), sums, None, product(w.T, dz, precision)
    members = factors.r.shape[1]
    n = h.shape[1] // members
    r = _spread(factors.r, n)
    db, ds = _summed(dz, members), _summed(dz * u, members)  # z = s ⊙ u + b
    du = dz * _spread(factors.s, n)
    dw = apart(product(du, (h * r).T, precision))  # u = w·(r ⊙ h)
    d_inner = product(w.T, du, precision)
    return dw, db, Factors(_summed(d_inner * h, members), ds), d_inner * r


def _spread(of_members: jax.Array, n: int) -> jax.Array:
    """Returns a column per member for each of its n samples, `(units, members·n)`."""
    return jnp.repeat(of_members, n, axis=1)


def _summed(values: jax.Array, members: int) -> jax.Array:
    """Returns the sums over the samples of each member, `(units, members)`."""
    return jnp.sum(values.reshape(values.shape[0], members, -1), axis=2)


def for_members(data: Data, members: int) -> Data:
    """Returns the targets and weights of every member's samples; x stays, for `blocks.forward` repeats it.

    Weights are divided by the number of members, so their sum stays too.

    Args:
        data: y `(outputs, n)`, weights `(n,)`.
        members: number of members; with 1 `data` itself is returned.

    Example:
        >>> import jax.numpy as jnp
        >>> from regjax.core.data import Data
        >>> from regjax.core.members import for_members
        >>> found = for_members(Data(jnp.ones((1, 2)), jnp.array([[0, 1]]), jnp.ones(2)), 2)
        >>> found.y.tolist(), found.weights.tolist()
        ([[0, 1, 0, 1]], [0.5, 0.5, 0.5, 0.5])
    """
    if members == 1:
        return data
    return data._replace(y=jnp.tile(data.y, (1, members)), weights=jnp.tile(data.weights / members, members))


def mean_logits(logits: jax.Array, members: int, loss: Loss) -> jax.Array:
    """Returns the logits of the members' mean prediction, `(outputs, n)`.

    That is the mean of probabilities, of rates (poisson), or of real values.

    Args:
        logits: of every member, `(outputs, members·n)`.
        members: number of members; with 1 `logits` themselves are returned.
        loss: loss of the training.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from regjax.core.members import mean_logits
        >>> found = mean_logits(jnp.array([[0.0, 2.0]]), 2, "sigmoid_cross_entropy")
        >>> bool(jnp.allclose(jax.nn.sigmoid(found), (0.5 + jax.nn.sigmoid(2.0)) / 2))
        True
    """
    if members == 1:
        return logits
    each = logits.reshape(logits.shape[0], members, -1)
    if loss == "squared_error":
        return jnp.mean(each, axis=1)
    if loss == "poisson":
        return _log_mean(each)
    if loss == "softmax_cross_entropy":
        return _log_mean(jax.nn.log_softmax(each, axis=0))
    # The logit of a mean probability, by logarithms: it holds where a probability rounds to 0 or 1.
    return _log_mean(jax.nn.log_sigmoid(each)) - _log_mean(jax.nn.log_sigmoid(-each))


def _log_mean(logarithms: jax.Array) -> jax.Array:
    """Returns log(mean(exp(·))) over the members, axis 1."""
    # Held constant in derivatives, as in `losses.softmax_cross_entropy`: the result does not depend on it.
    largest = lax.stop_gradient(jnp.max(logarithms, axis=1, keepdims=True))
    return jnp.log(jnp.mean(jnp.exp(logarithms - largest), axis=1)) + largest[:, 0]
