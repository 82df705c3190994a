"""Loss landscapes of networks with and without l2: barriers, planes, sharpness, norms, effective dimension.

    python examples/research/landscapes.py [--out landscapes.png] [--smallest]

Trains networks of several seeds over λ on the moons, in one program, and measures all of them. Above: the
loss on the straight line between pairs of seeds (Frankle et al. 2020), and sharpness, norms and MacKay's
number of well-determined parameters, γ, against λ. Below: filter-normalised planes around a network without
and one with l2, on one scale (Li et al. 2018).
"""

from __future__ import annotations

import argparse
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import regjax
from regjax import datasets
from regjax.core.mlp import Params
from regjax.plot.landscape import against, contours, profile
from regjax.research.curvature import sharpness
from regjax.research.landscape import Line, Surface, barrier, line, surface
from regjax.research.norms import norms
from regjax.research.planes import random_plane
from regjax.research.spectrum import effective_dimension

STRENGTHS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# The groups of lines that are drawn, and the λ of the second plane.
DRAWN = (0.0, 0.1, 1.0)
REGULARISED = 1.0
KEY = jax.random.key(3)


class Found(NamedTuple):
    """What is measured of all networks: arrays `(strengths, seeds, …)`, or `(strengths, pairs, …)`.

    `from_start` are lines from initial to trained parameters, `between` those between pairs of seeds.
    """

    sharpness: np.ndarray
    norm: np.ndarray
    path: np.ndarray
    determined: np.ndarray
    between: Line
    from_start: Line
    test_loss: np.ndarray


def over_rows(measure: Any) -> Any:
    """Returns `measure(params, …, l2)` mapped over strengths and seeds, compiled as one program."""
    return jax.jit(jax.vmap(jax.vmap(measure, in_axes=(0, None)), in_axes=(0, 0)))


def train(config: regjax.Config, rate: float, keys: jax.Array, l2: jax.Array, data: Any, test: Any) -> Any:
    """Returns the runs of all strengths and seeds, `(strengths, seeds, …)`."""

    def run(key: jax.Array, l2: jax.Array) -> Any:
        return regjax.make_train(config)(key, regjax.HParams(learning_rate=rate, l2=l2), data, test)

    return jax.jit(jax.vmap(jax.vmap(run, in_axes=(0, None)), in_axes=(None, 0)))(keys, l2)


def measure(config: regjax.Config, trained: Any, starts: Params, l2: jax.Array, data: Any) -> Found:
    """Returns the measures of all networks of `trained`, whose initial parameters are `starts`."""
    params, none, count = trained.params, regjax.HParams(), data.x.shape[1]

    def on_line(ends: tuple[Params, Params], l2: jax.Array) -> Line:
        return line(*ends, regjax.HParams(l2=l2), data, config=config)

    sharp = over_rows(lambda p, l2: sharpness(KEY, p, regjax.HParams(l2=l2), data, config=config).value)(
        params, l2
    )
    sizes = over_rows(lambda p, _: norms(p))(params, l2)
    # MacKay's γ needs a prior: without l2 there is none.
    determined = over_rows(lambda p, l2: effective_dimension(p, none, data, l2 / count, config=config))(
        jax.tree.map(lambda leaf: leaf[1:], params), l2[1:]
    )
    gap = np.full((1, determined.shape[1]), np.nan)
    half = params[0].w.shape[1] // 2
    pairs = [jax.tree.map(lambda leaf, part=part: leaf[:, part], params)
             for part in (slice(half), slice(half, 2 * half))]  # fmt: skip
    begins = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(l2), *leaf.shape)), starts)
    lines = over_rows(on_line)
    return Found(
        *(np.asarray(found) for found in (sharp, sizes.total, sizes.path)),
        np.concatenate([gap, determined]),
        lines(tuple(pairs), l2),
        lines((begins, params), l2),
        np.asarray(trained.history["test_loss"][..., -1]),
    )


def planes(
    config: regjax.Config, params: Params, rows: tuple[int, int], data: Any, at: np.ndarray | None
) -> list[Surface]:
    """Returns the surfaces around the first seed's networks of two strengths, along the same draws."""
    shown = jax.tree.map(lambda leaf: leaf[jnp.array(rows), 0], params)
    around = jax.vmap(functools.partial(random_plane, KEY))(shown)
    measured = jax.vmap(lambda plane: surface(plane, regjax.HParams(), data, config=config, a=at, b=at))(
        around
    )
    return [jax.tree.map(lambda leaf, index=index: leaf[index], measured) for index in range(2)]


