"""Compares the GPU with the CPU, and the precisions of matrix products with float64.

    python -m benchmarks.agreement [--quick] [--parts draws weights training precision sweep] [--json PATH]

Prints a line for each comparison as it is made: random draws and initial weights to the bit, parameters after
1,000 steps, what each `Config.precision` costs in accuracy and takes in time, and the records of a sweep.
The exit code is 1 where a comparison that must hold does not. Without a GPU the CPU is compared with itself.
tests/engine/test_devices.py holds a GPU to the same, in a smaller form.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import functools
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

import regjax
from benchmarks.measure import interleaved, write
from benchmarks.problems import problems
from regjax.core import random
from regjax.core.augment import input_noise, mixing_weight, partners, swap_noise
from regjax.core.config import Config, Dtype, Init, Precision
from regjax.core.data import Data, check_data, pad_samples
from regjax.core.dropout import dropconnect_masks, dropout_masks, gaussian_masks
from regjax.core.evaluate import infer
from regjax.core.hparams import HParams, check_hparams
from regjax.core.mlp import Params, init_params
from regjax.core.objective import cost, cost_and_grads
from regjax.core.settings import own_settings
from regjax.core.train import init_state, run_segment

# Largest relative difference of parameters between devices after 1,000 steps in float64.
BOUND = 1e-9
SIZES = (30, 64, 32, 1)
PARTS = ("draws", "weights", "training", "precision", "sweep")
# Of each precision: the relative error of a gradient that it must not exceed.
LARGEST_ERROR: dict[Precision, float] = {"highest": 1e-5, "high": 1e-2, "default": 1e-2, "bfloat16": 5e-2}

OF_DIGITS = HParams(0.1, l2=0.1)


class Finding(NamedTuple):
    """One comparison.

    Attributes:
        part: its part, of `PARTS`.
        what: what was compared.
        found: the result in words.
        holds: whether it is as it must be; None where nothing is required.
        values: the result in numbers.
    """

    part: str
    what: str
    found: str
    holds: bool | None
    values: dict[str, float]


class Difference(NamedTuple):
    """How far two arrays are from each other: entries that differ, all entries, and the largest distance.

    The distance of two floating-point numbers is in ulps: the number of steps from one to the next
    representable number that lead from one to the other.
    """

    differing: int
    entries: int
    ulps: int

    def __str__(self) -> str:
        if not self.differing:
            return f"equal, {self.entries:,} numbers"
        return f"{self.differing:,} of {self.entries:,} differ, by up to {self.ulps:,} ulp"


def difference(a: Any, b: Any) -> Difference:
    """Returns how far two pytrees of arrays of the same shapes and dtypes are from each other."""
    found = [
        _difference(np.asarray(x), np.asarray(y)) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    ]
    return Difference(
        sum(f.differing for f in found), sum(f.entries for f in found), max(f.ulps for f in found)
    )


def _difference(a: np.ndarray, b: np.ndarray) -> Difference:
    if a.shape != b.shape or a.dtype != b.dtype:
        raise ValueError(f"b must be {a.dtype} {a.shape} as a is, got {b.dtype} {b.shape}")
    x, y = _ordered(a), _ordered(b)
    # Modulo 2⁶⁴, in which the distance of two 64-bit numbers always fits.
    distance = np.where(x > y, x - y, y - x).view(np.uint64)
    return Difference(int(np.count_nonzero(distance)), a.size, int(distance.max(initial=0)))


def _ordered(array: np.ndarray) -> np.ndarray:
    """Returns integers, int64, in the order of the numbers, neighbours one apart; 0 and -0 are one number."""
    if array.dtype.kind != "f":
        return array.astype(np.int64)
    bits = np.ascontiguousarray(array).view(f"i{array.dtype.itemsize}")
    return np.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits).astype(np.int64)


def relative_difference(a: Any, b: Any) -> float:
    """Returns max |a - b| / max |b|, the largest over the leaves; NaN where there is one."""
    pairs = zip(*map(jax.tree.leaves, (a, b)), strict=True)
    wide = ((np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in pairs)
    return float(np.max([np.max(np.abs(x - y)) / (np.max(np.abs(y)) or 1.0) for x, y in wide]))


def devices() -> tuple[Any, Any]:
    """Returns the CPU and the default device of JAX, which is the CPU itself where there is no other."""
    return jax.devices("cpu")[0], jax.devices()[0]


def on(device: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns the result of a compiled function on a device, as NumPy arrays."""
    with jax.default_device(device):
        # Moved by hand: arrays that lie on another device are computed with there, whatever the default.
        return jax.tree.map(np.asarray, jax.jit(function)(*jax.device_put(arguments, device)))


