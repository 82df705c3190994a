"""Schedules: what holds when, JSON to the bit, and changes at records alone."""

import re

import pytest

from regjax.core.config import Config
from regjax.study.schedule import Program, Schedule, check_schedule

CHANGES = (
    (0, {"l2": 0.1 + 0.2, "keep_prob": (0.9, 0.8), "max_norm": float("inf")}),
    (200, {"l2": 1 / 3, "keep_prob": 1.0, "max_norm": 4.0}),
)
UNKNOWN = Schedule(((0, {}),), Program(on=("magic",))).to_json()


def test_what_holds_at_a_step():
    schedule = Schedule(CHANGES)
    assert [schedule.at(step)["max_norm"] for step in (0, 199, 200, 900)] == [float("inf")] * 2 + [4.0] * 2


def test_json_holds_all_of_it():
    # Twelve digits, as configurations have.
    rounded = tuple((step, found | {"l2": float(f"{found['l2']:.12g}")}) for step, found in CHANGES)
    schedule = Schedule(rounded, Program(("keep_prob", "max_norm"), 2, 8, True, "native"))
    assert Schedule.from_json(schedule.to_json()) == schedule


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"changes": [{"step": 0}], "program": {}}', "null", UNKNOWN]
)
def test_text_that_is_no_schedule(text):
    with pytest.raises(ValueError, match="text must be the JSON of a schedule"):
        Schedule.from_json(text)


@pytest.mark.parametrize("steps", [(10,), (0, 15), (0, 40), (0, 20, 10), (0, 10, 10), ()])
def test_changes_are_at_records_before_the_last_step(steps):
    schedule = Schedule(tuple((step, {"l2": 0.1}) for step in steps))
    with pytest.raises(ValueError, match=re.escape("schedule must change at 0 and then at ascending multip")):
        check_schedule(schedule, Config(num_steps=40, eval_every=10))
    with pytest.raises(TypeError, match="schedule must be a"):
        check_schedule([(0, {})], Config())
