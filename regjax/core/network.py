"""The network of a config: the plain one of `mlp.py`, or the one with blocks of `blocks.py`.

`train` calls `init_network`, `evaluate` and whatever predicts calls `infer_logits`.
"""

from __future__ import annotations

import jax

from . import blocks
from .config import Config, Loss
from .data import Data
from .mlp import Params, forward, init_params


def init_network(key: jax.Array, config: Config, data: Data | None = None) -> Params:
    """Returns fresh parameters: `Layer`s of a plain network, `Block`s of another.

    Args:
        key: key of the replicate.
        config: layer sizes, init, dtype, and the blocks that are on.
        data: x and weights of the training samples, which piecewise embeddings need; None elsewhere.

    Raises:
        ValueError: config.embedding is "piecewise", and there is no data.

    Example:
        >>> import regjax
        >>> from regjax.core.network import init_network
        >>> config = regjax.Config(layer_sizes=(2, 4, 1), norm="batch")
        >>> init_network(regjax.replicate_key(0), config)[0].norm.mean.shape
        (4, 1)
    """
    if config.is_plain:
        return init_params(key, config.layer_sizes, init=config.init, dtype=config.dtype)
    return blocks.init_blocks(key, config, data)


def infer_logits(params: Params, x: jax.Array, config: Config, loss: Loss) -> jax.Array:
    """Returns the logits in inference mode, `(n_outputs, n)`.

    Args:
        params: as `init_network` returns them, or trained.
        x: inputs, `(n_features, n)`.
        config: config of the network.
        loss: loss of the training, by which members are averaged.

    Raises:
        ValueError: parameters of a network with other blocks than the config's.

    Example:
        >>> import jax.numpy as jnp, regjax
        >>> from regjax.core.network import infer_logits, init_network
        >>> config = regjax.Config(layer_sizes=(2, 4, 1), members=3)
        >>> params = init_network(regjax.replicate_key(0), config)
        >>> infer_logits(params, jnp.ones((2, 5)), config, "sigmoid_cross_entropy").shape
        (1, 5)
    """
    blocks.check_params(params, config)
    if config.is_plain:
        return forward(params, x, activation=config.activation, precision=config.precision)[0]
    return blocks.logits(params, x, loss, config=config)
