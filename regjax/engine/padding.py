"""Brings parameters and training states from one width of the hidden layers to another.

`engine/lanes.py` trains narrow networks by the program of wider ones, padded with zeros, so that one program
serves several widths; `study/padding.py` says which networks, and where it pays.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from regjax.core.mlp import Layer


def resized(tree: Any, layer_sizes: Sequence[int]) -> Any:
    """Returns a pytree whose parameters have other layer sizes: padded with zeros, or cut.

    Args:
        tree: parameters, or a training state, with any leading axes; or None. What has the structure of
            parameters, such as an optimizer's moments, is resized like them; all else stays as it is.
        layer_sizes: units per layer.

    Example:
        >>> import numpy as np
        >>> from regjax.core.mlp import Layer
        >>> params = (Layer(np.ones((2, 1)), np.ones((2, 1))), Layer(np.ones((1, 2)), np.ones((1, 1))))
        >>> resized(params, (1, 3, 1))[1].w
        array([[1., 1., 0.]])
    """
    shapes = [(fan_out, fan_in) for fan_in, fan_out in itertools.pairwise(layer_sizes)]

    def fitted(node: Any) -> Any:
        if not _is_params(node):
            return node
        return tuple(
            Layer(_fitted(layer.w, shape), _fitted(layer.b, (shape[0], 1)))
            for layer, shape in zip(node, shapes, strict=True)
        )

    return jax.tree.map(fitted, tree, is_leaf=_is_params)


def _is_params(node: Any) -> bool:
    return isinstance(node, tuple) and bool(node) and all(isinstance(layer, Layer) for layer in node)


def _fitted(leaf: Any, shape: tuple[int, int]) -> Any:
    """Returns an array `(…, rows, columns)` cut or padded to `(…, *shape)`."""
    own = np.asarray(leaf)[..., : shape[0], : shape[1]]
    rows, columns = (wanted - found for wanted, found in zip(shape, own.shape[-2:], strict=True))
    return np.pad(own, [(0, 0)] * (own.ndim - 2) + [(0, rows), (0, columns)])