# ---- Draws and initial weights


def draws(seed: jax.Array) -> dict[str, Any]:
    """Returns what a seed draws at each place of random.py; every bit of it must be the same everywhere.

    Where a draw is only seen in an array that is computed from it, its part that is not rounded is returned:
    the units that dropout keeps, not their factors.
    """
    key, step, n = random.replicate_key(seed, 1), 3, 224
    weights = jnp.where(jnp.arange(n) % 5 == 0, 0.0, 1.0)
    x = jnp.arange(30.0 * n).reshape(30, n) / 64
    samples = Data(x, jnp.zeros((1, n), jnp.int32), weights)
    half = jnp.float32(0.5)
    kept = dropout_masks(key, step, SIZES, n, keep_prob=half, input_keep_prob=half) or ()
    connected = dropconnect_masks(key, step, SIZES, jnp.full(3, half))
    gaussian, noise = (random.place_key(key, step, place) for place in (random.GAUSSIAN, random.INPUT_NOISE))
    return {
        "the replicate's key": jax.random.key_data(key),
        "BATCH: orders of two epochs": [random.epoch_order(key, epoch, weights) for epoch in (0, 1)],
        "MASKS: units that dropout keeps": [mask > 0 for mask in kept if mask is not None],
        "GAUSSIAN: normal numbers": random.random_normals(jax.random.fold_in(gaussian, 0), 64, n),
        "CONNECTIONS: weights that dropconnect keeps": [mask > 0 for mask in connected],
        "INPUT_NOISE: normal numbers": random.random_normals(noise, 30, n),
        "SWAP, SWAP_ROWS: inputs after swaps": swap_noise(key, step, samples, samples, jnp.float32(0.15)),
        "PARTNERS: partners of mixup": partners(key, step, weights),
    }


def factors(seed: jax.Array) -> dict[str, Any]:
    """Returns float32 numbers computed from draws; a device may round their last bits its own way."""
    key, step, n = random.replicate_key(seed, 1), 3, 224
    batch = Data(jnp.ones((30, n)), jnp.zeros((1, n), jnp.int32), jnp.ones(n))
    keep_prob, sigma = jnp.float32(0.86), jnp.full(2, jnp.float32(0.4))
    return {
        "MASKS: 1/keep_prob": dropout_masks(key, step, SIZES, n, keep_prob=keep_prob),
        "GAUSSIAN: 1 + σ·n": gaussian_masks(key, step, SIZES, n, sigma),
        "INPUT_NOISE: x + σ·n": input_noise(key, step, batch, sigma[0]),
        "MIXUP: λ ~ Beta(α, α)": [mixing_weight(key, step, jnp.float32(alpha)) for alpha in (0.2, 1.0)],
    }


def compare_draws(cpu: Any, other: Any, seeds: int = 16) -> Iterator[Finding]:
    """Yields for each place of random.py whether both devices draw the same bits, and the same points."""
    numbers = np.arange(seeds, dtype=np.uint32) * np.uint32(123_456_789)
    for of_seed, must in ((draws, True), (factors, False)):
        ours, theirs = (on(device, jax.vmap(of_seed), numbers) for device in (cpu, other))
        for name in ours:
            found = difference(ours[name], theirs[name])
            yield Finding("draws", name, str(found), not found.differing if must else None, found._asdict())
    points = []
    for device in (cpu, other):
        with jax.default_device(device):
            points.append(jax.tree.map(np.asarray, regjax.two_regions(jax.random.key(0))))
    found = difference(*points)
    yield Finding("draws", "the points of two_regions", str(found), not found.differing, found._asdict())


def initial_weights(device: Any, init: Init, seeds: int, compiled: bool) -> list[Params]:
    """Returns initial weights of some seeds on a device, drawn in a compiled program or not."""

    def of_seed(seed: Any) -> Params:
        return init_params(random.replicate_key(seed), (64, 256, 256, 10), init=init)

    with jax.default_device(device):
        draw = jax.jit(of_seed) if compiled else of_seed
        return [jax.tree.map(np.asarray, draw(seed)) for seed in range(seeds)]


