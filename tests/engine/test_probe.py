"""Predictions: what a task takes at all is not multiplied by steps, whatever the lengths of the trials."""

import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import regjax
from regjax.engine import probe
from regjax.engine.probe import Cost, Trial, cost_of, together
from regjax.study.records import num_records

TASK, STEP, RECORD = 0.7, 0.002, 0.05


class Clock:
    """A clock that a task moves on by what it takes, and workers that run at once."""

    now = 0.0

    def submit(self, run, task):
        measured = sum(task.measured) + 1
        self.now += TASK + STEP * (task.ends[-1] if task.ends else 0) + RECORD * measured
        return SimpleNamespace(result=lambda: SimpleNamespace(ends=task.ends))


class Task(SimpleNamespace):
    def _replace(self, **changes):
        return Task(**(vars(self) | changes))


def predicted(monkeypatch, **settings):
    clock, config = Clock(), regjax.Config(**settings)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    trial = Trial(Task(), config, clock, (None,))
    return cost_of(trial, 3, 1.0, lambda run: 0.01), clock.now


@pytest.mark.parametrize(
    ("num_steps", "eval_every"),
    [(1, 1), (7, 100), (100, 10), (1000, 10), (100_000, 50_000), (50_000, 100), (3, 1), (10_000, 1)],
)
def test_steps_and_records_are_told_from_what_a_task_takes(num_steps, eval_every, monkeypatch):
    cost, spent = predicted(monkeypatch, num_steps=num_steps, eval_every=eval_every)
    config = regjax.Config(num_steps=num_steps, eval_every=eval_every)
    expected = STEP * num_steps + RECORD * (num_records(config) - 1)
    assert cost.task == pytest.approx(TASK + RECORD)  # the record of step 0 is in every first task
    assert cost.steps == pytest.approx(expected, rel=0.02)
    assert spent < 40


def test_trials_end_when_they_are_long_enough(monkeypatch):
    monkeypatch.setattr(probe, "TRIAL_SECONDS", 0.001)
    _, spent = predicted(monkeypatch, num_steps=10**6, eval_every=10**6)
    assert spent < 12 * (TASK + 4 * RECORD)


@given(st.lists(st.builds(Cost, st.integers(1, 9), *[st.floats(0, 5)] * 3, st.integers(1, 4)), max_size=4))
def test_more_workers_never_take_longer(costs):
    times = [together(costs, workers, 4) for workers in (1, 2, 3, 4)]
    assert times == sorted(times, reverse=True)
    total = sum(cost.chunks * cost.worker for cost in costs)
    assert times[0] >= total * (1 - 1e-9)
    assert times[-1] >= max((cost.worker for cost in costs), default=0)


def test_chunks_of_one_task_are_taken_in_rounds():
    assert together([Cost(3, 0.5, 0.1, 0.0, 1)], 2, 2) == pytest.approx(1.2)
    assert together([Cost(3, 5.0, 0.1, 0.0, 5)], 2, 2) == pytest.approx(3 * 5.5 / 2)
    assert together([Cost(1000, 0.001, 0.0, 0.01, 1)], 2, 2) == pytest.approx(
        10
    )  # the host is the slower one
