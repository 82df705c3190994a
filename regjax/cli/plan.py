"""`regjax plan`: what a sweep will take, before anything is spent; `main` adds the command."""

from __future__ import annotations

from typing import Any

import click

from regjax.cli import tables, terminal
from regjax.cli.options import sweep_options
from regjax.cli.planned import planned_sweep


@click.command()
@sweep_options
@click.option("--probe/--no-probe", default=True, help="Compile, and train for a moment to predict seconds.")
@click.option("--print-config", is_flag=True, help="Print the resolved sweep as TOML, and do nothing.")
@terminal.cache_option
def plan(
    path: str | None, flags: dict[str, Any], probe: bool, print_config: bool, compilation_cache: bool
) -> None:
    """Says what a sweep will take, before anything is spent: networks, programs, memory, seconds."""
    from regjax.cli.spec import as_toml, resolve
    from regjax.engine.sweep import probed

    with terminal.user_errors():
        spec = resolve(path, flags)
        if print_config:
            print(as_toml(spec), end="")
            return
        planned = planned_sweep(spec, compilation_cache)
    tables.show_columns(planned.design)
    print(probed(planned.design, planned.plan) if probe else planned.plan)
