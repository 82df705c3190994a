"""A training step of yours beside regjax's, on the same networks from the same weights.

    python -m benchmarks step module:function [--problem digits] [--counts 1 16 256] [--out FILE.json]

The step is `(params, hparams, x, y, key) → params` of one network, a pure function;
`examples/research/my_step.py` is one. `hparams` has the scalars learning_rate, l2, keep_prob, and num_train,
the number of training samples; `x` is `(batch, n_features)`; `y` is `(batch,)`, numbers of classes, or floats
where the network has one output. `params` are regjax's layers, or what a function `init(key, layer_sizes)` of
the same module returns. The module may be a file, FILE.py:function.

Three are timed in turn: yours, mapped over networks, looped and compiled as one program; `regjax.core`, whose
`run_segment` is compiled in the same way; and `regjax`, which is `regjax.sweep`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.cells import NAMES
from benchmarks.device import use_device
from benchmarks.measure import number, spread, write
from benchmarks.opponents import regjax_sweep
from benchmarks.problems import Prepared, Problem, problems, rows_from, rows_of, training_cost
from benchmarks.step_contract import Layout, Step, check_step, in_a_line, layout_of, load
from benchmarks.step_programs import (
    calls_in_turn,
    compiled,
    compiled_in_turn,
    program_of_core,
    program_of_step,
)
from benchmarks.table import (
    ALIKE,
    CHECKED_AT_ONCE,
    FEW,
    SAME,
    SAME_STEPS,
    STRONG,
    Contestant,
    timed_in_turn,
)
from regjax.core.checks import counted
from regjax.study.provenance import device

YOURS, CORE, SWEEP = "yours", "regjax.core", "regjax"
BESIDE = {"core": CORE, "sweep": SWEEP}
COUNTS = (1, 2, 4, 8, 16, 256, 4096)


class Agreement(NamedTuple):
    """Whether a step reaches the training costs of regjax.

    Attributes:
        steps: how many steps were made.
        networks: how many networks were compared.
        cost: their mean training cost, or None where it was not computed.
        ours: that of regjax.
        difference: the largest relative difference of a network, of the means where units are dropped.
        agrees: whether it is within what is allowed; None where nothing was compared.
        finite: whether all parameters were finite.
    """

    steps: int
    networks: int
    cost: float | None
    ours: float | None
    difference: float | None
    agrees: bool | None
    finite: bool


class Cell(NamedTuple):
    """The measurement of one contestant with one number of networks.

    Attributes:
        name: "yours", "regjax.core" or "regjax".
        networks: how many networks.
        us: `measure.spread` of µs per network and step in one compiled loop; None where they drown in noise.
        ratio: `us` of yours divided by its own, repetition by repetition; None for yours.
        call_us: `measure.spread` of µs of a Python call that makes one step of all networks, or None.
        compile_s: `measure.spread` of seconds of tracing and compiling; of a sweep, by which its first call
            took longer than a later one.
        temp_bytes: the memory that the compiled loop holds beside arguments and result, or None.
        finite: whether all parameters were finite after the timed steps, or None.
    """

    name: str
    networks: int
    us: dict[str, Any] | None
    ratio: dict[str, Any] | None
    call_us: dict[str, Any] | None
    compile_s: dict[str, Any]
    temp_bytes: int | None
    finite: bool | None


def compare(problem: Problem, step: Step, layout: Layout | None) -> Agreement:
    """Returns whether a step reaches regjax's training costs from the same weights, on the same batches.

    Without dropout both do the same arithmetic, and every network must agree within `table.SAME`; its λ is
    strong enough to be seen in so few steps. With dropout each has its own draws, and the means must agree
    within `table.ALIKE`.
    """
    if problem.keep_prob is None:
        rates = [problem.learning_rate, problem.learning_rate / 2]
        rows = rows_from(problem, {"learning_rate": rates, "l2": list(STRONG)}, seeds=1)
        steps = SAME_STEPS
    else:
        rows, steps = rows_of(problem, CHECKED_AT_ONCE), problem.check_steps
    yours = compiled(program_of_step(problem, rows, step, layout))[0].prepared
    state = yours.run(steps)
    finite, networks = _finite(state), len(rows.l2)
    if yours.params is None or not finite:
        return Agreement(steps, networks, None, None, None, None, finite)
    core = compiled(program_of_core(problem, rows))[0].prepared
    assert core.params is not None
    cost = training_cost(problem, rows, yours.params(state))
    ours = training_cost(problem, rows, core.params(core.run(steps)))
    if problem.keep_prob is None:
        difference, allowed = float(np.max(np.abs(cost / ours - 1))), SAME
    else:
        difference, allowed = float(abs(cost.mean() / ours.mean() - 1)), ALIKE
    means = float(cost.mean()), float(ours.mean())
    return Agreement(steps, networks, *means, difference, difference <= allowed, finite)


def _finite(state: Any) -> bool:
    floats = [x for x in jax.tree.leaves(state) if np.issubdtype(x.dtype, np.inexact)]
    return all(bool(np.isfinite(np.asarray(leaf)).all()) for leaf in floats)


def measure(
    problem: Problem,
    step: Step,
    layout: Layout | None,
    count: int,
    beside: list[str],
    seconds: float,
    repeats: int,
) -> list[Cell]:
    """Returns the measurements of yours and of those beside it, which take turns.

    Args:
        problem: the problem to train.
        step: the step, which `check_step` has passed.
        layout: how its parameters are read.
        count: the number of networks.
        beside: names of `BESIDE`.
        seconds: about the seconds of a repetition.
        repeats: how often each figure is measured.
    """
    rows = rows_of(problem, count)
    programs = {YOURS: program_of_step(problem, rows, step, layout)}
    if "core" in beside:
        programs[CORE] = program_of_core(problem, rows)
    ready, compiling = compiled_in_turn(programs, repeats)
    in_turn = {name: _begun(of.prepared, count) for name, of in ready.items()}
    if "sweep" in beside:
        in_turn[SWEEP] = _begun(regjax_sweep(problem, rows), count)
    why: dict[str, str] = {}
    timed = timed_in_turn(in_turn, seconds, repeats, problem.num_batches, why)
    if why:
        raise RuntimeError("; ".join(f"{name}: {words}" for name, words in why.items()))
    calls = calls_in_turn(programs, seconds, repeats)
    cells = []
    for name in in_turn:
        us, yours = timed[name].us, timed[YOURS].us
        drowned = min(us) <= 0
        pairs = zip(yours, us, strict=True)
        ratio = None if drowned or name == YOURS or min(yours) <= 0 else spread([a / b for a, b in pairs])
        cells.append(
            Cell(
                name,
                count,
                None if drowned else spread(us),
                ratio,
                spread([s * 1e6 for s in calls[name]]) if name in calls else None,
                spread(compiling.get(name, [timed[name].compiling])),
                ready[name].temp_bytes if name in ready else None,
                _finite(ready[name].prepared.run(in_turn[name].steps or FEW)) if name == YOURS else None,
            )
        )
    return cells


def _begun(prepared: Prepared, count: int) -> Contestant:
    """Returns a contestant after its first call."""
    began = time.perf_counter()
    prepared.run(FEW)
    return Contestant(prepared, count, time.perf_counter() - began, None)


def agreement_line(found: Agreement, layout: Layout | None) -> str:
    """Returns in a line whether the costs agree."""
    after = f"after {counted(found.steps, 'step')} of {counted(found.networks, 'network')}"
    if not found.finite:
        return f"yours is not finite {after}: its parameters hold NaN or infinity"
    if layout is None:
        return "costs were not compared: params hold more than the weights and biases of the layers, in order"
    words = f"{found.cost:.6g} and {found.ours:.6g}, largest relative difference {found.difference:.1e}"
    if found.agrees:
        return f"the costs agree {after} from the same weights: {words}"
    return f"yours reaches another training cost {after} from the same weights: {words}"


def lines(cells: list[Cell]) -> Iterator[str]:
    """Yields the measurements of one number of networks as lines."""
    yield f"{counted(cells[0].networks, 'network')}"
    table = [("", "µs per network and step", "yours ÷ it", "µs a call", "compile s", "temporary MiB")]
    for cell in cells:
        times = "" if cell.name == YOURS else "–" if cell.ratio is None else _spread(cell.ratio, unit="×")
        temp = "–" if cell.temp_bytes is None else number(cell.temp_bytes / 2**20, 3)
        us = "drowns in the noise" if cell.us is None else _spread(cell.us)
        call = "–" if cell.call_us is None else _spread(cell.call_us)
        table.append((cell.name, us, times, call, _spread(cell.compile_s), temp))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        words = (f"{word:<{width}}" for word, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(words)}".rstrip()
    if any(cell.finite is False for cell in cells):
        yield "  yours is not finite after the timed steps: its time is that of NaN or infinity"


def _spread(of: dict[str, Any], unit: str = "") -> str:
    median, least, most = (number(of[which], 3) for which in ("median", "min", "max"))
    return f"{median}{unit}" if least == most else f"{median}{unit} ({least} to {most})"


def main(arguments: list[str] | None = None) -> int:
    """Prints the comparison; returns the exit code: 1 where parameters are not finite, 2 for a bad step."""
    options = _options(arguments)
    try:
        use_device(options.device)
    except RuntimeError as error:
        return _refused(f"--device {options.device}: JAX has none here ({in_a_line(error)})", 2)
    problem = dict(zip(NAMES, problems(), strict=True))[options.problem]
    try:
        step = load(options.step)
        layout = layout_of(check_step(step, problem), problem.layer_sizes)
    except (TypeError, ValueError) as error:
        return _refused(str(error), 2)
    sizes = "-".join(map(str, problem.layer_sizes))
    batch = f"{counted(len(problem.x), 'sample')}, batch {problem.batch_size or 'of all'}"
    print(f"{step.name} on {problem.name}, {sizes}, {batch}; {device()}", flush=True)
    try:
        return _measured(problem, step, layout, options)
    except RuntimeError as error:  # of a program that is compiled: no memory was left, or the like
        return _refused(in_a_line(error), 1)


def _refused(words: str, code: int) -> int:
    print(f"python -m benchmarks step: {words}", file=sys.stderr, flush=True)
    return code


def _measured(problem: Problem, step: Step, layout: Layout | None, options: argparse.Namespace) -> int:
    """Prints and writes the comparison; returns the exit code."""
    agreement = compare(problem, step, layout)
    print(agreement_line(agreement, layout), flush=True)
    found: dict[str, Any] = {"step": step.name, "problem": problem.name, "agreement": agreement._asdict()}
    cells: list[Cell] = []
    write(options.out, {**found, "cells": []})
    for count in sorted(set(options.counts)) if agreement.finite else ():
        how = options.beside, options.seconds, options.repeats
        of_count = measure(problem, step, layout, count, *how)
        cells += of_count
        print("\n".join(lines(of_count)), flush=True)
        write(options.out, {**found, "cells": [cell._asdict() for cell in cells]})
    return 0 if agreement.finite and all(cell.finite is not False for cell in cells) else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks step", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("step", help="module:function, or FILE.py:function")
    parser.add_argument("--problem", choices=NAMES, default="tutorial")
    parser.add_argument(
        "--counts", nargs="+", type=int, choices=COUNTS, default=[1, 16, 256], help="of networks"
    )
    words = "what yours is timed beside; both by default"
    parser.add_argument("--beside", nargs="+", choices=list(BESIDE), default=list(BESIDE), help=words)
    parser.add_argument("--seconds", type=float, default=0.3, help="of a repetition")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions of each figure")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--out", help="the .json file, written after each number of networks")
    options = parser.parse_args(arguments)
    if options.repeats < 1 or not options.seconds > 0:
        parser.error("--repeats must be at least 1 and --seconds above 0")
    return options
