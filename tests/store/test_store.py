"""The store: sweeps and rows as they were, read back and trained no more."""

import contextlib
import re
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stores import CONFIG, assert_same_table, count_tasks, make_design, run
from sweeps import assert_same, points

import regjax
from regjax.store import store as store_module
from regjax.store.codec import asked_columns, pack
from regjax.store.database import StoreError
from regjax.store.identity import checksum_of, identities
from regjax.store.schema import ROW_COLUMNS
from regjax.store.store import Checkpoint, Store, StoredSweep, now_in_words
from regjax.study import provenance
from regjax.study.questions import NOWHERE, Origin, Questions


@pytest.mark.slow
def test_a_finished_sweep_is_not_trained_again(tmp_path, monkeypatch):
    trained = count_tasks(monkeypatch)
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


@pytest.mark.nightly
@pytest.mark.cpu("an accelerator's chunk holds all rows of a group, and its bits depend on its size")
@pytest.mark.bits
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


@pytest.mark.parametrize("later", ["l1", "val_rmse"])
def test_a_hyperparameter_or_metric_that_came_later_is_off_in_the_rows_that_are_there(
    later, tmp_path, monkeypatch
):
    trained = count_tasks(monkeypatch)
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


def test_load_gives_the_results_without_training(tmp_path, monkeypatch):
    trained = count_tasks(monkeypatch)
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


def test_the_documents_queries_run(tmp_path):
    page = (Path(regjax.__file__).parents[1] / "docs" / "store.md").read_text()
    (block,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    run(tmp_path / "runs.sqlite")
    queries = [query for query in block.split(";\n") if query.strip()]
    assert len(queries) == 3
    with Store(tmp_path / "runs.sqlite") as store:
        for query in queries:
            assert store.query(query)


def test_data_too_large_for_a_cell_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "PART", 1000)
    first = run(tmp_path / "runs.sqlite", grid={"l2": [0]}, seeds=1)
    with Store(tmp_path / "runs.sqlite") as store:
        assert store.query("SELECT max(part) FROM data")[0][0] > 3
    assert_same_table(first, regjax.load(tmp_path / "runs.sqlite"))


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
        KeyError, match="row 0 has no parameters: keep='all', or the sweep that trained it kept none"
    ):
        found.params(0)


def test_which_rows_ran_where_is_said(tmp_path, monkeypatch):
    path = tmp_path / "runs.sqlite"
    run(path, grid={"l2": [0, 1]}, seeds=1)
    real = dict(provenance.versions())
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "versions", lambda: real | {"jaxlib": "99.0"})
        provenance.provenance.cache_clear()
        found = run(path, grid={"l2": [0, 1, 2]}, seeds=1)
    provenance.provenance.cache_clear()
    assert not any("ran on" in note for note in run(grid={"keep_prob": [1, 0.9]}, seeds=1).notes)
    where = found.to_pandas()["provenance"]
    assert ["jaxlib 99.0" in words for words in where] == [False] * 6 + [True] * 3
    assert any(note.startswith("3 networks ran on") and "jaxlib 99.0" in note for note in found.notes)
    with Store(path) as store:
        assert sorted(ran["networks"] for ran in store.overview()[1].provenance) == [3, 6]


QUESTIONS = Questions()


def begun(store, shapes="[[2, 4]]", names=("a", "b"), questions=QUESTIONS, origin=NOWHERE):
    """A sweep of 2 rows that is begun in a store, without training."""
    X, y = points(30, 3, 2)
    labels = np.array(names)[y]
    design = make_design((X, labels), {"num_steps": 4}, {"l2": [0, 1]}, test=(X[:15] + 1, labels[:15]))
    sweep = StoredSweep(design, identities(design), shapes, "all", questions, origin)
    return sweep, *store.begin(sweep, '{"chunk": "2×4"}')


def columns_of(design, row, identity, **changed):
    asked = asked_columns(design)(design.row(row).configuration)
    rest = dict.fromkeys(ROW_COLUMNS[1 + len(asked) :])
    place = design.row(row)
    rest |= {"seed": place.seed, "fold": place.fold, "status": "ok", "seconds": 2.0}
    rest |= {"finished": now_in_words(), "provenance": "{}"} | changed
    return (identity, *asked, *rest.values())


