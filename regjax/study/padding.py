"""Which networks are trained by the program of wider ones, padded with zeros; `groups.make_groups` asks.

A unit whose weights are all 0, in and out, stays so: where f(0) = 0 its activation is 0, and so is the
gradient of its outgoing weights; and the gradient that reaches it is 0, since its outgoing weights are.
Penalties, optimizers and norms see zeros. So the networks of a grid over `hidden` can share a program, which
XLA then compiles once for all of them. The price is arithmetic with zeros.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from regjax.core.config import Config
from regjax.study.records import num_params

# Activations with f(0) = 0.
THROUGH_ZERO = ("relu", "tanh", "gelu", "silu", "selu", "identity")
# Regularisers that draw for each hidden unit, or for each weight: another width draws other numbers.
DRAWN_BY_WIDTH = ("keep_prob", "keep_prob_end", "gaussian_dropout", "dropconnect_keep_prob")
# Seconds of a core that XLA takes for the programs of a group, and operations per second that zeros cost
# (docs/design.md).
COMPILING, RATE = 3.0, 3e10


class Sized(NamedTuple):
    """Networks that differ from others in the widths of their hidden layers alone.

    Attributes:
        config: their `Config`.
        networks: their number.
        columns: samples of a step.
    """

    config: Config
    networks: int
    columns: int

    def seconds(self, layer_sizes: tuple[int, ...]) -> float:
        """Returns about how many seconds of a core they train, with these layer sizes."""
        each = num_params(dataclasses.replace(self.config, layer_sizes=layer_sizes))
        return self.networks * self.config.num_steps * 6 * each * self.columns / RATE


def may_be_padded(config: Config, on: Sequence[str]) -> bool:
    """Returns whether zeros may be added to networks of a config, with these regularisers compiled in."""
    hidden_draws = any(name in DRAWN_BY_WIDTH for name in on)
    return config.is_plain and config.activation in THROUGH_ZERO and not hidden_draws


def shared_sizes(networks: Sequence[Sized]) -> list[tuple[int, ...]]:
    """Returns the layer sizes of the program of each, where sharing programs saves more than zeros cost.

    Args:
        networks: networks that may be padded, and may share a program where they have as many layers.

    Example:
        >>> from regjax.core.config import Config
        >>> sizes = [(2, 8, 1), (2, 16, 1), (2, 8, 4, 1), (2, 4000, 1)]
        >>> shared_sizes([Sized(Config(layer_sizes=each, num_steps=1000), 40, 100) for each in sizes])
        [(2, 16, 1), (2, 16, 1), (2, 8, 4, 1), (2, 4000, 1)]
    """
    pools: list[tuple[tuple[int, ...], list[int]]] = []
    # The largest first: whoever comes later mostly fits without making the others wider.
    for index in sorted(range(len(networks)), key=lambda i: -num_params(networks[i].config)):
        own = networks[index].config.layer_sizes
        best, saved = None, 0.0
        for place, (sizes, members) in enumerate(pools):
            if len(sizes) != len(own):
                continue
            both = tuple(map(max, sizes, own))
            zeros = networks[index].seconds(both) - networks[index].seconds(own)
            zeros += sum(networks[i].seconds(both) - networks[i].seconds(sizes) for i in members)
            if COMPILING - zeros > saved:
                best, saved = (place, both), COMPILING - zeros
        if best is None:
            pools.append((own, [index]))
        else:
            place, both = best
            pools[place] = both, [*pools[place][1], index]
    return [sizes for _, sizes in sorted((i, sizes) for sizes, members in pools for i in members)]
