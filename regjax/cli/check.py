"""`regjax check`: the certificate of the hand-derived gradients."""

from __future__ import annotations

import sys

import click

from regjax.cli import terminal


@click.command()
@terminal.cache_option
def check(compilation_cache: bool) -> None:
    """Holds every hand-derived gradient against jax.grad and central differences.

    Exit code 1 if any exceeds its bound.
    """
    from regjax.core import certificate
    from regjax.study.provenance import device

    terminal.use_compilation_cache(compilation_cache)
    with terminal.progress("checking gradients", certificate.NUM_PROGRAMS, quiet=False) as on_progress:
        rows = certificate.certify(on_progress=on_progress)
    print(certificate.as_text(rows))
    bad = [row for row in rows if not row.ok]
    verdict = (
        f"{len(bad)} of {len(rows)} exceed their bound" if bad else f"all {len(rows)} within their bounds"
    )
    print(f"{verdict}; float64 on {device()}")
    sys.exit(1 if bad else 0)
