"""Counts the faults that the store survives: kills, a full disk, damaged files, processes at once, odd input.

Every finished table is compared with that of a sweep that nothing disturbed, to the bit: all columns but
seconds, dates and provenance. Where this process is root on Linux, the full disk and the read-only folder
are a small file system in memory; elsewhere a limit on the size of files, and no read-only folder.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import regjax
from benchmarks.measure import spread, write
from regjax.engine.checkpoints import Checkpoints
from regjax.engine.sweep import opened
from regjax.store import store
from regjax.store.database import StoreError

# A sweep in a process of its own: minibatches, momentum, dropout, and a configuration that diverges.
SWEEP = """
import resource, sys
import numpy as np, regjax
from regjax.cli import terminal
from regjax.engine import checkpoints, pace, scheduler
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]),) * 2)
path, steps, task_seconds, checkpoint_seconds = sys.argv[1], *map(float, sys.argv[2:5])
pace.TASK_SECONDS, checkpoints.CHECKPOINT_SECONDS = task_seconds, checkpoint_seconds
terminal.use_compilation_cache(True)
trained = [0]
real = scheduler.run_task
def run_task(task):
    trained[0] += np.size(task.hparams.learning_rate) * (task.ends[-1] - task.start)
    return real(task)
scheduler.run_task = run_task
config = {"num_steps": int(steps), "eval_every": int(steps) // 8, "batch_size": 32, "optimizer": "momentum"}
grid = {"l2": [0, 0.1, 1, 10], "keep_prob": [1, 0.9], "learning_rate": [0.03, 1e30]}
print("up", flush=True)
try:
    regjax.sweep("two_regions", config, grid, seeds=2, folds=2, store=path,
                 progress=lambda p: print(p.phase, p.done, flush=True))
except OSError as error:
    sys.exit(f"{error.filename}: {error.strerror}")
print("trained", trained[0])
"""
STEPS = 16_000


class Process:
    """A sweep in a process of its own.

    Args:
        path: the path of its store.
        steps: the steps of each network.
        cache: folder of compiled programs.
        task_seconds: seconds of a task.
        checkpoint_seconds: seconds between two checkpoints of a row.
        limit: bytes that a file may have.
    """

    def __init__(
        self,
        path: Path,
        steps: int,
        cache: str,
        task_seconds: float = 0.05,
        checkpoint_seconds: float = 0.1,
        limit: int | None = None,
    ) -> None:
        numbers = map(str, (steps, task_seconds, checkpoint_seconds, limit or resource.RLIM_INFINITY))
        self.process = subprocess.Popen(
            [sys.executable, "-c", SWEEP, str(path), *numbers],
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, word: str) -> None:
        """Reads what it prints up to a line that begins so."""
        assert self.process.stdout is not None
        while (line := self.process.stdout.readline()) and not line.startswith(word):
            pass

    def kill(self) -> bool:
        """Sends SIGKILL; returns whether the process was still running."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        return self.process.returncode == -signal.SIGKILL

    def finish(self) -> tuple[int, str, str]:
        """Returns the exit code, standard output and standard error."""
        out, err = self.process.communicate()
        return self.process.returncode, out, err


def table(path: Path) -> tuple[pd.DataFrame, list[Any]]:
    """Returns the finished networks of a store without seconds, dates and provenance."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = pd.read_sql("SELECT * FROM rows ORDER BY identity", connection)
        arrays = connection.execute("SELECT identity, value FROM arrays ORDER BY identity").fetchall()
    return rows.drop(columns=["seconds", "finished", "checksum", "provenance"]), arrays


def is_same(path: Path, expected: tuple[pd.DataFrame, list[Any]]) -> bool:
    """Returns whether a store holds the same to the bit."""
    rows, arrays = table(path)
    return rows.equals(expected[0]) and arrays == expected[1]


def integrity(path: Path) -> bool:
    """Returns whether SQLite finds no damage in a store; a missing file is undamaged."""
    if not path.exists():
        return True
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def kills(number: int, steps: int, folder: Path, expected: Any, rng: np.random.Generator) -> dict[str, int]:
    """Kills sweeps at random moments of their life, resumes each until it ends, and compares."""
    found = collections.Counter(kills=0, whole=0, finished=0, same=0)
    trial = 0
    while found["kills"] < number:
        trial += 1
        path = folder / f"killed-{trial}.sqlite"
        done = False
        while not done:
            process = Process(path, steps, str(folder / "cache"))
            # One in four while it imports, compiles and opens the store; the others while it trains.
            process.wait_for("up" if rng.random() < 0.25 else "train")
            time.sleep(rng.uniform(0, 0.8))
            if found["kills"] < number and process.kill():
                found["kills"] += 1
                found["whole"] += integrity(path)
            else:
                done = process.finish()[0] == 0 or (path.exists() and _is_finished(path))
        found["finished"] += 1
        found["same"] += is_same(path, expected)
    return dict(found)


def _is_finished(path: Path) -> bool:
    with opened(path) as kept:
        return kept is not None and all(sweep.done == sweep.num_rows for sweep in kept.overview())


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[str], bool]]:
    """Yields a function that remounts a file system in memory; it returns False where there is none."""
    mounted = sys.platform == "linux" and os.geteuid() == 0
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = mounted and subprocess.run(command, capture_output=True, check=False).returncode == 0

    def remount(option: str) -> bool:
        command = ["mount", "-o", f"remount,{option}", str(folder)]
        return mounted and subprocess.run(command, capture_output=True, check=False).returncode == 0

    try:
        yield remount
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def full_disk(steps: int, folder: Path, expected: Any) -> dict[str, Any]:
    """Lets the disk fill up in the middle of a sweep, makes room, and resumes it."""
    disk = folder / "disk"
    disk.mkdir()
    path, cache = disk / "s.sqlite", str(folder / "cache")
    with small_disk(disk, 256 * 1024) as remount:
        in_memory = remount("size=256k")
        code, _, words = Process(path, steps, cache, limit=None if in_memory else 160 * 1024).finish()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM rows").fetchone()
        whole = integrity(path)
        remount("size=64m")
        again = Process(path, steps, cache).finish()[0]
        found = {
            "how": "a file system of 256 KiB" if in_memory else "files of at most 160 KiB",
            "exit code": code,
            "said": words.strip().splitlines()[-1] if words.strip() else "",
            "whole": whole,
            "rows kept": rows,
            "exit code with room": again,
            "same": is_same(path, expected),
        }
        if remount("ro"):
            before = path.read_bytes()
            outcome = attempt(path, None)
            found["read-only"] = f"{outcome}; unchanged: {path.read_bytes() == before}"
        return found


SMALL = {"num_steps": 40, "eval_every": 10, "hidden": (6, 3)}


def small_sweep(path: Path | None) -> regjax.Results:
    """Returns a sweep that takes a moment."""
    grid = {"l2": [0, 1]}
    return regjax.sweep("two_regions", SMALL, grid, seeds=1, folds=3, store=path, progress=False)


def attempt(path: Path, expected: pd.DataFrame | None) -> str:
    """Returns the outcome of a sweep into a file: "resumed", a kind of error, or "wrong"."""
    try:
        found = small_sweep(path).to_pandas().drop(columns=["seconds", "provenance"])
    except (StoreError, OSError) as error:
        return type(error).__name__ if str(error).strip() else "wrong: an error without words"
    except Exception as error:
        return f"wrong: {type(error).__name__}: {error}"
    return "resumed" if expected is None or found.equals(expected) else "wrong: another table"


def damaged(number: int, folder: Path, rng: np.random.Generator) -> dict[str, int]:
    """Sweeps into cut, overwritten and foreign files; counts the outcomes."""
    good = folder / "good.sqlite"
    small_sweep(good)
    with contextlib.closing(sqlite3.connect(good)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = good.read_bytes()
    expected = small_sweep(None).to_pandas().drop(columns=["seconds", "provenance"])
    with contextlib.closing(sqlite3.connect(folder / "foreign")) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
    fixed = {
        "empty": b"",
        "text": b"not a store\n" * 20,
        "another program's": (folder / "foreign").read_bytes(),
        "older": content[:60] + (1).to_bytes(4, "big") + content[64:],
        "newer": content[:60] + (99).to_bytes(4, "big") + content[64:],
        "header alone": content[:100],
        "a directory": None,
    }
    found: collections.Counter[str] = collections.Counter()
    for index in range(max(number, len(fixed))):
        path = folder / f"damaged-{index}.sqlite"
        kind = ("cut", "a few bytes", "a page")[index % 3]
        written: bytes | None
        if index < len(fixed):
            kind, written = list(fixed.items())[index]
        elif kind == "cut":
            written = content[: rng.integers(len(content))]
        else:
            broken = bytearray(content)
            first = int(rng.integers(len(content)))
            some = kind == "a few bytes"
            for place in rng.integers(len(content), size=12) if some else range(first, first + 4096):
                if place < len(broken):
                    broken[place] = rng.integers(256)
            written = bytes(broken)
        if written is None:
            path.mkdir()
        else:
            path.write_bytes(written)
        outcome = attempt(path, expected)
        if outcome != "resumed" and written is not None and path.read_bytes() != written:
            outcome = "wrong: the file was changed"
        found[f"{kind}: {outcome}"] += 1
    return dict(sorted(found.items()))


def several(processes: int, kills: int, steps: int, folder: Path, expected: Any) -> dict[str, Any]:
    """Lets processes sweep into one store: undisturbed, and with one of them killed again and again."""
    rng = np.random.default_rng(1)
    cache = str(folder / "cache")
    calm, wild = folder / "calm.sqlite", folder / "wild.sqlite"
    alone = Process(folder / "alone.sqlite", steps, cache).finish()[1]
    done = [p.finish() for p in [Process(calm, steps, cache) for _ in range(processes)]]
    trained = [_trained(out) for _, out, _ in done]
    killed = 0
    running = [Process(wild, steps, cache) for _ in range(processes)]
    while killed < kills:
        time.sleep(rng.uniform(0.2, 1.0))
        place = int(rng.integers(processes))
        killed += running[place].kill()
        running[place] = Process(wild, steps, cache)
    codes = [process.finish() for process in running]
    return {
        "processes": processes,
        "undisturbed, all exit 0": all(code == 0 for code, _, _ in done),
        "undisturbed, same": is_same(calm, expected),
        "row steps of one process alone": _trained(alone),
        "row steps of each": trained,
        "killed": killed,
        "killed, the last of each exit 0": all(code == 0 for code, _, _ in codes),
        "killed, same": is_same(wild, expected),
        "killed, whole": integrity(wild),
        "said": sorted({err.strip().splitlines()[-1] for _, _, err in (*done, *codes) if err.strip()}),
    }


def _trained(out: str) -> int:
    lines = [line for line in out.splitlines() if line.startswith("trained")]
    return int(lines[-1].split()[1]) if lines else 0


def overhead(steps: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Returns the share of a sweep's time that is spent inside the store: the first case of bench_sweep."""
    spent = [0.0]
    depth = [0]

    def timed(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            depth[0] += 1
            try:
                return real(*args, **kwargs)
            finally:
                depth[0] -= 1
                if depth[0] == 0:
                    spent[0] += time.perf_counter() - began

        setattr(owner, name, called)

    names = ("__init__", "__exit__")
    patched = [(store.Store, name, getattr(store.Store, name)) for name in names]
    methods = ("recall", "lease", "look_again", "commit", "beat", "end", "leave")
    patched += [(Checkpoints, name, getattr(Checkpoints, name)) for name in methods]
    begin = Checkpoints.__dict__["begin"]
    for owner, name, _ in patched:
        timed(owner, name)
    timed(Checkpoints, "begin")
    grid = regjax.grid(l2=np.geomspace(1e-3, 3, 16).tolist(), learning_rate=[0.03, 0.1, 0.2, 0.3])
    config = regjax.Config(num_steps=steps, eval_every=steps)
    options: dict[str, Any] = {"seeds": 4, "progress": False, "test": "none"}
    shares, ratios = [], []
    try:
        for repeat in range(repeats + 1):
            times = []
            for path in (None, folder / f"overhead-{steps}-{repeat}.sqlite"):
                spent[0] = 0.0
                began = time.perf_counter()
                regjax.sweep("two_regions", config, grid, store=path, **options)
                times.append(time.perf_counter() - began)
            if repeat:  # the first compiles
                shares.append(spent[0] / times[1])
                ratios.append(times[1] / times[0])
    finally:
        for owner, name, real in patched:
            setattr(owner, name, real)
        setattr(Checkpoints, "begin", begin)  # noqa: B010 - a classmethod
    return {"share inside store calls": spread(shares), "time with a store / without": spread(ratios)}


def odd_inputs(number: int) -> dict[str, str]:
    """Returns the outcomes of loaders and TOML on odd inputs, see tests/support/fuzz.py."""
    from tests.support import fuzz

    table = fuzz.run(number, 0)
    rows = {row["kind"]: row for row in table}
    words = {}
    for kind, row in rows.items():
        errors = sum(row[name] for name in ("TypeError", "ValueError", "OSError"))
        outcomes = f"{row['success']:,} read, {errors:,} refused in words, {row['fault']:,} faults"
        words[kind] = f"{row['inputs']:,} inputs, {outcomes}"
    total, faults = (sum(row[name] for row in table) for name in ("inputs", "fault"))
    return words | {"together": f"{total:,} inputs, {faults:,} faults"}


def main() -> None:
    """Prints the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--files", type=int, default=240, help="damaged ones")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--process-kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--overhead-steps", type=int, nargs="*", default=[2000, 30_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=10_000, help="of loaders and TOML")
    parser.add_argument("--json")
    options = parser.parse_args()
    result: dict[str, Any] = {"steps": options.steps}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for steps in options.overhead_steps:
            result[f"overhead, 256 networks × {steps:,} steps"] = overhead(steps, options.repeats, folder)
        Process(folder / "plain.sqlite", options.steps, str(folder / "cache")).finish()
        expected = table(folder / "plain.sqlite")
        assert len(expected[0]) == 64
        result["killed"] = kills(options.kills, options.steps, folder, expected, rng)
        result["full disk"] = full_disk(options.steps, folder, expected)
        result["damaged"] = damaged(options.files, folder, rng)
        result["several processes"] = several(
            options.processes, options.process_kills, options.steps, folder, expected
        )
    result["odd inputs"] = odd_inputs(options.inputs)
    for name, found in result.items():
        print(name if isinstance(found, dict) else f"{name}: {found}")
        for key, value in found.items() if isinstance(found, dict) else ():
            if isinstance(value, dict):
                value = f"{value['median']:.3f} ({value['min']:.3f} to {value['max']:.3f})"
            print(f"  {key}: {value}")
    write(options.json, result)


if __name__ == "__main__":
    main()
