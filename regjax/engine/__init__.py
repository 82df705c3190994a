"""The engine: the only place where the networks of a design are trained, see `run`."""

from typing import Any


def __getattr__(name: str) -> Any:
    # Not imported above, so that importing a part of this package, such as its progress bar, loads no JAX.
    if name != "run":
        raise AttributeError(f"module 'regjax.engine' has no attribute {name!r}")
    from regjax.engine.sweep import run

    return run
