"""The store: what is committed stays, nothing is trained twice, and a resumed sweep ends alike to the bit."""

import contextlib
import json
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
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from sweeps import assert_same, points

import regjax
from regjax.engine import checkpoints, lanes, scheduler
from regjax.engine.replay import replay
from regjax.store import store as store_module
from regjax.store.codec import pack, pack_rows, unpack
from regjax.store.database import StoreError
from regjax.store.identity import checksum_of, identities
from regjax.store.schema import ROW_COLUMNS, SCHEMA_VERSION
from regjax.store.store import Store
from regjax.study import provenance
from regjax.study.resolve import make_design

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

    monkeypatch.setattr(scheduler, "run_task", run_task)
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
    monkeypatch.setattr(scheduler, "TASK_SECONDS", 1e-9)  # a record per task
    config = CONFIG | {"optimizer": optimizer, "batch_size": 16}
    grid = {"l2": [0, 0.1, 1], "keep_prob": [1, 0.9], "learning_rate": 0.05}
    plain = run(config=config, grid=grid)
    path = tmp_path / "runs.sqlite"
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
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
    with pytest.raises(StoreError, match=f"schema version {SCHEMA_VERSION}, got 99, of a newer regjax"):
        Store(tmp_path / "newer")
    with pytest.raises(IsADirectoryError):
        Store(tmp_path)


@pytest.mark.parametrize("later", ["l1", "val_rmse"])
def test_a_hyperparameter_or_metric_that_came_later_is_off_in_the_rows_that_are_there(
    later, tmp_path, trained
):
    path = tmp_path / "runs.sqlite"
    first = run(path, grid={"l2": [0, 1]}, seeds=1)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP VIEW results")
        connection.execute(f"ALTER TABLE rows DROP COLUMN {later}")  # as if it had never been there
        connection.execute("UPDATE rows SET checksum = ?", [""])
        connection.commit()
        rows = connection.execute("SELECT identity FROM rows").fetchall()
    columns = [name for name in ROW_COLUMNS if name != later]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for (identity,) in rows:
            where = "WHERE identity = ?"
            (values,) = connection.execute(f"SELECT {', '.join(columns)} FROM rows {where}", [identity])
            ((content,),) = connection.execute(f"SELECT value FROM arrays {where}", [identity])
            connection.execute(
                f"UPDATE rows SET checksum = ? {where}", [checksum_of(values, content), identity]
            )
        connection.commit()
    count = len(trained)
    assert_same_table(first, run(path, grid={"l2": [0, 1]}, seeds=1))
    assert len(trained) == count
    assert_same_table(run(grid={"l1": [0, 1]}, seeds=1), run(path, grid={"l1": [0, 1]}, seeds=1))


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
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    monkeypatch.setattr(scheduler, "TASK_SECONDS", 1e-9)

    def stop(progress):
        if progress.phase == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "runs.sqlite", progress=stop)
    with pytest.raises(ValueError, match="of 72 networks; `regjax resume` goes on with it"):
        regjax.load(tmp_path / "runs.sqlite")


def test_out_of_memory_is_remembered(tmp_path, monkeypatch):
    path, grid = tmp_path / "runs.sqlite", {"l2": [0, 0.1, 1, 2, 3]}
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    monkeypatch.setattr(scheduler, "TASK_SECONDS", 1e-9)
    big = []

    def run_task(task):
        if np.size(task.hparams.learning_rate) > 8:
            big.append(task)
            raise MemoryError
        return lanes.run_task(task)

    monkeypatch.setattr(scheduler, "run_task", run_task)

    def stop(progress):
        if progress.phase == "train" and big:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, grid=grid, progress=stop)
    monkeypatch.setattr(scheduler, "run_task", lanes.run_task)
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


