"""The network with the blocks of today's networks for tables: a second forward and backward beside `mlp`'s.

    a_{-1} = embed(x)
    h_l = a_{l-1} ⊙ mask_l,  z_l = s ⊙ (w_l·(r ⊙ h_l)) + b_l,  y_l = normalise(z_l)
    a_l = f(y_l), plus a_{l-1} where the layer is residual;  logits = z_last

Each block is off by its field of `Config`, and then is no part of the program. A network without any of them
never comes here: `mlp.py` trains it. `objective` calls `forward`, `backward` and `with_statistics`;
`network.py` calls `init_blocks` and `logits`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from . import normalisation
from .activations import ACTIVATIONS
from .config import Config, Loss
from .data import Data
from .dropout import UnitMasks
from .embeddings import Bins, Embedding, EmbeddingResiduals, Periodic, embed, embed_backward, quantile_edges
from .members import Factors, affine, affine_backward, mean_logits
from .mlp import Params, init_params
from .normalisation import Norm, NormResiduals, init_norm
from .platforms import activate
from .random import EMBEDDING, MEMBERS, as_key, is_drawn_on_cpu, normals, on_cpu, place_key
from .settings import own_settings


class Block(NamedTuple):
    """One layer: `w` and `b` as in `mlp.Layer`, and what is on beside them.

    Attributes:
        w: `(fan_out, fan_in)`.
        b: `(fan_out, members)`; left at 0 where batch normalisation has its shift instead.
        norm: of a hidden layer; None where normalisation is off.
        factors: of the members; None with one.
        embedding: of the first layer; None where it is off.
    """

    w: jax.Array
    b: jax.Array
    norm: Norm | None = None
    factors: Factors | None = None
    embedding: Embedding | None = None


class BlockResiduals(NamedTuple):
    """The values of one layer that `backward` needs.

    Attributes:
        h: its masked input.
        u: its product without s and b.
        y: what the activation takes.
        f: what the activation returns.
        a: what the layer returns.
        norm: residuals of the normalisation, or None.
    """

    h: jax.Array
    u: jax.Array
    y: jax.Array
    f: jax.Array
    a: jax.Array
    norm: NormResiduals | None


class Residuals(NamedTuple):
    """The values that `forward` keeps for `backward`; `layers[i].a` is layer i's output, as in `mlp`."""

    params: tuple[Block, ...]
    layers: tuple[BlockResiduals, ...]
    masks: UnitMasks
    embedded: EmbeddingResiduals | None


def init_blocks(key: jax.Array, config: Config, data: Data | None = None) -> Params:
    """Returns fresh parameters: weights and biases as `mlp.init_params` draws them, and those of the blocks.

    Scales are 1 and shifts 0; frequencies are normal with standard deviation config.embedding_scale. Members
    differ by signs on their inputs, drawn for the first layer; all other factors are 1.

    Args:
        key: key of the replicate.
        config: the structure.
        data: x and weights of the training samples, whose quantiles are the edges of bins.

    Raises:
        ValueError: config.embedding is "piecewise", and there is no data.

    References:
        Gorishniy, Kotelnikov & Babenko 2024, §3.3, for the factors.

    Example:
        >>> import regjax
        >>> from regjax.core.blocks import init_blocks
        >>> config = regjax.Config(layer_sizes=(2, 4, 1), norm="layer", members=3)
        >>> [block.b.shape for block in init_blocks(regjax.replicate_key(0), config)]
        [(4, 3), (1, 3)]
    """

    def draw(key: jax.Array) -> Params:
        with own_settings(config.dtype):
            return _draw(key, config)

    found: Any = draw(key)
    if is_drawn_on_cpu(key):
        with own_settings(config.dtype):
            found = on_cpu(draw, key)
    if config.embedding == "piecewise":
        if data is None:
            raise ValueError("data must be given for piecewise embeddings, whose bins are its quantiles")
        edges = quantile_edges(data.x, data.weights, config.embedding_size)
        found = (found[0]._replace(embedding=Bins(edges.astype(config.dtype))), *found[1:])
    return found


