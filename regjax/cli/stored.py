"""Arguments and checks of the commands that read a store: show, export, plot, report, replay, resume."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from regjax.cli.terminal import UserError

# Where `regjax sweep` and `tune` keep their networks unless they are told otherwise.
STORE = "regjax.sqlite"


def of_a_sweep(
    default: str | None = "last", words: str = "Which of its sweeps.", *, required: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds STORE, by default the file that `regjax sweep` writes, and --sweep."""

    def added(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--sweep", "number", default=default, show_default=True, metavar="ID|last", help=words
        )(command)
        if required:
            return click.argument("path", metavar="STORE")(command)
        return click.argument("path", metavar="[STORE]", default=STORE)(command)

    return added


def check_not_the_store(command: str, target: str | None, store: str) -> None:
    """Raises ValueError where a file that a command writes is the store it reads."""
    if target is not None and os.path.exists(target) and os.path.samefile(target, store):  # links too
        raise ValueError(f"{command} must not go into the store itself, got {target!r}")


def number_of(text: str) -> int | str:
    """Returns the sweep that a text names: a number, or "last"."""
    try:
        return "last" if text == "last" else int(text)
    except ValueError:
        raise UserError(f"sweep must be a number or last, got {text!r}") from None
