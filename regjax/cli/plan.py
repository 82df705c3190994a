"""`regjax plan`: what a sweep will take, before anything is spent; `main` adds the command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from regjax.cli import terminal
from regjax.cli.help import LongCommand
from regjax.cli.options import HEADINGS, MATTERS, sweep_options
from regjax.cli.planned import Planned, plan_of, planned_sweep
from regjax.study.words import duration

if TYPE_CHECKING:
    from regjax.study.forecast import Forecast


@click.command(cls=LongCommand, matters={**MATTERS, "Output": ("detect",)}, sections=HEADINGS)
@sweep_options
@click.option("--probe/--no-probe", default=True, help="Compile, and train for a moment to predict seconds.")
@click.option(
    "--detect",
    type=float,
    metavar="DIFFERENCE",
    help="Train a pilot, and say how likely the sweep is to show a true difference of the metric.",
)
@click.option("--print-config", is_flag=True, help="Print the resolved sweep as TOML, and do nothing.")
@terminal.cache_option
def plan(
    path: str | None,
    flags: dict[str, Any],
    probe: bool,
    detect: float | None,
    print_config: bool,
    compilation_cache: bool,
) -> None:
    """Says what a sweep will take, before anything is spent: networks, programs, memory, seconds.

    \b
      regjax plan rows.csv --target y --l2 0,0.1,1 --repeats 5
      regjax plan rows.csv --target y --detect 0.02

    With --detect a pilot, a small part of the sweep at its full number of steps, is trained as well. A store
    that is named by --store keeps its networks, and the sweep then does not train them again.
    """
    from regjax.cli import tables
    from regjax.cli.spec import as_toml, resolve
    from regjax.engine.sweep import probed
    from regjax.study.pilot import check_detect

    with terminal.user_errors():
        spec = resolve(path, flags)
        if print_config:
            print(as_toml(spec), end="")
            return
        planned = planned_sweep(spec, compilation_cache)
        if detect is not None:
            check_detect(detect, planned.design, spec.questions)
    tables.show_columns(planned.design)
    print(probed(planned.design, planned.plan) if probe else planned.plan)
    if detect is not None:
        # Only in a store that is named: the pilot is a sweep of its own there.
        path = flags.get("store", "none")
        print(_forecast(planned, detect, probe, None if path == "none" else path))


def _forecast(planned: Planned, detect: float, probe: bool, path: str | None) -> Forecast:
    """Returns what a pilot says of a sweep; prints what the pilot takes, and trains it.

    Args:
        planned: the sweep.
        detect: the true difference that is asked about.
        probe: whether to predict the pilot's seconds.
        path: path of the store that keeps the pilot's networks, or None.
    """
    from regjax.engine.sweep import probed, run
    from regjax.study.pilot import forecast, pilot_in_words, pilot_of

    spec, questions = planned.spec, planned.spec.questions
    design = pilot_of(planned.design, questions)
    plan = plan_of(spec, design)
    if probe:
        plan = probed(design, plan)
    seconds = "" if plan.seconds is None else f", predicted: {duration(plan.seconds)}"
    print(f"trains {pilot_in_words(design)}{seconds}", flush=True)
    try:
        progress = terminal.sweep_progress(not sys.stderr.isatty())
        with terminal.opened_store(path) as store, terminal.training_errors(), progress as report:
            results = run(design, store, plan=plan, questions=questions, report=report)
    except KeyboardInterrupt as stop:
        kept = "nothing was written" if path is None else terminal.how_to_go_on(path, stop)
        raise terminal.Interrupted(kept) from None
    with terminal.user_errors():
        return forecast(results, planned.design, detect, questions)