def draw(found: Found, surfaces: list[Surface], strengths: tuple[float, ...]) -> Figure:
    """Returns the figure of the recipe: two panels above, two planes below."""
    figure = Figure(figsize=(9.5, 8), layout="constrained")
    above, below = figure.subfigures(2, 1).ravel()
    left, right = above.subplots(1, 2).ravel()
    rows = np.array([strengths.index(l2) for l2 in DRAWN])
    some = jax.tree.map(lambda leaf: leaf[rows], found.between)
    profile(some, [f"l2 = {l2:g}" for l2 in DRAWN], log=True, ax=left)
    left.set_title("Between two seeds: a barrier, lower with l2", fontsize="medium")
    named = {"sharpness": found.sharpness, "norm of weights": found.norm, "path norm": found.path}
    against(strengths, named | {"γ": found.determined}, name="l2 (the strength λ)", ax=right)
    right.set_title("Sharpness, norms, well-determined parameters", fontsize="medium")
    panels: Any = below.subplots(1, 2, sharey=True)
    contours(surfaces, [f"l2 = {l2:g}" for l2 in (0.0, REGULARISED)], axes=panels)
    below.suptitle("Training loss around a network, filter-normalised", fontsize="medium")
    return figure


def bump(along: Line) -> np.ndarray:
    """Returns by how much the loss rises on its way, beyond the lowest before, as a share of its fall."""
    loss = np.asarray(along.loss)
    rise = (loss - np.minimum.accumulate(loss, axis=-1)).max(axis=-1)
    return rise / (loss[..., 0] - loss[..., -1])


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Trains, measures, draws, and returns the figures that are printed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", help="file of the figure, such as landscapes.png")
    parser.add_argument("--smallest", action="store_true", help="few seeds and steps: seconds")
    options = parser.parse_args(argv)
    if options.smallest:
        strengths, seeds, samples, steps, rate, sizes = DRAWN, 2, (100, 300), 600, 0.03, (2, 12, 6, 1)
    else:
        strengths, seeds, samples, steps, rate, sizes = (
            STRENGTHS,
            8,
            (200, 1_000),
            5_000,
            0.01,
            (2, 20, 10, 1),
        )
    config = regjax.Config(
        layer_sizes=sizes, optimizer="adam", num_steps=steps, eval_every=steps, metrics=("loss",)
    )
    data, test = (datasets.moons(jax.random.key(k), count, 0.3) for k, count in enumerate(samples))
    keys, l2 = jnp.stack([regjax.replicate_key(seed) for seed in range(seeds)]), jnp.array(strengths)
    trained = train(config, rate, keys, l2, data, test)
    starts = jax.vmap(lambda key: regjax.init_params(key, config.layer_sizes))(keys)
    found = measure(config, trained, starts, l2, data)
    at = np.linspace(-1, 1, 21) if options.smallest else None
    surfaces = planes(config, trained.params, (0, strengths.index(REGULARISED)), data, at)
    barriers, bumps = np.asarray(barrier(found.between)), bump(found.from_start)
    print("      l2  barrier  sharpness    norm   path norm      γ  test loss")
    columns = (barriers, found.sharpness, found.norm, found.path, found.determined, found.test_loss)
    for index, strength in enumerate(strengths):
        means = [column[index].mean() for column in columns]
        print("{:8g} {:8.2f} {:10.1f} {:7.1f} {:11.0f} {:6.1f} {:10.3f}".format(strength, *means))
    wide = [float(np.mean(np.asarray(s.loss) < np.asarray(s.loss).min() + 0.5)) for s in surfaces]
    print(f"Within 0.5 nats of its lowest loss: {wide[0]:.1%} of the plane without l2, {wide[1]:.1%} with.")
    last = strengths.index(REGULARISED)
    rises = float(np.median(bumps[0])), float(np.median(bumps[last]))
    print(
        "From start to end the loss rises on its way by {:.0%} of its fall without l2, {:.0%} with.".format(
            *rises
        )
    )
    if options.out:
        draw(found, surfaces, strengths).savefig(options.out, dpi=60 if options.smallest else 100)
    names = ("barrier", "sharpness", "norm", "path", "determined")
    ends = {name: (column[1 if name == "determined" else 0].mean(), column[last].mean())
            for name, column in zip(names, columns, strict=False)}  # fmt: skip
    result = {f"{name}_{end}": float(v) for name, pair in ends.items()
              for end, v in zip(("without", "with"), pair, strict=True)}  # fmt: skip
    return result | {
        "wide_without": wide[0],
        "wide_with": wide[1],
        "bump_without": rises[0],
        "bump_with": rises[1],
    }


if __name__ == "__main__":
    main()
