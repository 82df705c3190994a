"""`regjax check`: the certificate of the hand-derived gradients; `main` adds the command."""

from __future__ import annotations

import click

from regjax.cli import terminal


@click.command()
@terminal.cache_option
def check(compilation_cache: bool) -> int:
    """Holds every hand-derived gradient against jax.grad and central differences.

    Exit code 1 if any exceeds its bound.
    """
    from regjax.core import certificate
    from regjax.study.provenance import device

    terminal.use_compilation_cache(compilation_cache)
    with terminal.progress("checking gradients", certificate.NUM_PROGRAMS, quiet=False) as on_progress:
        checks = certificate.certify(on_progress=on_progress)
    print(certificate.as_text(checks))
    bad = [found for found in checks if not found.ok]
    words = (
        f"{len(bad)} of {len(checks)} exceed their bound" if bad else f"all {len(checks)} within their bounds"
    )
    print(f"{words}; float64 on {device()}")
    return 1 if bad else 0
