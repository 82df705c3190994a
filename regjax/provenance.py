"""How results are computed: versions of packages, and the device."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any

import jax


@functools.cache  # reading a package's metadata takes a millisecond
def versions() -> dict[str, str]:
    """Returns the versions that a result depends on."""
    return {name: importlib.metadata.version(name) for name in ("regjax", "jax", "jaxlib", "optax", "numpy")}


def device() -> str:
    """Returns the device that JAX computes on, in words."""
    found: Any = jax.devices()[0]
    return f"{found.platform}: {found.device_kind}"
