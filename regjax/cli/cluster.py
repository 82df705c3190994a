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

# Heading -> the options that `--help-all` shows under it.
HEADINGS = {"Many machines": ("dask", "mixed")}


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --dask and --mixed to a command, which then trains where they say."""

    @functools.wraps(command)
    def with_cluster(*objects: Any, dask: str | None, mixed: bool, **given: Any) -> Any:
        with _cluster(dask, mixed):
            return command(*objects, **given)

    where = click.option(
        "--dask", metavar="ADDRESS", help="Train on a Dask cluster: HOST:PORT, local:N or a scheduler file."
    )
    differ = click.option(
        "--mixed",
        is_flag=True,
        help="Let the workers of --dask differ, as last bits then do; leave out those that cannot be used.",
    )
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

    address = PREFIX + dask.removeprefix(PREFIX) + "?mixed" * mixed
    with contextlib.ExitStack() as stack:
        with terminal.user_errors():
            found = stack.enter_context(within(address, "--dask"))
        page = f", {found.link}" if found.link else ""
        many = f"{counted(found.workers, 'worker')}, {counted(found.capacity, 'thread')}"
        print(f"dask: {many}{page}", file=sys.stderr, flush=True)
        yield