def test_a_row_is_claimed_once_and_the_claims_of_the_dead_are_void(tmp_path):
    path = tmp_path / "runs.sqlite"
    rows = [f"{i:032x}" for i in range(6)]
    with Store(path) as one, Store(path) as other:
        assert one.lease(rows[:4]) == set(rows[:4])
        assert one.lease(rows[:4]) == set(rows[:4])  # its own
        assert other.lease(rows) == set(rows[4:])
        assert other.leased(rows) == set(rows[:4])
        assert (one.beat(), other.beat()) == (1, 1)
        one.release(rows[:1])
        assert other.lease(rows) == {rows[0], *rows[4:]}
        # A process that is gone, on this machine: its number is free.
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        one.connection.execute("UPDATE processes SET pid = ? WHERE id = ?", [gone.pid, one.process])
        assert other.lease(rows[1:2]) == {rows[1]}
        # It was taken for dead, and says that it is not: from then on it is heard of again.
        assert one.beat() == 1
        assert one.lease(rows[:1]) == set()
        assert other.beat() == 1
        assert other.leased(rows) == set()
        # Its number is another process's now, which began at another time.
        text = "UPDATE processes SET pid = ?, started = 'then' WHERE id = ?"
        one.connection.execute(text, [os.getpid(), one.process])
        assert other.beat() == 0
    with Store(path) as one, Store(path) as other:
        # On another machine: it has not been heard of for a minute.
        assert one.lease(rows) == set(rows)
        text = "UPDATE processes SET host = 'elsewhere', seen = seen - ?"
        one.connection.execute(text, [1])
        assert other.lease(rows) == set()
        one.connection.execute(text, [60])
        assert other.lease(rows) == set(rows)


def test_what_another_process_trains_is_waited_for_and_taken_from_the_store(tmp_path, monkeypatch, trained):
    monkeypatch.setattr(checkpoints, "BEAT_SECONDS", 0.01)
    path = tmp_path / "runs.sqlite"
    plain = run()
    rows = identities(plain.design)
    del trained[:]
    with Store(path) as other:
        assert other.lease(rows[:6]) == set(rows[:6])
        seen = []

        def another(progress):
            seen.append(progress)
            if progress.done == len(rows) - 6 and other.process:  # it finishes a row, and leaves
                run(tmp_path / "others.sqlite")
                with Store(tmp_path / "others.sqlite") as source:
                    columns = ", ".join(ROW_COLUMNS)
                    (*values,) = source.query(f"SELECT {columns} FROM rows WHERE identity = ?", [rows[0]])
                    ((content,),) = source.query("SELECT value FROM arrays WHERE identity = ?", [rows[0]])
                other.write([(values[0], content)], {})
                other.leave()

        monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
        found = run(path, progress=another)
    assert_same_table(plain, found)
    with Store(path) as store:
        assert store.query("SELECT count(*) FROM claims") == [(0,)]
        assert store.query("SELECT count(*) FROM processes") == [(0,)]


def test_rows_that_wait_are_shared_with_a_process_that_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(scheduler, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    path, grid = tmp_path / "runs.sqlite", {"l2": np.linspace(0, 1, 40).tolist(), "learning_rate": 0.1}
    claimed = []
    with Store(path) as other:

        def comes(progress):
            if progress.phase == "train" and not other.process:
                other.lease(["0" * 32])
            elif other.process:
                claimed.append(len(other.query("SELECT identity FROM claims")))

        found = run(path, grid=grid, progress=comes)
    assert_same_table(run(grid=grid), found)
    # From then on it claims no more than its workers need.
    assert max(claimed) - 1 <= found.plan.groups[0].chunk * (2 * found.plan.num_workers + 1) < 240


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_threads_are_at_work_loses_nothing_that_was_committed(times, tmp_path):
    path = tmp_path / "s.sqlite"
    command = [sys.executable, "-c", "from regjax.__main__ import main; main()", "sweep", "--store", path]
    command += ["--steps", "30000", "--seeds", "4", "--folds", "2", "--out", tmp_path / "o"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not re.search(r"[1-9]\d* of 96 networks done", process.stderr.readline()):
            assert process.poll() is None
        with Store(path) as store:
            ((before,),) = store.query("SELECT count(*) FROM rows")
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        err = process.stderr.read()
    assert process.returncode == 130
    assert integrity(path) == "ok"
    said = r"\d+ of 96 networks are done; they are in" if times == 1 else "in"
    assert re.search(rf"regjax: interrupted; .*{said} .*s.sqlite, and the same command goes on with it", err)
    with Store(path) as store:
        ((after,),) = store.query("SELECT count(*) FROM rows")
    assert after >= before > 0


def test_a_full_disk_is_said_and_what_was_committed_is_kept(tmp_path):
    path = tmp_path / "s.sqlite"
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000,) * 2)\n"
    code += "from regjax.__main__ import main; main()"
    options = ["sweep", "--steps", "200", "--seeds", "8", "--store", path, "--out", tmp_path / "o"]
    options += ["--no-compilation-cache"]
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(
        r"regjax: error: .*s.sqlite: no room to write \(.*\); what was committed is kept",
        done.stderr.splitlines()[-1],
    )
    assert integrity(path) == "ok"
    config = {"num_steps": 200}
    grid = {"l2": [0, 0.01, 0.1, 0.7], "keep_prob": [1, 0.9, 0.8]}
    with Store(path) as store:
        ((kept,),) = store.query("SELECT count(*) FROM rows")
    assert 0 < kept < 480
    assert_same_table(*(run(store, config=config, grid=grid, seeds=8, folds=5) for store in (None, path)))


