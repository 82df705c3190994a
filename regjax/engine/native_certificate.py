"""The certificate of the native kernel: its gradients against `jax.grad`, in float64.

`regjax check` calls `certify`, beside `core/certificate.py`, which certifies the readable program. One step
of plain gradient descent with learning rate 1 moves the parameters by the gradient.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from regjax.core.certificate import HIDDEN_WIDTHS, NUM_OUTPUTS
from regjax.core.config import REAL_LOSSES, Activation, Config, Loss
from regjax.core.data import Data
from regjax.core.dropout import draw_masks
from regjax.core.gradient_check import BOUND, relative_error
from regjax.core.hparams import HParams
from regjax.core.mlp import Params, init_params
from regjax.core.objective import cost
from regjax.core.random import as_key, replicate_key
from regjax.core.settings import own_settings
from regjax.core.train import init_state
from regjax.engine.lanes import Replicates
from regjax.engine.native import advance_native
from regjax.native.coverage import ACTIVATIONS, LOSSES

# The hyperparameters of the objective that the kernel knows, with the value of the lane in which each is on.
STRENGTHS: dict[str, tuple[float, float]] = {
    "l2": (0.7, 0), "l1": (0.3, 0), "keep_prob": (0.7, 1), "input_keep_prob": (0.8, 1)
}  # fmt: skip
LANES = ("none", *STRENGTHS, "all")
# More samples than a block of any processor has, and no multiple of one.
NUM_FEATURES, NUM_SAMPLES = 3, 37
# With so few inputs the first two layers of relu networks of depth 2 are one pass, see `thin.h`.
DEPTHS = (0, 2, 3)


class NativeCertificate(NamedTuple):
    """The largest relative error of the kernel's gradients, over all depths, terms and leaves.

    Attributes:
        activation: activation of the hidden layers.
        loss: the data loss.
        error: difference from `jax.grad`, relative to the largest entry of the leaf.
    """

    activation: str
    loss: str
    error: float

    @property
    def ok(self) -> bool:
        """Whether the error is within its bound; NaN is not."""
        return self.error <= BOUND


def certify(
    *,
    activations: Sequence[str] = tuple(ACTIVATIONS),
    losses: Sequence[str] = tuple(LOSSES),
    depths: Sequence[int] = DEPTHS,
) -> list[NativeCertificate]:
    """Returns a certificate per activation × loss.

    Args:
        activations: activations of the hidden layers.
        losses: the data losses.
        depths: numbers of hidden layers, each at most 4.

    Raises:
        RuntimeError: the kernel is not built, and cannot be.
    """
    # Without a hidden layer there is no activation: one program stands for all.
    programs = [(a, d) for a, d in itertools.product(activations, depths) if d > 0 or a == activations[-1]]
    # Compiling releases Python's lock.
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        tasks = {program: pool.submit(_errors, *program, losses) for program in programs}
    found = []
    for activation, (place, loss) in itertools.product(activations, enumerate(losses)):
        errors = [task.result()[place] for (a, d), task in tasks.items() if a == activation or d == 0]
        found.append(NativeCertificate(activation, loss, float(np.max(errors))))  # keeps NaN
    return found


def _errors(activation: Any, depth: int, losses: Sequence[Any]) -> list[float]:
    """Returns the largest error for each loss."""
    with own_settings("float64"):
        problems = {loss: _problem(activation, depth, loss) for loss in losses}
        oracles = jax.tree.map(np.asarray, _oracles(problems))
        return [
            float(np.max(relative_error(_by_kernel(problem), oracles[loss])))
            for loss, problem in problems.items()
        ]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Static:
    """A config as a pytree without leaves, so that problems may be arguments of a compiled function."""

    config: Config


class _Problem(NamedTuple):
    """A network in each lane of `LANES`, on the same samples."""

    static: _Static
    params: Params
    hparams: HParams
    replicates: Replicates


def _problem(activation: Activation, depth: int, loss: Loss) -> _Problem:
    rng = np.random.default_rng(depth)
    sizes = (NUM_FEATURES, *HIDDEN_WIDTHS[:depth], NUM_OUTPUTS[loss])
    config = Config(layer_sizes=sizes, activation=activation, loss=loss, dtype="float64", num_steps=1)
    key = replicate_key(depth)
    # Biases too, which begin at 0.
    params = jax.tree.map(
        lambda leaf: np.asarray(leaf) + 0.3 * rng.standard_normal(leaf.shape),
        init_params(key, sizes, dtype="float64"),
    )
    x = rng.standard_normal((NUM_FEATURES, NUM_SAMPLES))
    y = rng.standard_normal((sizes[-1], NUM_SAMPLES))
    if loss == "poisson":
        y = 3 * y**2
    elif loss == "multilabel_cross_entropy":
        y = rng.integers(0, 2, y.shape).astype(np.int32)
    elif loss not in REAL_LOSSES:
        y = rng.integers(0, max(2, sizes[-1]), (1, NUM_SAMPLES)).astype(np.int32)
    weights = rng.uniform(0.5, 1.5, NUM_SAMPLES)
    weights[::5] = 0  # held out
    replicates = Replicates(np.asarray(jax.random.key_data(key)), x, y, weights)
    return _Problem(_Static(config), params, _hparams(config), replicates)


def _hparams(config: Config) -> HParams:
    """Returns the hyperparameters of all lanes, leaves `(lanes, …)`."""

    def of_lanes(name: str, *shape: int) -> np.ndarray:
        on, off = STRENGTHS[name]
        values = np.array([on if lane in (name, "all") else off for lane in LANES])
        return np.broadcast_to(values.reshape(-1, *[1] * len(shape)), (len(LANES), *shape)).copy()

    count = len(LANES)
    plain = {n: None if v is None else np.full(count, float(v)) for n, v in HParams()._asdict().items()}
    return HParams(**plain | {
        "learning_rate": np.ones(count),
        "l2": of_lanes("l2", config.num_layers),
        "l1": of_lanes("l1", config.num_layers),
        "keep_prob": of_lanes("keep_prob", config.num_hidden),
        "input_keep_prob": of_lanes("input_keep_prob"),
        "weight_decay": np.zeros(count),
    })  # fmt: skip


@jax.jit
def _oracles(problems: dict[Loss, _Problem]) -> dict[Loss, Params]:
    """Returns the gradients that `jax.grad` finds, leaves `(lanes, …)`."""

    def of_lane(problem: _Problem, hparams: HParams) -> Params:
        config, (key, x, y, weights, *_) = problem.static.config, problem.replicates
        masks = draw_masks(as_key(key), 0, hparams, config, NUM_SAMPLES, 1)
        objective = functools.partial(cost, config=config)
        return jax.grad(objective)(problem.params, hparams, Data(x, y, weights), masks)

    return {
        loss: jax.vmap(functools.partial(of_lane, problem))(problem.hparams)
        for loss, problem in problems.items()
    }


def _by_kernel(problem: _Problem) -> Params:
    """Returns the gradients of the kernel, leaves `(lanes, …)`."""
    config, replicates = problem.static.config, problem.replicates
    one = replicates._replace(key=replicates.key[None], train=replicates.train[None])
    before = jax.tree.map(lambda leaf: leaf[None, None], problem.params)
    found = []
    for place, lane in enumerate(LANES):
        own: Any = jax.tree.map(lambda leaf, place=place: leaf[None, place : place + 1], problem.hparams)
        # Lanes without masks are trained by the kernel's code without masks.
        off = {name: None for name in ("keep_prob", "input_keep_prob") if lane not in (name, "all")}
        own = own._replace(**off)
        state = init_state(as_key(replicates.key), HParams(), config=config, params=problem.params)
        after = advance_native(one, own, state._replace(params=before), 0, 1, 1, config=config).params
        found.append(jax.tree.map(lambda old, new: (old - new)[0, 0], before, after))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def as_text(found: Sequence[NativeCertificate]) -> str:
    """Returns the certificates as a table: a line per loss, a column per activation."""
    activations = list(dict.fromkeys(each.activation for each in found))
    lines = [
        f"largest relative error of the native kernel's gradients, depths {', '.join(map(str, DEPTHS))},",
        f"each of {', '.join(STRENGTHS)} on and off.",
        f"{'loss':<28}" + "".join(f"{name:>10}" for name in activations),
    ]
    for loss in dict.fromkeys(each.loss for each in found):
        line = [each for each in found if each.loss == loss]
        flag = "" if all(each.ok for each in line) else "  <-- exceeds its bound"
        lines.append(f"{loss:<28}" + "".join(f"{each.error:>10.1e}" for each in line) + flag)
    return "\n".join(lines)
