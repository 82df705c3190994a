"""`regjax check`: the certificate of the hand-derived gradients; `main` adds the command."""

from __future__ import annotations

import click

from regjax.cli import terminal


@click.command()
@terminal.cache_option
def check(compilation_cache: bool) -> int:
    """Compares every hand-derived gradient with jax.grad and central differences.

    Those of the native kernel too, which is built for it where there is a C++ compiler. Exit code 1 if any
    exceeds its bound.
    """
    from regjax.core import certificate
    from regjax.engine import native_certificate
    from regjax.native.library import find
    from regjax.study.provenance import device

    terminal.use_compilation_cache(compilation_cache)
    with terminal.progress("checking gradients", certificate.NUM_PROGRAMS, quiet=False) as on_progress:
        checks = certificate.certify(on_progress=on_progress)
    print(certificate.as_text(checks))
    ok = [found.ok for found in checks]
    if why := find("float64").why:
        print(f"native kernel: not there, {why}")
    else:
        native = native_certificate.certify()
        print(native_certificate.as_text(native))
        ok += [found.ok for found in native]
    bad = ok.count(False)
    words = f"{bad} of {len(ok)} exceed their bound" if bad else f"all {len(ok)} within their bounds"
    print(f"{words}; float64 on {device()}")
    return 1 if bad else 0
