"""Chooses the device that a benchmark computes on; every command with `--device` calls it."""

from __future__ import annotations

import os

import jax


def use_device(name: str) -> None:
    """Makes JAX compute on the CPU or the GPU, all products in full float32.

    Args:
        name: "cpu" or "gpu".

    Raises:
        RuntimeError: JAX has no such device here.
    """
    jax.config.update("jax_platforms", {"cpu": "cpu", "gpu": "cuda,cpu"}[name])
    if name == "gpu":
        # Other processes compute on it at the same time: JAX takes what it needs, not three quarters at once.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        # All opponents multiply in float32, as regjax does: JAX's default on a GPU rounds the operands.
        jax.config.update("jax_default_matmul_precision", "highest")
    jax.devices()
