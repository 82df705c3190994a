"""The store: what is committed stays, nothing is trained twice, and a resumed sweep ends alike to the bit."""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_sweep import assert_same, points

import regjax
from regjax import host, lanes
from regjax.design import make_design
from regjax.identity import identities
from regjax.store import Store, StoreError

CONFIG = {"hidden": (6, 3), "num_steps": 40, "eval_every": 10}
GRID = {"l2": [0, 0.1, 1], "keep_prob": [1, 0.9], "learning_rate": [0.1, 1e30]}


def run(store=None, **options):
    options = {"seeds": 2, "folds": 3, "progress": False} | options
    return regjax.sweep(
        "two_regions", options.pop("config", CONFIG), options.pop("grid", GRID), store=store, **options
    )


def assert_same_table(a, b):
    left, right = a.to_pandas(), b.to_pandas()
    pd.testing.assert_frame_equal(
        left.drop(columns=["seconds", "provenance"]),
        right.drop(columns=["seconds", "provenance"]),
        check_exact=True,
    )


def integrity(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


@pytest.fixture
def trained(monkeypatch):
    """Steps that were trained: (row steps) of every task."""
    count = []

    def run_task(task):
        count.append((task.start, task.stops[-1]))
        return lanes.run_task(task)

    monkeypatch.setattr(host, "run_task", run_task)
    return count


def test_a_finished_sweep_is_not_trained_again(tmp_path, trained):
    path = tmp_path / "runs.sqlite"
    plain = run()
    before = len(trained)
    first = run(path)
    assert len(trained) == 2 * before
    again = run(path)
    assert len(trained) == 2 * before
    for results in (first, again):
        assert_same_table(plain, results)
        assert results.best().index == plain.best().index
        pd.testing.assert_frame_equal(results.compare().table, plain.compare().table)
        np.testing.assert_array_equal(
            results.predict(0, np.zeros((3, 2))), plain.predict(0, np.zeros((3, 2)))
        )


def test_a_larger_grid_trains_the_missing_rows_alone(tmp_path):
    path = tmp_path / "runs.sqlite"
    run(path, grid={"l2": [0, 1], "learning_rate": 0.1}, seeds=1)
    larger = {"learning_rate": 0.1, "l2": [1, 0.1, 0]}
    with Store(path) as store:
        assert (
            len(store.finished(identities(make_design("two_regions", CONFIG, larger, seeds=2, folds=3)))) == 6
        )
    assert_same(run(grid=larger), run(path, grid=larger))
    with Store(path) as store:
        assert store.query("SELECT count(*) FROM rows") == [(18,)]
        assert store.query("SELECT count(*) FROM sweeps") == [(2,)]
        assert store.query("SELECT count(*) FROM results WHERE sweep = 2") == [(18,)]


def test_one_split_keeps_its_sampling_error(tmp_path):
    options = {"folds": None, "validation": 0.3, "seeds": 3, "grid": {"l2": [0, 1]}}
    path = tmp_path / "runs.sqlite"
    run(path, **options)
    plain, again = run(**options).compare().table, run(path, **options).compare().table
    pd.testing.assert_frame_equal(plain, again)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_interrupted_sweep_goes_on_where_it_was(optimizer, tmp_path, monkeypatch, trained):
    monkeypatch.setattr(host, "TASK_SECONDS", 1e-9)  # a record per task
    config = CONFIG | {"optimizer": optimizer, "batch_size": 16}
    grid = {"l2": [0, 0.1, 1], "keep_prob": [1, 0.9], "learning_rate": 0.05}
    plain = run(config=config, grid=grid)
    path = tmp_path / "runs.sqlite"
    monkeypatch.setattr(host, "REPORT_SECONDS", 0)
    for moment in (2, 4, 7, 3):
        seen = []

        def stop(progress, seen=seen, moment=moment):
            seen.append(progress)
            if progress.phase == "train" and len(seen) > moment:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(path, config=config, grid=grid, progress=stop)
        assert integrity(path) == "ok"
    with Store(path) as store:
        points_ = store.query("SELECT count(*), min(step) FROM checkpoints")
        assert points_[0][0] > 0
        assert points_[0][1] > 0
    resumed = run(path, config=config, grid=grid)
    assert_same(plain, resumed)
    assert_same_table(plain, resumed)
    with Store(path) as store:
        assert store.query("SELECT count(*) FROM checkpoints") == [(0,)]
        assert store.query("SELECT count(*) FROM claims") == [(0,)]


KILLED = """
import sys, regjax
from regjax import host, keeper
keeper.CHECKPOINT_SECONDS = 0.1
host.TASK_SECONDS = 0.02
regjax.sweep("two_regions", {"num_steps": 20_000, "eval_every": 500},
             {"l2": [0, 0.1, 1], "keep_prob": [1, 0.9], "learning_rate": 0.3},
             seeds=2, folds=2, store=sys.argv[1], progress=lambda p: print(p.phase, p.done, flush=True))
"""


def test_killed_at_random_moments_it_ends_alike(tmp_path):
    rng = np.random.default_rng(0)
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    command = [sys.executable, "-c", KILLED]
    subprocess.run([*command, tmp_path / "whole.sqlite"], env=environment, check=True, capture_output=True)
    kills = 0
    for _ in range(4):
        with subprocess.Popen(
            [*command, tmp_path / "k.sqlite"], env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            while line := process.stdout.readline():
                if line.startswith("train"):
                    break
            time.sleep(rng.uniform(0, 0.6))
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
        assert integrity(tmp_path / "k.sqlite") == "ok"
        if process.returncode == 0:
            break
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 1
    subprocess.run([*command, tmp_path / "k.sqlite"], env=environment, check=True, capture_output=True)
    tables = []
    for name in ("whole", "k"):
        with Store(tmp_path / f"{name}.sqlite") as store:
            rows = pd.read_sql("SELECT * FROM rows ORDER BY identity", store.connection)
            arrays = store.query("SELECT identity, value FROM arrays ORDER BY identity")
            tables.append((rows.drop(columns=["seconds", "finished", "checksum", "provenance"]), arrays))
    pd.testing.assert_frame_equal(tables[0][0], tables[1][0], check_exact=True)
    assert tables[0][1] == tables[1][1]


def test_identity_is_what_was_asked_for():
    def rows(grid=None, config=None, **options):
        options = {"seeds": 1, "folds": 2} | options
        return identities(
            make_design("two_regions", CONFIG | (config or {}), grid or {"l2": [0.1]}, **options)
        )

    base = rows()
    assert rows({"l2": np.float64(0.1), "keep_prob": None}) == base
    assert rows({"l2": 0.1 + 1e-15, "dropout": 0, "l1": "none"}) == base
    assert rows({"hidden": [(6, 3)], "l2": 0.1}) == base
    assert rows(seeds=2)[:2] == base
    others = [
        rows({"l2": 0.2}),
        rows(folds=3)[:2],
        rows(config={"num_steps": 41}),
        rows(config={"eval_every": 11}),
        rows(config={"dtype": "float64"}),
        rows(pairing="independent"),
        rows(standardize=True),
        rows(test="none"),
        rows(seeds=[1]),
    ]
    everything = [*base, *(identity for found in others for identity in found)]
    assert len(set(everything)) == len(everything)
    X, y = points()
    one = identities(make_design((X, y), CONFIG))
    X[0, 0] += 1e-9
    assert identities(make_design((X, y), CONFIG)) != one


def bad_files(tmp_path):
    run(tmp_path / "good.sqlite", grid={"l2": [0, 1]}, seeds=1)
    with contextlib.closing(sqlite3.connect(tmp_path / "good.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (tmp_path / "good.sqlite").read_bytes()


def test_what_is_no_store_is_refused_and_left_alone(tmp_path):
    good = bad_files(tmp_path)
    foreign = sqlite3.connect(tmp_path / "foreign.sqlite")
    foreign.execute("CREATE TABLE t (a)")
    foreign.commit()
    foreign.close()
    newer = bytearray(good)
    newer[60:64] = (99).to_bytes(4, "big")
    cases = {
        "empty": b"",
        "text": b"not a store at all\n" * 10,
        "newer": bytes(newer),
        "cut": good[: len(good) // 2],
        "header": good[:100],
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StoreError, match="must"):
            run(tmp_path / name)
        assert (tmp_path / name).read_bytes() == content
    with pytest.raises(StoreError, match="another program's SQLite file"):
        Store(tmp_path / "foreign.sqlite")
    with pytest.raises(StoreError, match="schema version 2, got 99, of a newer regjax"):
        Store(tmp_path / "newer")
    with pytest.raises(IsADirectoryError):
        Store(tmp_path)


def test_damage_is_said_or_does_not_matter(tmp_path):
    good = bad_files(tmp_path)
    grid = {"l2": [0, 1]}
    plain = run(grid=grid, seeds=1)
    rng = np.random.default_rng(0)
    said = 0
    for number in range(40):
        damaged = bytearray(good)
        if number % 2:
            damaged = damaged[: rng.integers(len(good))]
        else:
            for place in rng.integers(len(good), size=20):
                damaged[place] = rng.integers(256)
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(bytes(damaged))
        try:
            found = run(path, grid=grid, seeds=1)
        except (StoreError, OSError):
            said += 1
            assert path.read_bytes() == bytes(damaged)
        else:
            assert_same_table(plain, found)
    assert said > 10


def test_nothing_is_unpickled(tmp_path):
    sources = "".join(path.read_text() for path in Path(regjax.__file__).parent.glob("*.py"))
    assert not re.search(r"allow_pickle=True|import pickle|pickle\.", sources)
    path = tmp_path / "runs.sqlite"
    run(path, grid={"l2": [0]}, seeds=1)
    evil = tmp_path / "evil.npy"
    np.save(evil, np.array([print], dtype=object), allow_pickle=True)
    with Store(path) as store, store.transaction() as connection:
        connection.execute("UPDATE arrays SET value = ?", [evil.read_bytes()])
    with pytest.raises(StoreError, match="is damaged"):
        run(path, grid={"l2": [0]}, seeds=1)


def test_load_gives_the_results_without_training(tmp_path, trained):
    path = tmp_path / "runs.sqlite"
    first = run(path)
    run(path, grid={"l2": [0, 1]}, standardize=True, folds=None, validation=0.25)
    count = len(trained)
    assert_same_table(first, regjax.load(path, sweep=1))
    last = regjax.load(path)
    assert last.design.splits.kind == "validation"
    assert len(trained) == count
    np.testing.assert_array_equal(last.predict(0, np.ones((2, 2))).shape, (2,))
    assert last.compare().units.startswith("over 2 seeds on this one split")
    with pytest.raises(ValueError, match="sweep must be one of 1, 2, got 3"):
        regjax.load(path, sweep=3)
    with pytest.raises(FileNotFoundError):
        regjax.load(tmp_path / "nowhere.sqlite")


def test_a_sweep_that_is_not_finished_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "REPORT_SECONDS", 0)
    monkeypatch.setattr(host, "TASK_SECONDS", 1e-9)

    def stop(progress):
        if progress.phase == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "runs.sqlite", progress=stop)
    with pytest.raises(ValueError, match="of 72 networks; `regjax resume` goes on with it"):
        regjax.load(tmp_path / "runs.sqlite")


def test_out_of_memory_is_remembered(tmp_path, monkeypatch):
    path, grid = tmp_path / "runs.sqlite", {"l2": [0, 0.1, 1, 2, 3]}
    monkeypatch.setattr(host, "REPORT_SECONDS", 0)
    monkeypatch.setattr(host, "TASK_SECONDS", 1e-9)
    big = []

    def run_task(task):
        if np.size(task.hparams.learning_rate) > 8:
            big.append(task)
            raise MemoryError
        return lanes.run_task(task)

    monkeypatch.setattr(host, "run_task", run_task)

    def stop(progress):
        if progress.phase == "train" and big:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, grid=grid, progress=stop)
    monkeypatch.setattr(host, "run_task", lanes.run_task)
    resumed = run(path, grid=grid)
    assert resumed.plan.groups[0].chunk == 8  # not decided again
    assert_same_table(resumed, run(grid=grid))


def test_the_documents_queries_run(tmp_path):
    page = (Path(regjax.__file__).parents[1] / "docs" / "store.md").read_text()
    (block,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    run(tmp_path / "runs.sqlite")
    queries = [query for query in block.split(";\n") if query.strip()]
    assert len(queries) == 3
    with Store(tmp_path / "runs.sqlite") as store:
        for query in queries:
            assert store.query(query)
