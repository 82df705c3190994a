"""Programs that take the place of a C++ compiler."""

import stat
from pathlib import Path

# Answers --version, and counts its runs beside itself.
WORKS = 'case "$*" in *--version) echo "fake 1.0"; exit;; esac\necho run >> "$0.runs"\n'
# Writes what it is asked for, too.
WRITES = WORKS + 'for last; do :; done\necho library > "$last"'


def script(path: Path, text: str) -> str:
    """Writes a program that takes the compiler's place; returns its path."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)
