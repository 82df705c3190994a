"""A sweep and its store: what is committed stays, and a resumed sweep ends alike to the bit."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from stores import CONFIG, assert_same_table, count_tasks, integrity, run, stop_after
from sweeps import assert_same

import regjax
from regjax.engine import checkpoints, lanes, pace, scheduler, tasks
from regjax.engine.checkpoints import Checkpoints
from regjax.store.identity import identities
from regjax.store.schema import ROW_COLUMNS
from regjax.store.store import Store
from regjax.study import groups, provenance
from regjax.study.plan import make_plan
from regjax.study.questions import NOWHERE, Questions
from regjax.study.resolve import make_design


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [pytest.param("sgd", marks=pytest.mark.slow), "adamw"])
@pytest.mark.bits
def test_an_interrupted_sweep_goes_on_where_it_was(optimizer, tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)  # a record per task
    config = CONFIG | {"optimizer": optimizer, "batch_size": 16}
    grid = {"l2": [0, 0.01, 0.1, 0.3, 1, 3], "keep_prob": 0.9, "learning_rate": 0.05}
    plain = run(config=config, grid=grid)
    path = tmp_path / "runs.sqlite"
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    for moment in (2, 4, 7, 3):
        with pytest.raises(KeyboardInterrupt):
            run(path, config=config, grid=grid, progress=stop_after(moment))
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


@pytest.mark.slow
def test_a_sweep_that_is_not_finished_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)

    def stop(progress):
        if progress.phase == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "runs.sqlite", progress=stop)
    with pytest.raises(ValueError, match="of 72 networks; `regjax resume` goes on with it"):
        regjax.load(tmp_path / "runs.sqlite")


@pytest.mark.slow
@pytest.mark.cpu("an accelerator's chunk holds all rows of a group, and its bits depend on its size")
def test_out_of_memory_is_remembered(tmp_path, monkeypatch):
    path, grid = tmp_path / "runs.sqlite", {"l2": [0, 0.1, 1, 2, 3]}
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
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


@pytest.mark.slow
def test_what_another_process_trains_is_waited_for_and_taken_from_the_store(tmp_path, monkeypatch):
    trained = count_tasks(monkeypatch)
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


@pytest.mark.cpu("an accelerator's chunk holds all rows of a group, so that none wait")
@pytest.mark.nightly
def test_rows_that_wait_are_shared_with_a_process_that_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
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


@pytest.mark.nightly
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_threads_are_at_work_loses_nothing_that_was_committed(times, tmp_path):
    path = tmp_path / "s.sqlite"
    command = [sys.executable, "-c", "from regjax.__main__ import main; main()", "sweep", "--store", path]
    command += ["--steps", "30000", "--seeds", "4", "--folds", "2", "--out", tmp_path / "o"]
    environment = dict(os.environ)
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


@pytest.mark.nightly
@pytest.mark.bits  # half of the rows come from the command line, which compiles as for users
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


def test_a_row_that_was_begun_elsewhere_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    path, grid, seen = tmp_path / "runs.sqlite", {"l2": [0, 1]}, []

    def stop(progress):
        seen.append(progress)
        if progress.phase == "train" and progress.fraction > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="0 of 12 networks are done"):
        run(path, grid=grid, progress=stop)
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "processor", lambda: "another processor")
        provenance.provenance.cache_clear()
        found = run(path, grid=grid)
    provenance.provenance.cache_clear()
    for how in map(json.loads, found.provenance):
        assert how["processor"] == "another processor"
        assert how["before"]["processor"] not in ("", "another processor")
        assert how["from_step"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("plain_ctrl_c")
def test_ctrl_c_inside_a_commit_waits_for_its_end(tmp_path, monkeypatch):
    path = tmp_path / "runs.sqlite"
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
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
        # Every row that has begun has a checkpoint.
        ((points_,),) = store.query("SELECT count(*) FROM checkpoints")
        assert 0 < done < 72
        assert points_ > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert_same_table(run(), run(path))


@pytest.mark.slow
def test_another_error_keeps_what_was_trained_too(tmp_path, monkeypatch):
    path = tmp_path / "runs.sqlite"
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
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


@pytest.mark.nightly
@pytest.mark.cpu("an accelerator's chunk holds all rows of a group, and its bits depend on its size")
@pytest.mark.bits
def test_a_larger_grid_goes_on_with_what_was_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)
    monkeypatch.setattr(scheduler, "REPORT_SECONDS", 0)
    path, grid = tmp_path / "runs.sqlite", {"keep_prob": [0.9, 0.8, 0.7], "learning_rate": 0.1}
    monkeypatch.setattr(groups, "FEW_ROWS", 0)  # else each has a chunk of its own

    def stop(progress):
        if progress.fraction > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, grid=grid, progress=stop, workers=1)  # in turn, so that all chunks stand at the same step
    # Four configurations share their bits, three do not: another kind of chunk, of the same size.
    larger, starts = grid | {"keep_prob": [0.9, 0.8, 0.7, 0.6]}, []
    real = lanes.run_task
    monkeypatch.setattr(scheduler, "run_task", lambda task: starts.append(task.start) or real(task))
    found = run(path, grid=larger)
    assert max(starts.count(start) for start in (10, 20, 30)) > starts.count(0)
    monkeypatch.setattr(scheduler, "run_task", real)
    assert_same_table(run(grid=larger), found)


@pytest.mark.cpu("it names the shape of a CPU's chunk")
def test_provenance_is_of_the_chunk_that_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)

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


def test_where_the_kernel_is_not_at_hand_xla_has_shapes_of_its_own(tmp_path, monkeypatch):
    design = make_design("two_regions", CONFIG, {"l2": [0, 1]}, seeds=3)
    plan = make_plan(design)
    native = dataclasses.replace(
        plan, groups=tuple(group._replace(slots=1, lanes=3, kernel="native") for group in plan.groups)
    )
    monkeypatch.setattr(tasks, "is_native", lambda group: False)
    with Store(tmp_path / "runs.sqlite") as store:
        Checkpoints.begin(store, design, native, Questions(), NOWHERE)
        _, resumed = Checkpoints.begin(store, design, plan, Questions(), NOWHERE)
        assert resumed.groups == plan.groups
        assert resumed.notes[-1].startswith("begun by the native kernel, which is not at hand here")
        monkeypatch.setattr(tasks, "is_native", lambda group: group.kernel == "native")
        _, resumed = Checkpoints.begin(store, design, plan, Questions(), NOWHERE)
        assert resumed.groups == native.groups