def test_a_store_that_may_not_be_written_is_read_and_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "runs.sqlite"
    first = run(path, grid={"l2": [0, 1]})
    before = path.read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everything
    assert_same_table(first, regjax.load(path))
    with pytest.raises(OSError, match=r"cannot be written \(attempt to write a readonly database\)"):
        run(path, grid={"l2": [0, 1, 2]})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["runs.sqlite"]


def test_which_rows_ran_where_is_said(tmp_path, monkeypatch):
    path = tmp_path / "runs.sqlite"
    run(path, grid={"l2": [0, 1]}, seeds=1)
    real = dict(provenance.versions())
    monkeypatch.setattr(provenance, "versions", lambda: real | {"jaxlib": "99.0"})
    provenance.provenance.cache_clear()
    try:
        found = run(path, grid={"l2": [0, 1, 2]}, seeds=1)
    finally:
        provenance.provenance.cache_clear()
    assert not any("ran on" in note for note in run(grid={"keep_prob": [1, 0.9]}, seeds=1).notes)
    where = found.to_pandas()["provenance"]
    assert ["jaxlib 99.0" in words for words in where] == [False] * 6 + [True] * 3
    assert any(note.startswith("3 networks ran on") and "jaxlib 99.0" in note for note in found.notes)
    with Store(path) as store:
        assert sorted(ran["networks"] for ran in store.overview()[1]["provenance"]) == [3, 6]


def test_a_row_that_was_begun_elsewhere_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    path, grid, seen = tmp_path / "runs.sqlite", {"l2": [0, 1]}, []

    def stop(progress):
        seen.append(progress)
        if progress.phase == "train" and progress.fraction > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="0 of 12 networks are done"):
        run(path, grid=grid, progress=stop)
    monkeypatch.setattr(provenance, "processor", lambda: "another processor")
    provenance.provenance.cache_clear()
    try:
        found = run(path, grid=grid)
    finally:
        provenance.provenance.cache_clear()
    for how in map(json.loads, found.provenance):
        assert how["processor"] == "another processor"
        assert how["before"]["processor"] not in ("", "another processor")
        assert how["from_step"] > 0


def test_replay_says_whether_a_row_came_out_as_stored(tmp_path, capsys):
    path = tmp_path / "runs.sqlite"
    results = run(path, grid=GRID | {"keep_prob": [1, 0.9]})
    for row in (0, 7, len(results) - 1):
        again = replay(path, row)
        assert again.same, str(again)
        assert again.elsewhere == ()
        assert str(again).endswith("came out as stored, to the bit")
    rows = identities(results.design)
    with Store(path) as store:
        (values,) = store.query(f"SELECT {', '.join(ROW_COLUMNS)} FROM rows WHERE identity = ?", [rows[0]])
        arrays = dict(store.read([rows[0]]))[rows[0]].arrays
        arrays["params/0"] = np.nextafter(arrays["params/0"], np.float32(9))
        how = json.dumps(json.loads(values[-1]) | {"jaxlib": "0.0.1"})
        with store.transaction() as connection:
            connection.execute("DELETE FROM rows WHERE identity = ?", [rows[0]])
            connection.execute("DELETE FROM arrays WHERE identity = ?", [rows[0]])
        store.write([((*values[:-1], how), pack(arrays))], {})
    again = replay(path, 0)
    assert not again.same
    assert [line.split(" by ")[0] for line in again.differing] == ["params/0 differs"]
    assert again.elsewhere == (f"jaxlib was 0.0.1, here {provenance.versions()['jaxlib']}",)
    for arguments, message in [((99,), "row must be in 0 to 71, got 99"), ((0, 4), "sweep must be one of 1")]:
        with pytest.raises(ValueError, match=message):
            replay(path, *arguments)


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8),
        st.tuples(st.sampled_from(["<f4", "<f8", "<i4", "|b1"]), st.lists(st.integers(0, 3), max_size=3)),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**32 - 1),
)
def test_packed_arrays_are_safetensors(fields, seed):
    rng = np.random.default_rng(seed)
    rows = {n: rng.integers(0, 9, (2, *shape)).astype(dtype) for n, (dtype, shape) in fields.items()}
    packed = pack_rows(rows)
    for index, content in enumerate(packed):
        found = unpack(content)
        assert set(found) == set(rows)
        assert safetensors.numpy.load(content).keys() == found.keys()
        for name, value in rows.items():
            np.testing.assert_array_equal(found[name], value[index])
            assert found[name].dtype == value.dtype
    whole = packed[0]
    for broken in (b"", whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], whole + b"x"):
        with pytest.raises(ValueError, match="must be a safetensors file"):
            unpack(broken)


