"""What a worker of a cluster is asked before it gets work, and how it is said that one gets none.

`engine/cluster.py` asks each worker, in a thread of its own, and keeps the answers.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from functools import partial
from typing import Any

from regjax.core.checks import counted
from regjax.engine.remote import kind_of_worker
from regjax.study.provenance import versions

# Workers that a line names.
MOST_NAMED = 2


def kind_of(client: Any, address: str) -> dict[str, str] | str | Exception:
    """Asks a worker what it is.

    Args:
        client: a `distributed.Client`.
        address: the address of the worker.

    Returns:
        What its bits depend on, see `remote.kind_of_worker`; why it cannot be used; or the error of one that
        is gone, or busy.
    """
    ask: Any = partial(client.run, workers=[address], on_error="return")
    wanted = versions()["regjax"]
    try:
        # Asked for in Python's own words, which a worker without regjax understands.
        found = ask(importlib.metadata.version, "regjax")[address]
        if isinstance(found, importlib.metadata.PackageNotFoundError):
            return f"worker {address} must have regjax, and does not: install regjax {wanted} there"
        if isinstance(found, str) and found != wanted:
            return f"worker {address} must have regjax {wanted}, as here, got {found}"
        kind: dict[str, str] | Exception = ask(kind_of_worker)[address]
    except Exception as error:
        return error
    return kind


def difference(address: str, kind: dict[str, str], first: dict[str, str]) -> str:
    """Returns in what a worker's kind is not that of the first one, in words; "" where it is the same."""
    other = [
        f"{name} {kind.get(name)} in place of {first.get(name)}"
        for name in sorted(kind.keys() | first.keys())
        if kind.get(name) != first.get(name)
    ]
    return f"worker {address} has {'; '.join(other)}: its networks have other bits" if other else ""


def refusal(whys: Sequence[str], workers: int, *, mend: bool) -> str:
    """Returns the line that workers cannot be used.

    Args:
        whys: for each of them, why.
        workers: number of workers that there are.
        mend: whether `--mixed` would mend it.
    """
    said = "; ".join(whys[:MOST_NAMED]) + "; …" * (len(whys) > MOST_NAMED)
    if len(whys) > 1:
        said = f"{len(whys)} of {counted(workers, 'worker')} cannot be used: {said}"
    hint = "; --mixed, or ?mixed behind the address, takes those that differ and leaves out the others"
    return said + hint * mend


def without_work(whys: Sequence[str], workers: int) -> str:
    """Returns the note that workers get no work; arguments as in `refusal`."""
    return f"{refusal(whys, workers, mend=False)}; {'it gets' if len(whys) == 1 else 'they get'} no work"
