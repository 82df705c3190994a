"""Builds the native kernel by the system's C++ compiler, once for a source, processor and compiler.

`study/plan.py` asks `is_built` and `build`, `library.py` loads what was built. The library lies in a folder
of regjax's own: `caching.cache_folder`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from regjax.core.caching import cache_folder

SOURCE = "train.cc"
# No flag changes a value: errno and traps of the square root's domain are read by nobody.
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
# The most seconds that the compiler may take.
MOST_SECONDS = 300
REAL = {"float32": "float", "float64": "double"}
_lock = threading.Lock()


class Built(NamedTuple):
    """A library on disk.

    Attributes:
        path: the library.
        how: compiler, flags and source that made it, as the provenance of a row says it.
    """

    path: Path
    how: str


class BuildError(RuntimeError):
    """There is no C++ compiler, or it failed; the message says why."""


def compiler() -> tuple[str, ...] | None:
    """Returns the command of the C++ compiler, as words: $CXX, else c++, g++ or clang++; None without one.

    The first word is a path. $CXX may hold several words, such as "ccache g++".
    """
    asked = os.environ.get("CXX", "")
    try:
        words = shlex.split(asked)
    except ValueError:  # a quotation mark that is never closed
        words = [asked]
    commands = [words] if words else [["c++"], ["g++"], ["clang++"]]
    return next(((path, *rest) for name, *rest in commands if (path := shutil.which(name))), None)


def toolchain() -> str:
    """Returns what the kernel is built of and with on this machine, without building it; "none" without."""
    command = compiler()
    if command is None:
        return "none"
    return f"{_version(command)}, {' '.join(flags())}, source {source_digest()}"


def is_built(dtype: str) -> bool:
    """Returns whether the library for a dtype was built on this machine."""
    return _found(dtype) is not None


def build(dtype: str) -> Built:
    """Returns the library for a dtype, compiled where it is not built yet.

    Args:
        dtype: "float32" or "float64".

    Raises:
        BuildError: it cannot be built here.
    """
    with _lock:  # threads wait for the first one; processes may both compile, and either result is kept
        found = _found(dtype)
        if found is not None:
            return found
        key = _key(dtype)
        if key in _failures:
            raise BuildError(_failures[key])
        try:
            return _compile(dtype)
        except BuildError as error:
            if key is not None:
                _failures[key] = str(error)
            raise


# Key -> message of a failure of this process, which is not tried again.
_failures: dict[str, str] = {}


def _found(dtype: str) -> Built | None:
    key = _key(dtype)
    if key is None:
        return None
    path = _path(key)
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        # Part of a library may load, and end the process where the rest is needed.
        return Built(path, record["how"]) if record["digest"] == _digest(path) else None
    except (OSError, ValueError, TypeError, KeyError):  # there is none, or its record is damaged
        return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _path(key: str) -> Path:
    return cache_folder("native") / f"regjax-{key}.so"


def _key(dtype: str) -> str | None:
    """Returns the name of the library: a hash of source, compiler, flags and processor; None without one."""
    command = compiler()
    if command is None:
        return None
    parts = (source_digest(), REAL[dtype], _version(command), *command[1:], *flags(), _processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


def flags() -> tuple[str, ...]:
    """Returns the flags of the compiler, those for this processor too."""
    # Compilers for other processors know only one of the two spellings.
    native = "-march=native" if platform.machine() in ("x86_64", "AMD64", "i686") else "-mcpu=native"
    return (*FLAGS, native)


@functools.cache
def source_digest() -> str:
    """Returns a hash of the C++ source."""
    folder = Path(__file__).parent
    found = hashlib.sha256()
    for path in sorted([*folder.glob("*.h"), *folder.glob("*.cc")]):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:12]


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    """Returns the first line that a compiler says about its version."""
    try:
        said = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (said.stdout.splitlines() or ["unknown"])[0]


@functools.cache
def _processor() -> str:
    """Returns the architecture, and what the system says about the processor's model and instructions."""
    names = ("model name", "flags", "Features", "CPU part")
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        first = []
    said = [line for line in first if line.partition(":")[0].strip() in names]
    return "\n".join([platform.machine(), platform.processor(), *said])


def _compile(dtype: str) -> Built:
    """Returns the library for a dtype, which is compiled and moved to its place.

    Raises:
        BuildError: there is no compiler, it fails, or nothing can be written.
    """
    command, key = compiler(), _key(dtype)
    if command is None or key is None:
        asked = os.environ.get("CXX", "").strip()
        why = f"$CXX must be a command, got {asked!r}" if asked else "c++, g++ and clang++ are no commands"
        raise BuildError(f"there is no C++ compiler: {why}")
    to, said_as = _path(key), shlex.join(command)
    options = (*flags(), f"-DREAL={REAL[dtype]}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        # Made elsewhere and moved: no process ever sees half a library.
        with tempfile.TemporaryDirectory(dir=to.parent, prefix="building-") as folder:
            made = Path(folder, to.name)
            source = Path(__file__).with_name(SOURCE)
            run = [*command, *options, str(source), "-o", str(made)]
            found = subprocess.run(run, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
            if found.returncode:
                said = [line for line in found.stderr.splitlines() if "error" in line] or ["no message"]
                raise BuildError(f"{said_as} failed: {said[0].strip()}")
            words = " ".join((*command[1:], *options))
            how = f"{_version(command)}, {words}, source {source_digest()}"
            made.with_suffix(".json").write_text(json.dumps({"how": how, "digest": _digest(made)}))
            os.replace(made.with_suffix(".json"), to.with_suffix(".json"))
            os.replace(made, to)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{said_as} failed: {error}") from error
    return Built(to, how)
