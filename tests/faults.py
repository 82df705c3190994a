"""Faults put in on purpose, each with the tests that must fail: `python tests/faults.py`.

It shows that the tests notice what they are there for. `tests/faults.toml` is the table. Each fault
changes one piece of code in one package, in a copy of the working tree; then the tests that it names are
run there, and one of them must fail. Nothing in the working tree itself is changed.

    python tests/faults.py                        every fault, one after the other
    python tests/faults.py "Bonferroni" --jobs 2        those whose name contains a text, two at a time
    python tests/faults.py --list                 where each fault goes, without running anything

The exit code is 1 if a fault is missed or its code is no longer there, 2 if a named test fails without
any fault. `.ci/nightly` runs all of it; `tests/test_faults.py` checks with every test run that each fault
still has its code and its tests.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
# Seconds after which the tests of one fault are given up: a fault that hangs is not caught.
LIMIT = 600
# Options of every run: one process, no file left behind, slow tests too, the same random examples each time.
PYTEST = ("-n", "0", "-x", "-q", "-m", "", "-p", "no:cacheprovider", "--tb=short", "--hypothesis-seed=0")
CAUGHT, MISSED, NOT_APPLICABLE = "caught", "MISSED", "not applicable"


class Fault(NamedTuple):
    """A fault and what must notice it.

    Attributes:
        name: what is wrong.
        package: where the code is, a folder of regjax/.
        old: code that occurs exactly once in the package.
        new: what it becomes.
        tests: names of tests, at least one of which must fail; with the file, `test_x.py::test_y`, where
            several files have a test of that name.
    """

    name: str
    package: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_faults(path: Path = ROOT / "tests" / "faults.toml") -> tuple[Fault, ...]:
    """Returns the faults of the table, package by package."""
    packages = tomllib.loads(path.read_text())
    return tuple(
        Fault(package=package, **entry | {"tests": tuple(entry["tests"])})
        for package, entries in packages.items()
        for entry in entries
    )


class Place(NamedTuple):
    """Where a fault goes in a tree.

    Attributes:
        file: that holds its code.
        line: its number, from 1.
        tests: what pytest is to run, `file::test`.
    """

    file: Path
    line: int
    tests: tuple[str, ...]


class Outcome(NamedTuple):
    """What came of a fault: a verdict, seconds, and what pytest said last."""

    fault: Fault
    where: str
    verdict: str
    seconds: float
    said: str = ""


def source_files(tree: Path, package: str) -> list[Path]:
    """Returns the modules of a package, those in C++ too."""
    folder = tree / "regjax" / package
    return sorted(path for ending in ("py", "h", "cc") for path in folder.rglob(f"*.{ending}"))


def place_of(fault: Fault, tree: Path) -> Place:
    """Returns where a fault goes.

    Raises:
        ValueError: its code is not in its package exactly once, or a test is not there exactly once.
    """
    holders = [
        (path, text.count(fault.old))
        for path in source_files(tree, fault.package)
        if fault.old in (text := path.read_text())
    ]
    if sum(count for _, count in holders) != 1:
        found = ", ".join(f"{count} in {path.name}" for path, count in holders) or "none"
        raise ValueError(f"code must be in regjax/{fault.package} once, got {found}: {fault.old!r}")
    ((file, _),) = holders
    line = file.read_text().split(fault.old)[0].count("\n") + 1
    return Place(file.relative_to(tree), line, tuple(_test_id(test, tree) for test in fault.tests))


def _test_id(test: str, tree: Path) -> str:
    """Returns a test as pytest names it: its file, found by the test's name, and the name."""
    file, _, name = test.rpartition("::")
    defined = re.compile(rf"^def {re.escape(name.partition('[')[0])}\(", re.MULTILINE)
    found = [
        path
        for path in sorted((tree / "tests").rglob(file or "test_*.py"))
        if defined.search(path.read_text())
    ]
    if len(found) != 1:
        raise ValueError(f"test must be in one file, got {[path.name for path in found]} for {test}")
    return f"{found[0].relative_to(tree)}::{name}"


