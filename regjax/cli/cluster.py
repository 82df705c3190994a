"""`--dask`: the sweeps of a command are trained on a Dask cluster; `sweep`, `tune` and `resume` have it."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from regjax.cli import terminal
from regjax.core.checks import counted


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --dask and --mixed to a command, which then trains where they say."""

    @functools.wraps(command)
    def with_cluster(*objects: Any, dask: str | None, mixed: bool, **given: Any) -> Any:
        with _cluster(dask, mixed):
            return command(*objects, **given)

    where = click.option(
        "--dask", metavar="ADDRESS", help="Train on a Dask cluster: HOST:PORT, local:N or a scheduler file."
    )
    differ = click.option("--mixed", is_flag=True, help="Let the workers of --dask differ: last bits do.")
    return where(differ(with_cluster))


@contextlib.contextmanager
def _cluster(dask: str | None, mixed: bool) -> Iterator[None]:
    """Connects with a cluster, says where its page is, and lets the sweeps of the block train there."""
    if dask is None:
        with terminal.user_errors():
            if mixed:
                raise ValueError("mixed must come with dask, got it alone")
        yield  # without an import of what trains
        return
    from regjax.engine.connecting import PREFIX, within

    with contextlib.ExitStack() as stack:
        with terminal.user_errors():
            found = stack.enter_context(within(PREFIX + dask.removeprefix(PREFIX) + "?mixed" * mixed))
        page = f", {found.link}" if found.link else ""
        print(f"dask: {counted(found.capacity, 'chunk')} at a time{page}", file=sys.stderr, flush=True)
        yield
