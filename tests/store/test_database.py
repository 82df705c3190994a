"""The SQLite file: what is refused, what is damaged, transactions."""

import contextlib
import os
import signal
import sqlite3

import numpy as np
import pytest
from stores import assert_same_table, run

import regjax
from regjax.store.database import Database, StoreError, check_store, insert, parts
from regjax.store.schema import SCHEMA_VERSION
from regjax.store.store import Store


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


def test_rows_are_inserted_in_few_statements_and_read_in_parts(tmp_path):
    names = [f"{i:032x}" for i in range(20_000)]
    with Database(tmp_path / "s.sqlite") as store:
        statements = []
        store.connection.set_trace_callback(statements.append)
        with store.transaction() as connection:
            insert(connection, "INSERT INTO claims", [(name, 1) for name in names])
            insert(connection, "INSERT INTO claims", [])
        assert sum("INSERT" in text for text in statements) == 2  # 32,766 values each
        store.connection.set_trace_callback(None)
        found = {name for (name,) in store.where("SELECT identity FROM claims", names[:1001])}
        assert found == set(names[:1001])
    assert [len(part) for part in parts(names, 9000)] == [9000, 9000, 2000]


def test_a_transaction_is_all_or_nothing_and_errors_of_sqlite_are_in_words(tmp_path):
    with Database(tmp_path / "s.sqlite") as store:

        def fails():
            with store.transaction() as connection:
                connection.execute("INSERT INTO claims VALUES ('a', 1)")
                connection.execute("INSERT INTO claims VALUES ('a', 2)")

        with pytest.raises(StoreError, match="must be a store that SQLite can use, and it says: UNIQUE"):
            fails()
        assert store.query("SELECT * FROM claims") == []
        with pytest.raises(StoreError, match="no such table"):
            store.query("SELECT * FROM nowhere")


def test_a_path_is_checked_before_anything_is_made(tmp_path):
    check_store(str(tmp_path / "new.sqlite"))
    assert os.listdir(tmp_path) == []
    with pytest.raises(OSError, match="store cannot be written"):
        check_store(str(tmp_path / "nowhere" / "s.sqlite"))
    with pytest.raises(StoreError, match="store must have a name"):
        check_store("")
    (tmp_path / "text").write_text("no store")
    with pytest.raises(StoreError, match="got another kind of file"):
        check_store(str(tmp_path / "text"))
    with pytest.raises(FileNotFoundError):
        Database(tmp_path / "new.sqlite", create=False)
