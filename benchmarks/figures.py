"""The pictures of `python -m benchmarks`, which calls each with its results."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

# Okabe & Ito's colours, and a marker each: no two differ by colour alone.
STYLES = {
    "regjax": ("#000000", "o"),
    "regjax by XLA": ("#000000", "."),
    "NumPy": ("#999999", "v"),
    "scikit-learn": ("#E69F00", "^"),
    "GridSearchCV": ("#E69F00", "<"),
    "PyTorch": ("#D55E00", "s"),
    "torch.compile": ("#D55E00", "D"),
    "torch.func.vmap": ("#D55E00", "P"),
    "torch.compile(vmap)": ("#F0E442", "p"),
    "Equinox": ("#009E73", "X"),
    "Flax NNX": ("#0072B2", "d"),
    "naive JAX": ("#CC79A7", "h"),
    "loop in C": ("#56B4E9", "*"),
}


def costs(cells: list[dict[str, Any]], device: str) -> Figure:
    """Returns cost per network and step against the number of networks, a panel per problem."""
    problems = list(dict.fromkeys(c["problem"] for c in cells))
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, -(-len(problems) // 2), squeeze=False).ravel()
    for ax, problem in zip(axes, problems, strict=False):
        for name, (colour, marker) in STYLES.items():
            mine = [c for c in cells if (c["problem"], c["opponent"]) == (problem, name) and c["us"]]
            if not mine:
                continue
            sizes = [c["rows"] for c in mine]
            us = np.array([[c["us"][k] for k in ("median", "min", "max")] for c in mine]).T
            ours = name == "regjax"
            ax.errorbar(
                sizes, us[0], yerr=[us[0] - us[1], us[2] - us[0]], color=colour, marker=marker,
                linewidth=2.5 if ours else 1.2, markersize=7 if ours else 5, zorder=3 if ours else 2,
                label=name,
            )  # fmt: skip
        ax.set(xscale="log", yscale="log", title=problem, xlabel="networks", ylabel="µs per network and step")
        sizes = sorted({c["rows"] for c in cells})
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        _plain_ticks(ax)
        ax.grid(alpha=0.3)
    for ax in axes[len(problems) :]:
        ax.set_axis_off()
    handles: dict[str, Any] = {}
    for ax in axes[: len(problems)]:
        handles |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6, frameon=False)
    figure.suptitle(f"Training many networks, {device}; lower is better, bars from fastest to slowest")
    return figure


def _plain_ticks(ax: Axes) -> None:
    """Writes a logarithmic y axis as 1, 2, 5, 10, …: half a decade would have one number on it."""
    ax.minorticks_off()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))


def roofline(points: list[dict[str, Any]], matrix: float, memory: float, device: str) -> Figure:
    """Returns GFLOP/s of regjax against operations per byte, under this machine's two limits."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    ax = figure.subplots()
    intensity = np.geomspace(min(p["intensity"] for p in points) / 2, max(p["intensity"] for p in points) * 4)
    ax.plot(intensity, np.minimum(matrix, memory * intensity), color="#000000", linewidth=1.5)
    ax.annotate(f"products: {matrix:,.0f} GFLOP/s", (intensity[-1], matrix), (0, 4), ha="right",
                textcoords="offset points")  # fmt: skip
    at = matrix / memory / 3
    ax.annotate(f"memory: {memory:,.0f} GB/s", (at, at * memory), (8, -8), textcoords="offset points")
    problems = list(dict.fromkeys(p["problem"] for p in points))
    colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"]
    for problem, colour in zip(problems, colours, strict=False):
        mine = [p for p in points if p["problem"] == problem]
        ax.plot([p["intensity"] for p in mine], [p["gflops"] for p in mine], color=colour, marker="o",
                linestyle="none", label=problem)  # fmt: skip
        best = max(mine, key=lambda p: p["gflops"])
        ax.annotate(f"{best['rows']:,}", (best["intensity"], best["gflops"]), (7, -3), color=colour,
                    textcoords="offset points")  # fmt: skip
    ax.set(
        xscale="log", yscale="log",
        xlabel="operations per byte, if all that a product reads and writes passed through memory",
        ylabel="GFLOP/s, of the products alone",
        title=f"regjax under the limits of this machine, {device}\n"
        "a point per number of networks, the best of them named; above the slope: out of the caches",
    )  # fmt: skip
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="lower right")
    return figure


def growing(found: dict[str, Any], device: str) -> Figure:
    """Returns time and memory against networks, width and samples."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots(2, 3)
    labels = {
        "networks": ("networks", lambda p: p["networks"]),
        "width": ("units of each hidden layer", lambda p: p["layer_sizes"][1]),
        "samples": ("samples", lambda p: p["num_samples"]),
    }
    for column, (what, (label, value)) in zip(axes.T, labels.items(), strict=True):
        points = found[what]
        x = [value(p) for p in points]
        us = np.array([[p["us"][k] for k in ("median", "min", "max")] for p in points]).T
        column[0].errorbar(x, us[0], yerr=[us[0] - us[1], us[2] - us[0]], color="#0072B2", marker="o")
        column[0].set(ylabel="µs per network and step", yscale="log")
        column[1].plot(x, [p["peak"] / 2**20 for p in points], color="#D55E00", marker="s")
        column[1].set(ylabel="peak memory, MiB", xlabel=label)
        column[1].set_ylim(0, 1.1 * max(p["peak"] for p in points) / 2**20)
        for ax in column:
            ax.set_xscale("log")
            ax.set_xticks(x, [f"{v:,}" for v in x])
        _plain_ticks(column[0])
        for ax in column:
            ax.minorticks_off()
            ax.grid(alpha=0.3)
    figure.suptitle(f"How regjax grows, {device}")
    return figure
