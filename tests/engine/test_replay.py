"""Replay: a row is trained again as it was, and what differs is said."""

import json

import numpy as np
import pytest
from stores import GRID, run

import regjax
from regjax.engine.replay import replay
from regjax.store.codec import pack
from regjax.store.identity import identities
from regjax.store.schema import ROW_COLUMNS
from regjax.store.store import Store
from regjax.study import provenance


@pytest.mark.slow
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


@pytest.mark.nightly
def test_replay_of_a_diverged_row_on_one_split(tmp_path):
    options = {"folds": None, "validation": 0.3, "seeds": 2, "grid": {"learning_rate": [0.1, 1e30]}}
    results = run(tmp_path / "runs.sqlite", **options)
    assert (results.diverged_at >= 0).tolist() == [False, False, True, True]
    for row in range(4):
        again = replay(tmp_path / "runs.sqlite", row)
        assert again.same, str(again)


@pytest.mark.nightly
@pytest.mark.bits
def test_every_row_of_a_mixed_sweep_replays(tmp_path):
    path = tmp_path / "s.sqlite"
    grid = [{"patience": 20}, {"l2": 0.7}, {"ema_decay": 0.9}]
    config = {"num_steps": 60, "eval_every": 10, "hidden": (4,)}
    results = regjax.sweep("two_regions", config, grid, folds=2, store=path, workers=1, progress=False)
    with Store(path, create=False) as store:
        stored = [row for _, row in store.read(store.design_of(1).rows)]
    names = [{name for name in row.arrays if name.startswith("records/")} for row in stored]
    assert sorted("records/stop_loss" in found for found in names) == [False] * 4 + [True] * 2
    assert sorted("records/val_loss_last" in found for found in names) == [False] * 4 + [True] * 2
    assert not any("records/stop_loss_last" in found for found in names)
    for row in range(len(results)):
        again = replay(path, row)
        assert again.same, str(again)
