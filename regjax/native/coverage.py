"""Which networks the native kernel trains; all others go by the readable program of `regjax.core`.

`study/plan.py` asks `covers` for each group, and `engine/native.py` translates names by the tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from regjax.core.config import Config

# Numbers of the enumerations in `layers.h` and `network.h`.
ACTIVATIONS = {"relu": 0, "tanh": 1, "sigmoid": 2, "identity": 3}
LOSSES = {
    "sigmoid_cross_entropy": 0, "multilabel_cross_entropy": 0, "softmax_cross_entropy": 1,
    "squared_error": 2, "poisson": 3,
}  # fmt: skip
OPTIMIZERS = {"sgd": 0, "momentum": 1, "nesterov": 2, "adam": 3, "adamw": 4}
SCHEDULES = {"constant": 0, "cosine": 1, "exponential": 2}
# The regularisers that it knows, beside l2, l1 and weight_decay; patience acts at records alone.
KNOWN = ("keep_prob", "input_keep_prob", "patience")


def covers(config: Config, on: Sequence[str]) -> bool:
    """Returns whether the kernel trains networks of a config.

    Args:
        config: layer sizes, activation, loss, optimizer, schedule, and how batches are drawn.
        on: regularisers that are compiled in, see `hparams.switched_on`.
    """
    return (
        config.is_plain
        and config.activation in ACTIVATIONS
        and config.precision != "bfloat16"  # on a CPU the other words change nothing
        and config.schedule in SCHEDULES
        and config.stop_on is None
        and config.batches == "equal"
        and config.draws == "jax"
        and not config.epsilon_hat
        and all(name in KNOWN for name in on)
    )