@pytest.fixture
def plain_ctrl_c():
    """Python's own answer to SIGINT, whatever the command line has put in its place."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("plain_ctrl_c")
def test_a_signal_inside_a_transaction_leaves_none_open(tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:

        def interrupted():
            with store.transaction() as connection:
                connection.execute("INSERT INTO claims VALUES ('a', 1)")
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with store.transaction():
            pass
        assert store.query("SELECT * FROM claims") == []


@pytest.mark.usefixtures("plain_ctrl_c")
def test_ctrl_c_inside_a_commit_waits_for_its_end(tmp_path, monkeypatch):
    path = tmp_path / "runs.sqlite"
    monkeypatch.setattr(scheduler, "TASK_SECONDS", 1e-9)
    real, sent = Store.write, []

    def write(self, finished, begun):
        if finished and not sent:
            sent.append(signal.raise_signal(signal.SIGINT))  # in the middle of a commit
        real(self, finished, begun)

    monkeypatch.setattr(Store, "write", write)
    with pytest.raises(KeyboardInterrupt, match="of 72 networks are done") as raised:
        run(path)
    done = int(str(raised.value).split()[0])
    with Store(path) as store:
        assert store.query("SELECT count(*) FROM rows") == [(done,)]
        # Whoever has begun has a checkpoint.
        ((points_,),) = store.query("SELECT count(*) FROM checkpoints")
        assert 0 < done < 72
        assert points_ > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_same_table(run(), run(path))


def test_another_error_keeps_what_was_trained_too(tmp_path, monkeypatch):
    path = tmp_path / "runs.sqlite"
    monkeypatch.setattr(scheduler, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)

    def fails(progress):
        if progress.fraction > 0.5:
            raise RuntimeError("a callback's")

    with pytest.raises(RuntimeError, match="a callback's"):
        run(path, progress=fails)
    with Store(path) as store:
        ((rows,), (points_,)) = store.query(
            "SELECT count(*) FROM rows UNION ALL SELECT count(*) FROM checkpoints"
        )
    assert rows > 0
    assert points_ > 0
    assert_same_table(run(), run(path))


def test_the_log_of_a_store_that_was_deleted_is_not_taken_over(tmp_path):
    path = tmp_path / "runs.sqlite"
    (tmp_path / "runs.sqlite-wal").write_bytes(b"of another")
    with pytest.raises(StoreError, match="must be put back beside its log"):
        run(path, grid={"l2": [0]}, seeds=1)
    assert os.listdir(tmp_path) == ["runs.sqlite-wal"]


def test_odd_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = run(grid={"l2": [0]}, seeds=1)
    for name in ("a b?c#d%e.sqlite", "ü.sqlite", "file:x"):
        assert_same_table(plain, run(name, grid={"l2": [0]}, seeds=1))
        assert_same_table(plain, regjax.load(tmp_path / name))
    os.symlink("ü.sqlite", "link.sqlite")
    assert_same_table(plain, regjax.load("link.sqlite"))
    with pytest.raises(StoreError, match="store must have a name"):
        run("", grid={"l2": [0]}, seeds=1)
    assert not [name for name in os.listdir() if name.endswith(".part")]


def test_data_too_large_for_a_cell_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "PART", 1000)
    first = run(tmp_path / "runs.sqlite", grid={"l2": [0]}, seeds=1)
    with Store(tmp_path / "runs.sqlite") as store:
        assert store.query("SELECT max(part) FROM data")[0][0] > 3
    assert_same_table(first, regjax.load(tmp_path / "runs.sqlite"))


def test_replay_of_a_diverged_row_on_one_split(tmp_path):
    options = {"folds": None, "validation": 0.3, "seeds": 2, "grid": {"learning_rate": [0.1, 1e30]}}
    results = run(tmp_path / "runs.sqlite", **options)
    assert (results.diverged_at >= 0).tolist() == [False, False, True, True]
    for row in range(4):
        again = replay(tmp_path / "runs.sqlite", row)
        assert again.same, str(again)


def test_a_larger_grid_goes_on_with_what_was_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    path, grid = tmp_path / "runs.sqlite", {"keep_prob": [0.9, 0.8, 0.7], "learning_rate": 0.1}

    def stop(progress):
        if progress.fraction > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, grid=grid, progress=stop)
    # Four configurations share their bits, three do not: another kind of chunk, of the same size.
    larger, starts = grid | {"keep_prob": [0.9, 0.8, 0.7, 0.6]}, []
    real = lanes.run_task
    monkeypatch.setattr(scheduler, "run_task", lambda task: starts.append(task.start) or real(task))
    found = run(path, grid=larger)
    assert max(starts.count(start) for start in (10, 20, 30)) > starts.count(0)
    monkeypatch.setattr(scheduler, "run_task", real)
    assert_same_table(run(grid=larger), found)


def test_provenance_is_of_the_chunk_that_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "TASK_SECONDS", 1e-9)

    def run_task(task):
        if np.size(task.hparams.learning_rate) > 8 and task.start > 0:
            raise MemoryError
        return lanes.run_task(task)

    monkeypatch.setattr(scheduler, "run_task", run_task)
    found = run(tmp_path / "runs.sqlite", grid={"l2": [0, 0.1, 1, 2, 3]})
    for how in map(json.loads, found.provenance):
        assert how["chunk"] == "2×4"
        assert how["before"]["chunk"] == "4×4"
        assert 0 < how["from_step"] <= 10


def test_a_store_that_is_refused_is_not_written_to(tmp_path):
    path = tmp_path / "runs.sqlite"
    run(path, grid={"l2": [0, 1]}, seeds=1)
    with Store(path) as store, store.transaction() as connection:
        connection.execute("UPDATE rows SET val_accuracy = 0.99 WHERE seed = 0 AND fold = 1")
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=r"row \w{32} is damaged; deleted from its table, it is trained again"
    ):
        run(path, grid={"l2": [0, 1, 2]}, seeds=1)
    assert path.read_bytes() == before
    with Store(path) as store, store.transaction() as connection:
        connection.execute("DELETE FROM rows WHERE val_accuracy = 0.99")
    assert_same_table(run(grid={"l2": [0, 1, 2]}, seeds=1), run(path, grid={"l2": [0, 1, 2]}, seeds=1))


def test_other_names_of_the_classes_are_another_sweep(tmp_path):
    X, y = points(40, 3, 2)
    path, names = tmp_path / "s.sqlite", [["cat", "dog"], ["no", "yes"]]
    for pair in names:
        regjax.sweep((X, np.array(pair)[y]), {"num_steps": 5}, store=path, progress=False)
    for sweep, pair in enumerate(names, 1):
        assert set(regjax.load(path, sweep).predict(0, X)) <= set(pair)


def test_parameters_that_are_not_there_are_said(tmp_path):
    path = tmp_path / "runs.sqlite"
    run(path, grid={"l2": [0]}, seeds=1, keep="none")
    found = run(path, grid={"l2": [0]}, seeds=1, keep="all")
    assert "the parameters of 3 networks are not in the store" in found.notes
    with pytest.raises(
        KeyError, match="row 0 has no parameters: keep='all', or whoever trained it kept none"
    ):
        found.params(0)


def test_identities_and_keys_are_those_of_earlier_versions():
    X = np.arange(24.0).reshape(8, 3)
    design = make_design((X, np.arange(8) % 2), {"num_steps": 3}, {"l2": [0, 0.1]}, folds=2)
    assert identities(design)[0] == "3bf76a2997c435ba3d12bd2fad1d77f3"
    own = make_design((X, np.arange(8) % 2), {"num_steps": 3}, {"l2": [0, 0.1]}, pairing="independent")
    assert own.key(own.row(1)).tolist() == [2237992798, 2009692004]
