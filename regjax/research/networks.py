"""Stacked networks, and the checks of what is measured: `landscape`, `curvature` and others take these.

A network is its `params`, a tuple of `Layer`. Every function of those modules takes one network and is pure,
so that `jax.vmap` over stacked networks measures all rows of a sweep in one program. Values are checked where
they are known: `stack` checks all networks once, before they are traced.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from regjax.core.blocks import Block
from regjax.core.checks import is_traced
from regjax.core.config import Config
from regjax.core.data import Data, check_data, hide_held_out
from regjax.core.hparams import HParams, check_hparams
from regjax.core.minibatches import weigh_classes
from regjax.core.mlp import Layer, Params
from regjax.core.mlp import check_plain as core_check_plain
from regjax.core.settings import own_settings

Tree = TypeVar("Tree")


class Measured(NamedTuple):
    """What a network is measured on: checked, with the weights of the classes in those of the samples.

    Attributes:
        params: one `Layer` per matrix of weights, in the dtype of the config.
        hparams: checked hyperparameters.
        data: the samples as training sees them without noise: x `(n_features, n)`, y, weights `(n,)`.
        plain: the same samples without the weights of the classes.
    """

    params: Params
    hparams: HParams
    data: Data
    plain: Data


def stack(networks: Sequence[Tree], name: str = "networks") -> Tree:
    """Returns networks of the same shapes as one, each array with a leading axis: what `jax.vmap` maps over.

    Hyperparameters are stacked alike: None stays None.

    Args:
        networks: parameters of each network, or the `HParams` of each; finite numbers of any shape.
        name: what they are called in a message.

    Raises:
        ValueError: none, arrays of different shapes, or a number that is not finite.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.networks import stack
        >>> networks = [regjax.init_params(regjax.replicate_key(seed), (2, 4, 1)) for seed in range(3)]
        >>> stack(networks)[0].w.shape
        (3, 4, 2)
    """
    if len(networks) == 0:
        raise ValueError(f"{name} must be at least one, got none")
    shapes = [_shapes(network) for network in networks]
    for index, (network, found) in enumerate(zip(networks, shapes, strict=True)):
        if found != shapes[0]:
            raise ValueError(
                f"{name} must have the same shapes, got {found[1]} for {index} and {shapes[0][1]} for 0"
            )
        if isinstance(network, tuple) and not isinstance(network, HParams):  # a bound may be ∞
            check_finite(f"{name}[{index}]", network)
    return jax.tree.map(lambda *arrays: jnp.stack([jnp.asarray(array) for array in arrays]), *networks)


def check_network(name: str, params: Any, config: Config) -> Params:
    """Returns the parameters of one network as arrays of the dtype of `config`; traced values pass unchecked.

    Args:
        name: the argument, for the message.
        params: one `Layer` per matrix of weights, `(fan_out, fan_in)`, with biases `(fan_out, 1)`.
        config: layer sizes and dtype.

    Raises:
        ValueError: shapes that are not those of the config, or a number that is not finite.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.networks import check_network
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> len(check_network("params", regjax.init_params(jax.random.key(0), (2, 4, 1)), config))
        2
    """
    check_plain(name, params, config)
    sizes = config.layer_sizes
    wanted = [((after, before), (after, 1)) for before, after in itertools.pairwise(sizes)]
    found = [tuple(np.shape(array) for array in layer) for layer in params]
    if found != wanted:
        raise ValueError(f"{name} must have shapes {wanted} (layer_sizes {sizes}), got {found}")
    check_finite(name, params)
    return tuple(Layer(*(_as_array(array, config.dtype) for array in layer)) for layer in params)


def check_plain(name: str, params: Any, config: Config | None = None) -> None:
    """Raises ValueError where a network has blocks, whose parameters a measure of weights does not know.

    Args:
        name: the argument, for the message.
        params: one `Layer` per matrix of weights.
        config: its config, or None.

    Raises:
        ValueError: parameters, or a config, of a network with blocks.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.networks import check_plain
        >>> check_plain("params", regjax.init_params(jax.random.key(0), (2, 4, 1)))
    """
    core_check_plain(name, params, "this measure knows the weights and biases of plain networks alone")
    if config is not None and not config.is_plain:
        raise ValueError(f"config must be of a plain network for this measure, got {config.blocks}")


def check_finite(name: str, params: Any) -> None:
    """Raises ValueError where a parameter is NaN or infinite; traced values pass unchecked.

    Args:
        name: the argument, for the message.
        params: one `Layer` or `Block` per matrix of weights, of any shape.

    Raises:
        ValueError: a parameter is not finite: the network has diverged.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.networks import check_finite
        >>> check_finite("params", regjax.init_params(jax.random.key(0), (2, 4, 1)))
    """
    for index, layer in enumerate(params):
        named = layer._asdict() if isinstance(layer, Block) else dict(zip(("w", "b"), layer, strict=True))
        for field, part in named.items():
            for array in jax.tree.leaves(part):
                if not is_traced(array) and not np.isfinite(array).all():
                    raise ValueError(f"{name} must be finite, got NaN or infinity in layer {index}, {field}")


def measured(params: Any, hparams: HParams, data: Data, config: Config, name: str = "params") -> Measured:
    """Returns the checked network and the samples that its objective sums over, without noise and masks.

    Args:
        params: one `Layer` per matrix of weights, with shapes of the config.
        hparams: hyperparameters; those of noise and masks are not read.
        data: training samples, x `(n_features, n)`, y, weights `(n,)`.
        config: layer sizes, loss, activation, class weights, dtype.
        name: the network's name in messages.

    Raises:
        TypeError: hparams or data of the wrong kind.
        ValueError: an argument that does not fit the config; names it.

    Example:
        >>> import jax, regjax
        >>> from regjax.research.networks import measured
        >>> config = regjax.Config(layer_sizes=(2, 4, 1))
        >>> data, _ = regjax.two_regions(jax.random.key(0))
        >>> params = regjax.init_params(jax.random.key(0), config.layer_sizes)
        >>> measured(params, regjax.HParams(), data, config).data.x.shape
        (2, 211)
    """
    params, hparams = check_network(name, params, config), check_hparams(config, hparams)
    plain = hide_held_out(jax.tree.map(jnp.asarray, check_data(config, data)))
    return Measured(params, hparams, weigh_classes(plain, config), plain)


def measuring(config: Config) -> contextlib.AbstractContextManager[None]:
    """Returns the context in which networks of a config are measured: `core.settings.own_settings`.

    Args:
        config: its dtype; with float64, x64 is on.

    Raises:
        TypeError: not a `Config`.

    Example:
        >>> import jax.numpy as jnp, regjax
        >>> from regjax.research.networks import measuring
        >>> with measuring(regjax.Config(dtype="float64")):
        ...     jnp.ones(1).dtype.name
        'float64'
    """
    _check_config(config)
    return own_settings(config.dtype)


def num_params(config: Config) -> int:
    """Returns the number of weights and biases of a network.

    Args:
        config: layer sizes.

    Raises:
        TypeError: not a `Config`.

    Example:
        >>> import regjax
        >>> from regjax.research.networks import num_params
        >>> num_params(regjax.Config(layer_sizes=(2, 4, 1)))
        17
    """
    _check_config(config)
    sizes = config.layer_sizes
    return sum((before + 1) * after for before, after in itertools.pairwise(sizes))


def _check_config(config: Any) -> None:
    if not isinstance(config, Config):
        raise TypeError(f"config must be a regjax.Config, got {type(config).__name__}")


def _shapes(tree: Any) -> tuple[Any, list[tuple[int, ...]]]:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [np.shape(leaf) for leaf in leaves]


def _as_array(array: Any, dtype: str) -> Any:
    return array.astype(dtype) if is_traced(array) else np.asarray(array, dtype)