def compare_weights(cpu: Any, other: Any, seeds: int = 8) -> Iterator[Finding]:
    """Yields for each init whether networks begin with the same weights on both devices.

    They must, as training and sweeps draw them. Drawn inside of a user's compiled program they are those of
    the device itself, whose erf⁻¹ may have other last bits.
    """
    for init in get_args(Init):
        for compiled in (False, True):
            both = (initial_weights(device, init, seeds, compiled) for device in (cpu, other))
            found = difference(*both)
            holds, what = (None, f"{init}, by the device") if compiled else (not found.differing, init)
            yield Finding("weights", what, str(found), holds, found._asdict())


# ---- Training


class Case(NamedTuple):
    """A network to train: its name, its samples, its config and hyperparameters."""

    name: str
    data: Data
    config: Config
    hparams: HParams


def cases() -> list[Case]:
    """Returns the networks that are trained on both devices."""
    tutorial, _, cancer, _ = problems()
    points, people = (Data.from_arrays(p.x, p.y) for p in (tutorial, cancer))
    small = Config(layer_sizes=tutorial.layer_sizes)
    batches = Config(layer_sizes=cancer.layer_sizes, batch_size=cancer.batch_size)
    momentum = HParams(0.1, l2=0.7, keep_prob=0.86, momentum=0.9)
    adam = HParams(0.003, l2=0.7, keep_prob=0.86)
    noise: Any = {"input_noise": 0.1, "swap_noise": 0.05, "mixup": 0.2, "gaussian_dropout": 0.3}
    noisy = HParams(0.1, dropconnect_keep_prob=0.9, **noise)
    found = []
    for name, data, config in (("tutorial", points, small), ("breast_cancer", people, batches)):
        for activation, optimizer, hparams in (("relu", "momentum", momentum), ("tanh", "adam", adam)):
            own = dataclasses.replace(config, activation=activation, optimizer=optimizer)
            found.append(Case(f"{name}, {activation}, {optimizer}", data, own, hparams))
    smooth = dataclasses.replace(batches, activation="tanh")
    found.append(Case("breast_cancer, tanh, sgd, all noise", people, smooth, noisy))
    return found


def trained(case: Case, device: Any, dtype: Dtype, steps: int, params: Params) -> Params:
    """Returns the parameters after some steps on a device, from given initial ones."""
    config = dataclasses.replace(case.config, dtype=dtype)

    def run(params: Params, hparams: HParams, data: Data) -> Params:
        key = random.replicate_key(1)
        state = init_state(key, hparams, config=config, params=params)
        return run_segment(key, state, hparams, data, 0, steps, config=config).params

    with own_settings(dtype):
        data = jax.tree.map(np.asarray, pad_samples(check_data(config, case.data)))
        begin = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), params)
        return on(device, run, begin, check_hparams(config, case.hparams), data)


def compare_training(
    cpu: Any, other: Any, steps: int = 1_000, chosen: list[Case] | None = None
) -> Iterator[Finding]:
    """Yields how far the parameters of the same networks are from each other after the same steps.

    In float64 they must agree within `BOUND`; in float32 rounding errors grow with every step.
    """
    chosen = cases() if chosen is None else chosen
    asked: list[tuple[Case, Dtype]] = [(case, dtype) for dtype in ("float64", "float32") for case in chosen]
    # In threads, since compiling takes longer than training. All begin with the weights that the CPU draws.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        pending = []
        for case, dtype in asked:
            draw = functools.partial(init_params, layer_sizes=case.config.layer_sizes)
            begin = on(cpu, draw, random.replicate_key(1))
            pending.append([pool.submit(trained, case, d, dtype, steps, begin) for d in (cpu, other)])
        for (case, dtype), both in zip(asked, pending, strict=True):
            ours, theirs = (future.result() for future in both)
            found = relative_difference(theirs, ours)  # NaN where a network diverged
            what = f"{case.name}, {dtype}, {steps:,} steps"
            holds = found <= BOUND if dtype == "float64" else None
            yield Finding("training", what, f"relative difference {found:.1e}", holds, {"relative": found})


# ---- Precision


class Digits(NamedTuple):
    """The network of digits: its config, training samples padded, validation samples, initial parameters."""

    config: Config
    train: Data
    val: Data
    params: Params