def test_a_sweep_is_begun_once_and_comes_back_with_the_first_shapes(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        questions = Questions(rule="one_se", over=("learning_rate",), baseline={"keep_prob": (1, 0.5)})
        origin = Origin("file.csv", "regjax sweep", "[data]")
        sweep, number, shapes = begun(store, questions=questions, origin=origin)
        assert (number, shapes) == (1, "[[2, 4]]")
        assert begun(store, "[[1, 4]]")[1:] == (1, "[[2, 4]]")  # the process that began it decided
        assert begun(store, names=("c", "d"))[1] == 2
        store.reshape(1, "[[1, 2]]")
        found = store.design_of(1)
        assert (found.rows, found.shapes) == (sweep.rows, "[[1, 2]]")
        assert (found.keep, found.questions, found.origin) == ("all", questions, origin)
        assert list(found.design.classes) == ["a", "b"]
        assert store.query("SELECT count(DISTINCT fingerprint) FROM data") == [(2,)]  # with the test set
        store.end(1)
        (finished,) = store.query("SELECT finished FROM sweeps WHERE id = 1")
        store.end(1)
        assert store.query("SELECT finished FROM sweeps WHERE id = 1") == [finished]


@pytest.mark.parametrize("column", ["data", "test", "asked", "design", "shapes", "splits"])
def test_a_damaged_sweep_is_refused(column, tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        begun(store)
        with store.transaction() as connection:
            connection.execute(f"UPDATE sweeps SET {column} = {column} || ' '")
        with pytest.raises(StoreError, match="sweep 1 is damaged"):
            store.design_of(1)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE data SET arrays = x'00'", "data .* is damaged"),
        ("UPDATE sweep_rows SET identity = 'x' WHERE row = 1", "the rows of sweep 1 are damaged"),
        ("DELETE FROM sweep_rows WHERE row = 1", "the rows of sweep 1 are damaged"),
    ],
)
def test_damaged_data_and_rows_of_a_sweep_are_refused(statement, message, tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        begun(store)
        with store.transaction() as connection:
            connection.execute(statement)
        with pytest.raises(StoreError, match=message):
            store.design_of(1)


def test_rows_and_checkpoints_come_back_and_a_finished_row_has_no_checkpoint_and_no_lease(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        sweep, *_ = begun(store)
        one, other = sweep.rows
        content = pack({"records/train_cost": np.ones(3)})
        points_ = {name: Checkpoint(2, 1.5, "{}", content) for name in sweep.rows}
        assert store.lease(sweep.rows) == {one, other}
        store.write([], points_)
        assert dict(store.checkpoints(sweep.rows)) == points_
        store.write([(columns_of(sweep.design, 0, one, val_loss=0.5), content)], {})
        assert dict(store.checkpoints(sweep.rows)) == {other: points_[other]}
        assert store.query("SELECT identity FROM claims") == [(other,)]
        ((name, row),) = store.read(sweep.rows)
        assert (name, row.diverged_at, row.stopped_at, row.seconds) == (one, -1, -1, 2.0)
        assert row.metrics["val_loss"] == 0.5
        assert row.metrics["test_loss"] is None
        np.testing.assert_array_equal(row.arrays["records/train_cost"], np.ones(3))
        # What another process wrote first stands.
        store.write([(columns_of(sweep.design, 0, one, val_loss=0.7), content)], {})
        assert dict(store.read([one]))[one].metrics["val_loss"] == 0.5
        values, finished, sound = store.metric_of(sweep.rows, "val_loss")
        np.testing.assert_array_equal(values, [0.5, np.nan])
        assert (finished.tolist(), sound.tolist()) == ([True, False],) * 2
        (told,) = store.overview()
        assert (told.num_rows, told.done, told.diverged, told.finished) == (2, 1, 0, None)
        assert told.provenance == [{"networks": 1, "how": "{}"}]
        with store.transaction() as connection:
            connection.execute("UPDATE checkpoints SET step = 3")
        with pytest.raises(StoreError, match=f"row {other} is damaged"):
            list(store.checkpoints(sweep.rows))
        with store.transaction() as connection:
            connection.execute("UPDATE rows SET val_loss = 0.6")
        with pytest.raises(StoreError, match=f"row {one} is damaged"):
            list(store.read(sweep.rows))


def test_sweeps_are_numbered_from_either_end(tmp_path):
    with Store(tmp_path / "s.sqlite") as store:
        with pytest.raises(StoreError, match="must hold a sweep, got none"):
            store.sweep_number()
        begun(store)
        begun(store, names=("c", "d"))
        assert [store.sweep_number(n) for n in (1, 2, -1, -2, "last", "1")] == [1, 2, 2, 1, 2, 1]
        for wrong, message in [
            (3, "sweep must be one of 1, 2, got 3"),
            (-3, "sweep must be one of 1, 2, got -3"),
            ("first", "sweep must be a number or last, got 'first'"),
        ]:
            with pytest.raises(ValueError, match=message):
                store.sweep_number(wrong)
