"""Measures what each optimisation of a training step gains: regjax against itself without it.

    python -m benchmarks.bench_layout [--steps 2000] [--repeats 7] [--lanes 4 16] [--json PATH]

The tutorial's network (2-20-3-1) on 211 points, full batch, float32, one worker, lanes of one program.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import regjax
from benchmarks.measure import interleaved, spread, write
from regjax.core import data, mlp
from regjax.core import random as noise
from regjax.core.data import check_data, pad_samples
from regjax.core.hparams import check_hparams
from regjax.core.train import init_state, run_segment


def jax_random_bits(key: jax.Array, num_units: int, num_samples: int) -> jax.Array:
    """Returns 16-bit draws of JAX's own generator, in place of `core.random.random_bits`."""
    words = lax.optimization_barrier(jax.random.bits(key, (num_units, (num_samples + 1) // 2), jnp.uint32))
    halves = [(words & 0xFFFF).astype(jnp.uint16), (words >> 16).astype(jnp.uint16)]
    return jnp.concatenate(halves, axis=1)[:, :num_samples]


# name -> what is replaced while the program is traced
VARIANTS: dict[str, list[tuple[Any, str, Any]]] = {
    "regjax": [],
    "without small products": [(mlp, "SMALL_INNER", 0)],
    "without padding": [(data, "PAD_MULTIPLE", 1)],
    "without both": [(mlp, "SMALL_INNER", 0), (data, "PAD_MULTIPLE", 1)],
    "with jax.random.bits": [(noise, "random_bits", jax_random_bits)],
}


@contextlib.contextmanager
def _replaced(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for module, name, value in changes:
            stack.enter_context(mock.patch.object(module, name, value))
        yield


def prepare(variant: str, lanes: int, keep_prob: float | None, steps: int) -> Callable[[], Any]:
    """Returns a compiled call that trains `lanes` networks for `steps` steps."""
    config, key = regjax.Config(), regjax.replicate_key(0)
    rows = [check_hparams(config, regjax.HParams(0.3, l2=0.1 * i, keep_prob=keep_prob)) for i in range(lanes)]
    hparams = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    with _replaced(VARIANTS[variant]):
        train = jax.tree.map(
            jnp.asarray, pad_samples(check_data(config, regjax.two_regions(jax.random.key(0))[0]))
        )
        states = jax.vmap(lambda h: init_state(key, h, config=config))(hparams)
        run = jax.vmap(functools.partial(run_segment, config=config), in_axes=(None, 0, 0, None, None, None))
        compiled = jax.jit(run).lower(key, states, hparams, train, 0, steps).compile()
    return lambda: compiled(key, states, hparams, train, 0, steps)


def prepare_bits(random_bits: Callable[..., jax.Array], steps: int) -> Callable[[], Any]:
    """Returns a compiled call that only draws the bits of `steps` steps: 20 and 3 units, 224 samples."""

    def step(i: jax.Array, total: jax.Array) -> jax.Array:
        key = noise.place_key(regjax.replicate_key(0), i, noise.MASKS)
        for layer, units in ((1, 20), (2, 3)):
            bits = random_bits(jax.random.fold_in(key, layer), units, 224)
            total = total + jnp.sum(
                bits, dtype=jnp.uint32
            )  # the bits must be read, or the compiler removes the draw
        return total

    compiled = jax.jit(lambda stop: lax.fori_loop(0, stop, step, jnp.uint32(0))).lower(steps).compile()
    return lambda: compiled(steps)


def run(steps: int = 2000, repeats: int = 7, lanes: Sequence[int] = (4, 16)) -> dict[str, Any]:
    """Returns µs per model and step of every variant."""
    table = []
    for count in lanes:
        for keep_prob in (None, 0.86):
            names = [name for name in VARIANTS if keep_prob is not None or "random" not in name]
            found = interleaved({n: prepare(n, count, keep_prob, steps) for n in names}, repeats)
            for name, times in found.items():
                each = spread([t / steps / count * 1e6 for t in times["all"]])
                ratio = spread([a / b for a, b in zip(times["all"], found["regjax"]["all"], strict=True)])
                row = {"lanes": count, "dropout": keep_prob is not None, "variant": name}
                table.append({**row, "us": each, "ratio": ratio})
    generators = {"regjax": noise.random_bits, "jax.random.bits": jax_random_bits}
    found = interleaved({name: prepare_bits(f, steps) for name, f in generators.items()}, repeats)
    bits = {name: spread([t / steps * 1e6 for t in times["all"]]) for name, times in found.items()}
    return {"steps": steps, "table": table, "bits": bits}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--lanes", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--json")
    options = parser.parse_args()
    result = run(options.steps, options.repeats, options.lanes)
    print(f"{'lanes':>5} {'dropout':<8}{'variant':<24}{'µs/model/step':>14}{'min to max':>18}{'ratio':>8}")
    for row in result["table"]:
        us, ratio = row["us"], row["ratio"]["median"]
        between = f"({us['min']:.2f} to {us['max']:.2f})"
        print(
            f"{row['lanes']:>5} {'on' if row['dropout'] else 'off':<8}{row['variant']:<24}"
            f"{us['median']:>14.2f}{between:>18}{ratio:>8.2f}"
        )
    print("the bits of one step alone, 23 units × 224 samples, drawn once for all lanes, µs:")
    for name, us in result["bits"].items():
        print(f"  {name:<18}{us['median']:>6.2f}  ({us['min']:.2f} to {us['max']:.2f})")
    write(options.json, result)


if __name__ == "__main__":
    main()