def digits(lanes: int) -> Digits:
    """Returns digits, a fifth held out, and initial weights of so many seeds."""
    problem = problems()[-1]
    mixed = np.random.default_rng(0).permutation(len(problem.x))
    rest, held_out = mixed[:1_434], mixed[1_434:]
    config = Config(layer_sizes=problem.layer_sizes, batch_size=problem.batch_size, init="he")
    train, val = (
        check_data(config, Data.from_arrays(problem.x[part], problem.y[part])) for part in (rest, held_out)
    )

    def draw(seed: jax.Array) -> Params:
        return init_params(random.replicate_key(seed), config.layer_sizes, init=config.init)

    params = on(devices()[0], jax.vmap(draw), np.arange(lanes, dtype=np.uint32))
    return Digits(config, jax.tree.map(np.asarray, pad_samples(train)), val, params)


def gradient_error(problem: Digits, precision: Precision, device: Any) -> float:
    """Returns |g - g64|/|g64| of one gradient, 128 samples, g64 being that of float64 on the CPU."""
    found = []
    for where, dtype, own in ((device, "float32", precision), (devices()[0], "float64", "highest")):
        config = dataclasses.replace(problem.config, dtype=dtype, precision=own)
        with own_settings(config.dtype):
            params = jax.tree.map(lambda leaf, dtype=dtype: leaf[0].astype(dtype), problem.params)
            batch = jax.tree.map(lambda leaf: leaf[..., :128], problem.train)
            batch = jax.tree.map(np.asarray, check_data(config, batch))
            hparams = check_hparams(config, OF_DIGITS)
            gradient = on(where, functools.partial(cost_and_grads, config=config), params, hparams, batch)[1]
        found.append(np.concatenate([leaf.ravel().astype(np.float64) for leaf in jax.tree.leaves(gradient)]))
    return float(np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[1]))


def program(problem: Digits, precision: Precision, device: Any, steps: int) -> tuple[Any, Any]:
    """Returns a compiled function that trains a network of each seed, and its arguments on the device."""
    config = dataclasses.replace(problem.config, precision=precision)

    def run(seed: jax.Array, params: Params, data: Data) -> Params:
        key, hparams = random.replicate_key(seed), check_hparams(config, OF_DIGITS)
        state = init_state(key, hparams, config=config, params=params)
        return run_segment(key, state, hparams, data, 0, steps, config=config).params

    with jax.default_device(device):
        seeds = np.arange(len(problem.params[0].w), dtype=np.uint32)
        inputs = jax.device_put((seeds, problem.params, problem.train), device)
        return jax.jit(jax.vmap(run, (0, 0, None))).lower(*inputs).compile(), inputs


def scores(problem: Digits, params: Params) -> tuple[float, float]:
    """Returns cost on the training samples and validation accuracy, means over the networks, on the CPU."""

    def measure(params: Params) -> tuple[jax.Array, jax.Array]:
        config, hparams = problem.config, check_hparams(problem.config, OF_DIGITS)
        right = jnp.argmax(infer(params, problem.val, config), axis=0) == problem.val.y[0]
        return cost(params, hparams, problem.train, config=config), jnp.mean(right.astype(jnp.float32))

    costs, accuracies = on(devices()[0], jax.vmap(measure), jax.tree.map(np.asarray, params))
    return float(np.mean(costs)), float(np.mean(accuracies))


def compare_precision(device: Any, steps: int = 500, lanes: int = 64) -> Iterator[Finding]:
    """Yields what each precision costs in accuracy and takes in time on a device, for the network of digits.

    Cost and accuracy are means over the networks, a seed each, measured in full float32 on the CPU; the time
    is per network and step, the median of five calls that take turns.
    """
    problem, precisions = digits(lanes), get_args(Precision)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        errors = list(pool.map(lambda name: gradient_error(problem, name, device), precisions))
        programs = list(pool.map(lambda name: program(problem, name, device, steps), precisions))
    contestants = {
        name: functools.partial(compiled, *inputs)
        for name, (compiled, inputs) in zip(precisions, programs, strict=True)
    }
    times = interleaved(contestants, 5)
    for name, error in zip(precisions, errors, strict=True):
        reached, accuracy = scores(problem, contestants[name]())
        us = times[name]["median"] / steps / lanes * 1e6
        words = (
            f"gradient off by {error:.1e}; after {steps:,} steps cost {reached:.4f}, "
            f"val_accuracy {accuracy:.4f}; {us:.3g} µs"
        )
        values = {"gradient": error, "cost": reached, "val_accuracy": accuracy, "us": us}
        holds = error <= LARGEST_ERROR[name]
        yield Finding("precision", f"{name}, digits, {lanes} networks", words, holds, values)


