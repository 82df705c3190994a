"""The gradient that the optimizer takes: with adversarial examples, sharpness-aware, clipped.

`train` calls `gradient` at every step.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from .config import Config
from .data import Data
from .dropout import Masks
from .hparams import HParams
from .mlp import Params
from .objective import BatchSizes, add_penalty_gradient, data_cost_and_grads


def gradient(
    params: Params,
    hparams: HParams,
    data: Data,
    masks: Masks,
    partners: Data | None,
    *,
    config: Config,
    sizes: BatchSizes,
) -> tuple[jax.Array, Params]:
    """Returns the data term at `params`, a scalar, and the gradient that the optimizer takes.

    Arguments as in `objective.cost`.
    """

    def of_data(params: Params) -> tuple[jax.Array, Params]:
        """Returns the data term and its gradient, which contains the adversarial half."""

        def at(x: jax.Array) -> tuple[jax.Array, Params, jax.Array]:
            others = None if partners is None else partners._replace(x=x)
            samples = data._replace(x=x)
            return data_cost_and_grads(params, hparams, samples, masks, others, config=config, sizes=sizes)

        value, grads, dx = at(data.x)
        if hparams.adversarial is None:
            return value, grads
        _, others, _ = at(adversarial_example(data.x, dx, hparams.adversarial))
        return value, jax.tree.map(lambda g, other: 0.5 * g + 0.5 * other, grads, others)  # ½·J(x) + ½·J(x')

    value, grads = of_data(params)
    if hparams.sam is not None:
        _, grads = of_data(sharpest(params, grads, hparams.sam))
    grads = add_penalty_gradient(grads, params, hparams, sizes)
    return value, grads if hparams.clip_norm is None else clip_norm(grads, hparams.clip_norm)


def adversarial_example(x: jax.Array, dx: jax.Array, eps: jax.Array) -> jax.Array:
    """Returns x + ε·sign(∇ₓJ), `(n_features, n)`, which is held constant; sign(0) = 0.

    The objective becomes ½·J(x) + ½·J(x + ε·sign ∇ₓJ(x)), with the same masks in both.

    Args:
        x: inputs as the network sees them.
        dx: ∇ₓJ, as `backward` returns it.
        eps: ε, in units of x.

    References:
        Goodfellow, Shlens, Szegedy 2015, §6.
    """
    return x + eps * jnp.sign(dx)


def sharpest(params: Params, grads: Params, radius: jax.Array) -> Params:
    """Returns params + ρ·g/‖g‖, to first order the worst parameters within the radius; ‖g‖ over all leaves.

    The gradient of the data term is taken there; penalties are taken at `params` themselves, as in the
    paper, where weight decay stands outside of the maximum.

    Args:
        params: the parameters before the step.
        grads: g, the gradient of the data term there.
        radius: ρ >= 0.

    References:
        Foret, Kleiner, Mobahi, Neyshabur 2021, eq. 2 and algorithm 1.
    """
    norm = optax.tree.norm(grads)
    scale = jnp.where(norm > 0, radius / jnp.where(norm > 0, norm, 1), 0)
    return jax.tree.map(lambda p, g: p + scale * g, params, grads)


def clip_norm(grads: Params, largest: jax.Array) -> Params:
    """Returns g·min(1, c/‖g‖), ‖g‖ over all leaves: optax's clip_by_global_norm.

    References:
        Pascanu, Mikolov, Bengio 2013, algorithm 1.
    """
    clip = optax.clip_by_global_norm(largest)  # type: ignore[arg-type]
    return clip.update(grads, clip.init(grads))[0]  # type: ignore[return-value]
