"""Budgets, ways to search, and the race of a search as JSON."""

import json
import re
import types

import numpy as np
import pytest

from regjax.study.halving import Arena
from regjax.study.tuned import Budget, Race, Rung, Search, Tuned, as_bits


@pytest.mark.parametrize(
    ("given", "amount", "unit"),
    [
        ("15s", 15, "seconds"), ("10m", 600, "seconds"), ("2 h", 7200, "seconds"), (2.5, 2.5, "seconds"),
        ("500 networks", 500, "networks"), ("1 network", 1, "networks"), ("5e7 steps", 5e7, "steps"),
    ],
)  # fmt: skip
def test_a_budget_is_seconds_networks_or_steps(given, amount, unit):
    assert Budget.of(given) == (amount, unit)


@pytest.mark.parametrize("given", ["0s", "0 networks", "0.5 networks", 0, "0.1 steps", -1.0, "1e999s"])
def test_a_budget_below_one_network_is_refused(given):
    with pytest.raises(ValueError, match="budget must be"):
        Budget.of(given)


@pytest.mark.parametrize(
    "given", ["", "s", "15 parsecs", "fast", None, True, [], "1.2.3s", "nan", float("nan")]
)
def test_other_budgets_are_refused(given):
    with pytest.raises(
        ValueError, match=re.escape("budget must be like 15s, 10m, 500 networks or 5e7 steps")
    ):
        Budget.of(given)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"finalists": 0}, ValueError), ({"reduction": 1}, ValueError), ({"rungs": -1}, ValueError),
        ({"outer": 1}, ValueError), ({"seed": -1}, ValueError), ({"resource": "time"}, ValueError),
        ({"hyperband": 1}, TypeError), ({"finalists": 1.5}, TypeError),
    ],
)  # fmt: skip
def test_bad_ways_to_search_are_refused(fields, error):
    with pytest.raises(error, match=next(iter(fields))):
        Search(**fields)


def test_a_race_comes_back_from_json():
    arenas = (Arena("candidates", (0, 1, 2), (0, 1), (2, 1)), Arena("baseline", (3,), (0, 1), (1, 1), 2))
    samples = np.array([0, 3, 9]), np.array([1, 10])
    race = Race(
        {"budget": "15s"}, "search", "val_accuracy", (10, 30), arenas, 3, (0, 1), "nested",
        ((as_bits(samples[0], 11), as_bits(samples[1], 11)),), 3, "steps", "",
    )  # fmt: skip
    again = Race.from_json(json.loads(json.dumps(race.as_json())))
    assert again == race
    for found, given in zip(again.pairs(11)[0], samples, strict=True):
        np.testing.assert_array_equal(found, given)


def test_large_scores_of_rungs_do_not_run_into_each_other():
    rung = Rung(5, 18, 6, 0, -6.5414, -84224.8635)
    lines = Tuned.rungs_in_words(types.SimpleNamespace(rungs=(rung,))).splitlines()
    assert lines[1].split() == ["5", "18", "6", "0", "-6.5414", "-84224.8635"]