def copy_tree(tree: Path, to: Path) -> None:
    """Copies what git knows of a working tree, and new files that it does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=tree, check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    for name in listed.split("\0"):
        if name and (tree / name).is_file():  # a deleted file is still listed
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, to / name)


def run_tests(tree: Path, tests: Sequence[str], python: str, limit: float | None) -> tuple[int, str]:
    """Returns pytest's exit code and what it said; -1 where it took longer than the limit."""
    # The copy comes first on the path of every process that a test starts.
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-m", "pytest", *PYTEST, *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end after {limit:.0f} s"
    return done.returncode, done.stdout + done.stderr


def try_fault(fault: Fault, tree: Path, python: str) -> Outcome:
    """Returns what comes of a fault in a copy of a tree."""
    try:
        place = place_of(fault, tree)
    except ValueError as error:
        return Outcome(fault, f"regjax/{fault.package}", NOT_APPLICABLE, 0.0, str(error))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fault") as folder:
        copy = Path(folder).resolve()
        copy_tree(tree, copy)
        text = (copy / place.file).read_text()
        (copy / place.file).write_text(text.replace(fault.old, fault.new))
        code, said = run_tests(copy, place.tests, python, LIMIT)
    # 1 is pytest's code for tests that failed; what cannot even be collected says nothing.
    verdict = CAUGHT if code == 1 else MISSED
    return Outcome(fault, f"{place.file}:{place.line}", verdict, time.perf_counter() - began, said)


def check_without_faults(faults: Sequence[Fault], tree: Path, python: str) -> str:
    """Returns what pytest says of the tests without any fault, or "" where they pass; each runs once."""
    tests: dict[str, None] = {}
    for fault in faults:
        try:
            tests |= dict.fromkeys(place_of(fault, tree).tests)
        except ValueError:
            continue  # said where its turn comes
    if not tests:
        return ""
    with tempfile.TemporaryDirectory(prefix="fault") as folder:
        copy = Path(folder).resolve()
        copy_tree(tree, copy)
        code, said = run_tests(copy, list(tests), python, None)
    return "" if code == 0 else said


def line_of(outcome: Outcome) -> str:
    """Returns a line of the table."""
    fault = outcome.fault
    return f"{outcome.verdict:<14} {outcome.seconds:>5.0f} s  {fault.name:<64} {outcome.where}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 where a fault is missed or not applicable, 2 where tests fail without any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of names of faults; by default all")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time")
    parser.add_argument("--list", action="store_true", help="say where each fault goes, and run nothing")
    options = parser.parse_args(arguments)
    faults = [f for f in read_faults() if not options.names or any(part in f.name for part in options.names)]
    if options.list:
        for fault in faults:
            place = place_of(fault, ROOT)
            print(f"{place.file}:{place.line}: {fault.name}")
            print(f"  - {fault.old.strip()}", f"  + {fault.new.strip()}", sep="\n")
            print(*(f"    {test}" for test in place.tests), sep="\n")
        return 0
    return run(faults, ROOT, sys.executable, options.jobs)


def run(faults: Sequence[Fault], tree: Path, python: str, jobs: int = 1) -> int:
    """Tries faults, prints the table, and returns the exit code; see `main`."""
    with tempfile.TemporaryDirectory(prefix="jax") as folder:
        # Programs that a fault does not change are compiled once: the cache is keyed by the program.
        for name, value in (
            ("JAX_COMPILATION_CACHE_DIR", folder),
            ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0"),
            ("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1"),
        ):
            os.environ.setdefault(name, value)
        broken = check_without_faults(faults, tree, python)
        if broken:
            print(f"{broken}\nthese tests must pass without any fault", file=sys.stderr)
            return 2
        outcomes = []
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for outcome in pool.map(lambda fault: try_fault(fault, tree, python), faults):
                outcomes.append(outcome)
                print(line_of(outcome), flush=True)
                if outcome.verdict != CAUGHT:
                    print("    " + "\n    ".join(outcome.said.splitlines()[-3:]), flush=True)
    caught = sum(outcome.verdict == CAUGHT for outcome in outcomes)
    print(f"{caught} of {len(outcomes)} faults caught, in {sum(o.seconds for o in outcomes):.0f} s")
    return 0 if caught == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
