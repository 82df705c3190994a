"""A sweep as the command line asks for it, checked before anything is spent; `sweep` and `plan` make it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from regjax.cli import terminal

if TYPE_CHECKING:
    from regjax.cli.spec import Spec
    from regjax.study.design import Design
    from regjax.study.plan import Plan


class Planned(NamedTuple):
    """A sweep with its design and its plan."""

    spec: Spec
    design: Design
    plan: Plan


def planned_sweep(spec: Spec, cache: bool) -> Planned:
    """Returns the checked sweep; `cache` says whether compiled programs are kept.

    Raises:
        OSError: a file of data cannot be read.
        TypeError: as in `regjax.sweep`.
        ValueError: as in `regjax.sweep`.
    """
    # Before the first program is compiled, which would not be kept otherwise.
    terminal.use_compilation_cache(cache)
    from regjax.study.resolve import make_design

    design = make_design(**spec.arguments())
    return Planned(spec, design, plan_of(spec, design))


def plan_of(spec: Spec, design: Design) -> Plan:
    """Returns the plan of a design, or of a part of it, with the workers and the kernel of a sweep."""
    from regjax.engine.workers import num_workers, place
    from regjax.study.plan import make_plan

    options = {name: spec.sweep[name] for name in ("keep", "kernel") if name in spec.sweep}
    options["workers"] = num_workers(None, spec.sweep.get("workers"))
    return make_plan(design, spec.questions, **place(), **options)