# ---- A sweep


class OnDevice(concurrent.futures.ThreadPoolExecutor):
    """Threads that compute on one device, which a thread does not inherit."""

    def __init__(self, device: Any, workers: int = 2) -> None:
        super().__init__(workers)
        self.device = device

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Returns the future of a call that computes on the device."""
        return super().submit(self._call, fn, *args, **kwargs)

    def _call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        with jax.default_device(self.device):
            return fn(*args, **kwargs)


def swept(device: Any, dtype: Dtype, steps: int) -> dict[str, np.ndarray]:
    """Returns the records of a sweep of 16 networks on a device, weights and draws included."""
    config: Any = {"dtype": dtype, "num_steps": steps, "eval_every": steps // 2}
    grid = regjax.grid(l2=[0, 0.1, 1, 10], keep_prob=[1, 0.86])
    with jax.default_device(device), OnDevice(device) as executor:
        return regjax.sweep(
            "two_regions", config, grid, seeds=2, validation=0.2, executor=executor, progress=False
        ).records


def compare_sweep(cpu: Any, other: Any, steps: int = 1_000) -> Iterator[Finding]:
    """Yields how far the records of the same sweep are from each other, the largest over metrics."""
    for dtype in ("float64", "float32"):
        ours, theirs = (swept(device, dtype, steps) for device in (cpu, other))
        each = {name: relative_difference(theirs[name], ours[name]) for name in ours}
        worst = max(each, key=lambda name: each[name])
        words = f"relative difference {each[worst]:.1e}, in {worst}"
        holds = each[worst] <= BOUND if dtype == "float64" else None
        yield Finding("sweep", f"16 networks, {dtype}, {steps:,} steps", words, holds, each)


def compare(parts: list[str], quick: bool) -> Iterator[Finding]:
    """Yields all findings of these parts, as they are made."""
    cpu, other = devices()
    steps, few = (50, cases()[:1]) if quick else (1_000, None)
    lanes = 2 if quick else 64 if other.platform == "gpu" else 4
    run: dict[str, Callable[[], Iterator[Finding]]] = {
        "draws": lambda: compare_draws(cpu, other),
        "weights": lambda: compare_weights(cpu, other),
        "training": lambda: compare_training(cpu, other, steps, few),
        "precision": lambda: compare_precision(other, steps // 2, lanes),
        "sweep": lambda: compare_sweep(cpu, other, steps),
    }
    # Compiling takes longest, so all parts run at once, but for the one that measures times.
    found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()

    def put(part: str) -> None:
        try:
            for finding in run[part]():
                found.put(finding)
        finally:
            found.put(None)

    together = [part for part in parts if part != "precision"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        futures = [pool.submit(put, part) for part in together]
        ended = 0
        while ended < len(together):
            finding = found.get()
            if finding is None:
                ended += 1
            else:
                yield finding
        for future in futures:
            future.result()  # raises what the part raised
    if "precision" in parts:
        yield from run["precision"]()


def main(arguments: list[str] | None = None) -> int:
    """Prints the comparisons as they are made; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50 steps of one network of each kind")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--json", help="file of the results")
    options = parser.parse_args(arguments)
    cpu, other = devices()
    if cpu == other:
        print("JAX has no GPU here: the CPU is compared with itself")
    print(f"jax {jax.__version__}; {cpu.device_kind} and {other.device_kind}", flush=True)
    began, found = time.perf_counter(), []
    for finding in compare(options.parts, options.quick):
        found.append(finding)
        verdict = {True: "holds", False: "BROKEN", None: ""}[finding.holds]
        seconds = f"{time.perf_counter() - began:5.1f} s"
        print(f"{seconds}  {finding.part:<10}{finding.what:<58}{finding.found}  {verdict}", flush=True)
    write(options.json, {"findings": [finding._asdict() for finding in found]})
    broken = [finding for finding in found if finding.holds is False]
    print(f"{len(broken)} of {sum(f.holds is not None for f in found)} comparisons that must hold are broken")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
