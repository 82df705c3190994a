"""How wrong is weight scaling, and how many Monte Carlo draws beat it? All 2^20 sub-networks say it.

Networks with 20 hidden units are trained on 200 samples, each with its own keep_prob. For each the ensemble
of all sub-networks is enumerated, and weight scaling and Monte Carlo are held against it.

    python examples/research/exact_dropout.py [--out FILE.png] [--smallest]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

import regjax
from regjax.plot.palette import BLACK, BLUE, GREEN, VERMILION
from regjax.research.subnetworks import ensemble
from regjax.research.weight_scaling import (
    MonteCarlo,
    ScalingErrors,
    monte_carlo,
    scaling_errors,
    worst_keep_prob,
)

# The keep_prob of the network whose Monte Carlo draws are looked at.
HALF = 0.5


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Trains, enumerates, prints and draws; returns the figures that are printed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", default="exact_dropout.png")
    parser.add_argument("--smallest", action="store_true", help="8 hidden units, fewer steps: seconds")
    options = parser.parse_args(argv)
    units, grid, num_steps, samples, tolerance = (
        (8, 5, 1000, 100, 0.05) if options.smallest else (20, 20, 3000, 200, 0.01)
    )
    draws = (1, 10, 100) if options.smallest else (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    config = regjax.Config(layer_sizes=(2, units, 1), num_steps=num_steps, eval_every=num_steps)
    data, _ = regjax.two_regions(jax.random.key(0), num_train=samples)
    network = trainer(config, data)

    began = time.perf_counter()
    worst = worst_keep_prob(
        network, data, config=config, num_grid=grid, bounds=(0.05, 1.0), tolerance=tolerance
    )
    seconds = time.perf_counter() - began
    errors = [of_keep_prob(network, float(k), data, config)[1] for k in worst.grid]

    exact, at_half = of_keep_prob(network, HALF, data, config)
    drawn = monte_carlo(
        jax.random.key(1),
        network(HALF),
        HALF,
        data,
        exact,
        config=config,
        draws=draws,
        repeats=200,
    )
    slope = np.polyfit(np.log(np.asarray(drawn.draws)), np.log(np.asarray(drawn.rms)), 1)[0]
    found = {
        "worst_keep_prob": worst.keep_prob,
        "worst_rms": worst.error,
        "rms_at_half": float(at_half.rms),
        "loss_at_half": float(at_half.loss),
        "spread_at_half": float(at_half.spread),
        "draws_at_half": float(at_half.draws),
        "slope": float(slope),
        "rms_over_expected": float(np.max(np.abs(np.asarray(drawn.rms / drawn.rms_expected) - 1))),
    }
    print(f"{2**units:,} sub-networks of {units} hidden units, on {data.x.shape[1]} samples")
    print(f"weight scaling is worst at keep_prob {worst.keep_prob:.3f}: rms {worst.error:.4f} in probability")
    print(f"at keep_prob {HALF}: rms {at_half.rms:.4f}, loss {at_half.loss:+.5f} nats against the ensemble's")
    beaten = np.ceil(at_half.draws)
    print(f"Monte Carlo's error falls as T^{slope:.3f}; it beats weight scaling from T = {beaten:.0f}")
    print(f"training and enumerating {grid}+ networks took {seconds:.0f} s")
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    draw_errors(axes[0], axes[1], worst.grid, errors, (worst.keep_prob, worst.error))
    draw_monte_carlo(axes[2], drawn, at_half)
    figure.savefig(options.out, dpi=60 if options.smallest else 110)
    plt.close(figure)
    return found


def trainer(config: regjax.Config, data: regjax.Data) -> Callable[[float], regjax.Params]:
    """Returns the function from keep_prob to trained parameters; all runs share one compiled program."""
    train = jax.jit(regjax.make_train(config))
    key = regjax.replicate_key(seed=0)

    def network(keep_prob: float) -> regjax.Params:
        hparams = regjax.HParams(learning_rate=0.3, keep_prob=np.full(1, keep_prob, np.float32))
        return train(key, hparams, data).params

    return network


def of_keep_prob(network, keep_prob, data, config):
    """Returns the ensemble of the network that is trained with keep_prob, and weight scaling's errors."""
    exact = ensemble(network(keep_prob), keep_prob, data, config=config)
    return exact, scaling_errors(exact, data.weights)


def draw_errors(
    left: Axes, right: Axes, grid: np.ndarray, errors: list[ScalingErrors], worst: tuple[float, float]
) -> None:
    """Draws the error in probability on the left and that in loss on the right, over keep_prob."""
    left.plot(grid, [e.rms for e in errors], "-o", color=BLUE, ms=4, label="rms over samples")
    left.plot(grid, [e.largest for e in errors], "--^", color=GREEN, ms=4, label="largest of a sample")
    left.plot(*worst, "*", color=VERMILION, ms=14, label=f"worst rms, at {worst[0]:.2f}")
    left.set(
        xlabel="keep_prob (probability)", ylabel="error in probability", title="Weight scaling: probability"
    )
    right.plot(grid, [e.loss for e in errors], "-o", color=BLUE, ms=4)
    right.axhline(0, color=BLACK, lw=0.8)
    right.set(xlabel="keep_prob (probability)", ylabel="loss less the ensemble's (nats)",
              title="Weight scaling: loss")  # fmt: skip
    left.legend(frameon=False, fontsize=9)
    left.set_ylim(bottom=0)


def draw_monte_carlo(ax: Axes, drawn: MonteCarlo, scaling: ScalingErrors) -> None:
    """Draws the error of T draws over T, beside that of weight scaling."""
    ax.loglog(drawn.draws, drawn.rms_expected, "-", color=BLACK, lw=1, label="√(variance/T)")
    ax.loglog(drawn.draws, drawn.rms, "o", color=BLUE, ms=5, label="Monte Carlo")
    ax.axhline(float(scaling.rms), color=VERMILION, ls="--", label="weight scaling")
    draws = float(scaling.draws)
    ax.axvline(draws, color=GREEN, ls=":", label=f"equal at T = {draws:.1f}")
    ax.set(
        xlabel="draws T (sub-networks)",
        ylabel="rms error in probability",
        title=f"Monte Carlo, keep_prob {HALF}",
    )
    ax.legend(frameon=False, fontsize=9)


if __name__ == "__main__":
    main()
