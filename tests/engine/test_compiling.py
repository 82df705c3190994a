"""Programs of groups: the first group is trained while the next ones are compiled."""

import concurrent.futures
import threading

import pytest

import regjax
from regjax.engine import compiling
from regjax.engine.compiling import Programs


def test_a_group_waits_for_its_own_programs_alone(monkeypatch):
    monkeypatch.setattr(compiling, "programs_of", lambda task, longest: [task])
    go = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        programs = Programs(lambda part, task: pool.submit(part))
        programs.begin(0, [lambda: None], longest=1)
        programs.begin(1, [lambda: go.wait(10)], longest=1)
        programs.wait(0)
        assert programs.are_ready(0)
        assert not programs.are_ready(1)
        assert programs.are_ready(7)  # no rows of it are left, so nothing is compiled
        go.set()
        programs.wait()
        assert programs.are_ready(1)


@pytest.mark.parametrize(("error", "raised"), [(ValueError("odd"), True), (MemoryError("short"), False)])
def test_what_compiling_raises(error, raised, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr(compiling, "programs_of", lambda task, longest: [task])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        programs = Programs(lambda part, task: pool.submit(part))
        programs.begin(0, [fail], longest=1)
        if raised:
            with pytest.raises(ValueError, match="odd"):
                programs.wait(0)
        else:
            programs.wait(0)


@pytest.mark.slow
def test_networks_of_the_first_group_are_done_before_the_last_group_is_compiled(monkeypatch):
    gate = threading.Event()

    def slowly(task, longest):
        held = task.config.activation == "tanh"
        return [lambda task: gate.wait(30)] if held else []

    monkeypatch.setattr(compiling, "programs_of", slowly)
    seen = []

    def report(progress):
        seen.append(progress.done)
        if progress.done >= 2:
            gate.set()

    monkeypatch.setattr("regjax.engine.scheduler.REPORT_SECONDS", 0)
    config, grid = {"num_steps": 2, "hidden": (2,), "metrics": ()}, {"activation": ["relu", "tanh"]}
    results = regjax.sweep("two_regions", config, grid, seeds=2, progress=report, workers=1)
    assert gate.is_set()  # by the first group's two networks; else it had waited for half a minute
    assert (results.records["train_loss"][:, -1] > 0).all()
    assert seen[-1] == 4