def _draw(key: jax.Array, config: Config) -> Params:
    """Returns the parameters; edges of bins are still 0."""
    layers = init_params(key, config.widths, init=config.init, dtype=config.dtype)
    count, members, found = config.layer_sizes[0], config.members, []
    for index, (w, b) in enumerate(layers):
        norm = factors = None
        if config.norm != "none" and index < config.num_hidden:
            norm = init_norm(len(w), config.dtype, running=config.norm == "batch")
        if members > 1:
            b = jnp.repeat(b, members, axis=1)
            ones = [jnp.ones((fan, members), config.dtype) for fan in (w.shape[1], len(w))]
            factors = Factors(*ones)
        found.append(Block(w, b, norm, factors))
    if members > 1:
        # One sign for all inputs of a feature, so that a member sees an embedding as it is, or mirrored.
        (drawn,) = normals(place_key(key, 0, MEMBERS), [(count, members)])
        signs = jnp.where(drawn < 0, -1.0, 1.0).astype(config.dtype)
        signs = jnp.repeat(signs, config.widths[0] // count, axis=0)
        found[0] = found[0]._replace(factors=found[0].factors._replace(r=signs))
    if config.embedding == "periodic":
        (drawn,) = normals(place_key(key, 0, EMBEDDING), [(count, config.embedding_size)])
        found[0] = found[0]._replace(
            embedding=Periodic((drawn * config.embedding_scale).astype(config.dtype))
        )
    if config.embedding == "piecewise":
        found[0] = found[0]._replace(
            embedding=Bins(jnp.zeros((count, config.embedding_size + 1), config.dtype))
        )
    return cast(Params, tuple(found))


def empty_params(config: Config) -> Params:
    """Returns the structure of the parameters, with shapes and dtypes in place of arrays.

    Example:
        >>> import regjax
        >>> from regjax.core.blocks import empty_params
        >>> empty_params(regjax.Config(layer_sizes=(2, 4, 1), norm="layer"))[0].norm.scale.shape
        (4, 1)
    """
    with own_settings(config.dtype):
        return jax.eval_shape(lambda: _draw(as_key(jnp.zeros(2, jnp.uint32)), config))


def check_params(params: Any, config: Config) -> None:
    """Raises ValueError where parameters do not have the blocks of a config; a plain one has none.

    Args:
        params: one `Layer` or `Block` per matrix of weights; their shapes are not read.
        config: norm, embedding and members; a residual layer has no parameters of its own.

    Raises:
        ValueError: parameters of other blocks, which it names.

    Example:
        >>> import regjax
        >>> from regjax.core.blocks import check_params
        >>> params = regjax.init_params(regjax.replicate_key(0), (2, 4, 1))
        >>> check_params(params, regjax.Config(layer_sizes=(2, 4, 1)))
    """
    is_plain = not isinstance(params[0], Block)
    wanted = dataclasses.replace(config, residual=False).blocks
    found = "" if is_plain else _blocks_of(params)
    if is_plain != config.is_plain or found != wanted:
        got = "a plain one" if is_plain else f"one with {found or 'residual layers'}"
        kind = f"network with {config.blocks}" if config.blocks else "plain network"
        raise ValueError(
            f"params must be of a {kind}, as config says, got those of {got}; "
            "regjax.core.network.init_network draws them"
        )


def _blocks_of(params: tuple[Block, ...]) -> str:
    """Returns the blocks of parameters in the words of `Config.blocks`."""
    first, on = params[0], []
    if first.norm is not None:
        on.append(f"norm {'layer' if first.norm.mean is None else 'batch'}")
    if first.embedding is not None:
        on.append(f"embedding {'piecewise' if isinstance(first.embedding, Bins) else 'periodic'}")
    if first.factors is not None:
        on.append(f"members {first.factors.r.shape[-1]}")
    return ", ".join(on)


def num_trained(config: Config) -> int:
    """Returns the number of parameters that are trained: without running statistics and edges of bins."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tuple(map(_trained, empty_params(config)))))


def _trained(block: Any) -> Any:
    if block.norm is not None:
        block = block._replace(norm=block.norm._replace(mean=None, variance=None))
    return block._replace(embedding=None) if isinstance(block.embedding, Bins) else block


def residual_layers(config: Config) -> tuple[bool, ...]:
    """Returns for each layer whether its input is added to its output.

    It is where config.residual is on, between two hidden layers of equal width. The first layer, whose input
    are features, and the last, whose output are logits, have none.

    Example:
        >>> import regjax
        >>> from regjax.core.blocks import residual_layers
        >>> residual_layers(regjax.Config(layer_sizes=(4, 4, 4, 4), residual=True))
        (False, True, False)
    """
    pairs = enumerate(itertools.pairwise(config.layer_sizes))
    return tuple(config.residual and 0 < i < config.num_hidden and a == b for i, (a, b) in pairs)


def forward(
    params: Params,
    x: jax.Array,
    masks: UnitMasks | None = None,
    weights: jax.Array | None = None,
    *,
    config: Config,
) -> tuple[jax.Array, Residuals]:
    """Returns the logits, `(n_outputs, members·n)`, and what `backward` needs.

    Args:
        params: one `Block` per matrix of weights.
        x: inputs, `(n_features, n)`.
        masks: factors on the input of each layer, `(units, members·n)` or None each; those of the first
            layer are on features, `(n_features, members·n)`.
        weights: weights of the samples, `(members·n,)`, by which batch normalisation takes its statistics;
            None is inference, with running ones.
        config: structure, activation, precision.

    References:
        He, Zhang, Ren & Sun 2016, "Identity mappings in deep residual networks", for the order in a layer.

    Example:
        >>> import jax.numpy as jnp, regjax
        >>> from regjax.core import blocks
        >>> config = regjax.Config(layer_sizes=(2, 4, 4, 1), norm="layer", residual=True)
        >>> params = blocks.init_blocks(regjax.replicate_key(0), config)
        >>> blocks.forward(params, jnp.ones((2, 3)), config=config)[0].shape
        (1, 3)
    """
    blocks = cast(tuple[Block, ...], params)
    masks = (None,) * len(blocks) if masks is None else masks
    layers: list[BlockResiduals] = []
    a, embedded = (x, None) if blocks[0].embedding is None else embed(blocks[0].embedding, x)
    if config.members > 1:
        a = jnp.tile(a, (1, config.members))
    each = zip(blocks, _unit_masks(masks, config), residual_layers(config), strict=True)
    for index, (block, mask, is_residual) in enumerate(each):
        h = a if mask is None else a * mask
        z, u = affine(block.w, _bias(block), block.factors, h, config.precision)
        y, normed = _normalised(z, block.norm, weights)
        out = y if index == len(blocks) - 1 else activate(config.activation, y)
        # The input as it came, without its mask: what a layer adds is dropped, what it adds to is not.
        a = out + a if is_residual else out
        layers.append(BlockResiduals(h, u, y, out, a, normed))
    return a, Residuals(blocks, tuple(layers), masks, embedded)


def _bias(block: Block) -> jax.Array | None:
    """Returns the biases; None before batch normalisation, which takes any of them away: its shift is one."""
    return None if block.norm is not None and block.norm.mean is not None else block.b


def _normalised(
    z: jax.Array, norm: Norm | None, weights: jax.Array | None
) -> tuple[jax.Array, NormResiduals | None]:
    if norm is None:
        return z, None
    if norm.mean is None:
        return normalisation.layer_norm(z, norm)
    if weights is None:
        return normalisation.running_norm(z, norm), None
    return normalisation.batch_norm(z, norm, weights)


def _unit_masks(masks: UnitMasks, config: Config) -> UnitMasks:
    """Returns the masks with that on features repeated for all inputs of a feature."""
    of_feature = config.widths[0] // config.layer_sizes[0]
    if masks[0] is None or of_feature == 1:
        return masks
    return (jnp.repeat(masks[0], of_feature, axis=0), *masks[1:])


def backward(
    residuals: Residuals, d_logits: jax.Array, d_hidden: Sequence[jax.Array] | None = None, *, config: Config
) -> tuple[Params, jax.Array]:
    """Returns the gradients in `params`, and in `x`, `(n_features, n)`.

    Args:
        residuals: residuals that `forward` returns, not those of inference with batch normalisation.
        d_logits: gradient of a scalar in the logits.
        d_hidden: extra gradient added at each hidden layer's output, `(units, members·n)` each.
        config: as in `forward`.
    """
    derivative = ACTIVATIONS[config.activation].derivative
    masks, skips = _unit_masks(residuals.masks, config), residual_layers(config)
    grads: list[Block] = []
    da = d_logits
    for index in reversed(range(len(residuals.params))):
        block, (h, u, y, out, _, normed) = residuals.params[index], residuals.layers[index]
        dy = da if index == len(residuals.params) - 1 else da * derivative(y, out)  # out = f(y)
        dz, d_norm = dy, None
        if block.norm is not None and normed is not None:  # y = normalise(z)
            of_batch = block.norm.mean is not None
            back = normalisation.batch_norm_backward if of_batch else normalisation.layer_norm_backward
            dz, d_norm = back(normed, block.norm, dy)
        dw, db, d_factors, dh = affine_backward(
            block.w, block.factors, h, u, dz, config.precision
        )  # z = s ⊙ (w·(r ⊙ h)) + b
        mask = masks[index]
        before = dh if mask is None else dh * mask  # h = a ⊙ mask
        if skips[index]:
            before = before + da  # a' = f(y) + a
        if d_hidden is not None and index > 0:
            before = before + d_hidden[index - 1]
        da = before
        db = jnp.zeros_like(db) if _bias(block) is None else db
        grads.append(Block(dw, db, d_norm, d_factors))
    if config.members > 1:  # every member sees each sample
        da = jnp.sum(da.reshape(len(da), config.members, -1), axis=1)
    first = residuals.params[0].embedding
    if first is not None and residuals.embedded is not None:
        d_first, da = embed_backward(first, residuals.embedded, da)
        grads[-1] = grads[-1]._replace(embedding=d_first)
    return cast(Params, tuple(reversed(grads))), da


def with_statistics(params: Params, residuals: Residuals) -> Params:
    """Returns the parameters with running statistics moved towards those of a batch.

    Args:
        params: one `Block` per matrix of weights.
        residuals: residuals that `forward` returned for the batch.
    """
    found = []
    for block, layer in zip(cast(tuple[Block, ...], params), residuals.layers, strict=True):
        if block.norm is not None and layer.norm is not None:
            block = block._replace(norm=normalisation.moved(block.norm, layer.norm))
        found.append(block)
    return cast(Params, tuple(found))


def logits(params: Params, x: jax.Array, loss: Loss, *, config: Config) -> jax.Array:
    """Returns the logits in inference mode, `(n_outputs, n)`: those of the members' mean prediction.

    Args:
        params: one `Block` per matrix of weights.
        x: inputs, `(n_features, n)`.
        loss: loss of the training, which says of what the mean is.
        config: structure, activation, precision.
    """
    return mean_logits(forward(params, x, config=config)[0], config.members, loss)
