"""Population-based training: lineage, replay to the bit, members that diverge, and bad input."""

import doctest
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.stats import loguniform, uniform

import regjax
from regjax.engine import pace
from regjax.engine.population import population, train_schedule
from regjax.engine.sweep import run
from regjax.study.explore import Explore
from regjax.study.resolve import make_design
from regjax.study.schedule import Schedule

CONFIG = {"hidden": (5,), "num_steps": 60, "eval_every": 10}
SPACE = {"l2": loguniform(1e-3, 10), "dropout": uniform(0, 0.5), "learning_rate": loguniform(0.05, 3)}
ASKED = {"size": 8, "every": 20, "folds": 2, "seeds": 2, "progress": False}
OPTIONS = {"folds": 2, "seeds": 2, "progress": False}


@pytest.fixture(scope="module")
def found():
    return population("two_regions", CONFIG, SPACE, **ASKED)


def assert_same(one, other):
    for a, b in zip(one.generations, other.generations, strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)
        assert (a.step, a.parents, a.configurations) == (b.step, b.parents, b.configurations)
    for name, values in one.records.items():
        np.testing.assert_array_equal(values, other.records[name])
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.parametrize(
    "config", [{}, pytest.param({"batch_size": 20, "optimizer": "adam"}, marks=pytest.mark.slow)]
)
def test_a_schedule_is_trained_again_to_the_bit(config):
    # Diverged, copied, changed: all of it is in the schedule.
    space = SPACE | {"learning_rate": loguniform(0.01, 1e6 if not config else 0.3), "ema_decay": [0.5, 0.9]}
    config = CONFIG | config
    found = population("two_regions", config, space, **ASKED)
    per = found.design.num_replicates
    assert any(g.parents != tuple(range(8)) for g in found.generations)
    for member in (found.best, *np.argsort(np.nan_to_num(found.generations[-1].scores))[-3:].tolist()):
        schedule = Schedule.from_json(found.schedule(member).to_json())
        again = train_schedule("two_regions", config, schedule, **OPTIONS)
        for replicate in range(per):
            row = member * per + replicate
            jax.tree.map(np.testing.assert_array_equal, again.kept[replicate], found.params[row])
            for name, values in found.records.items():
                np.testing.assert_array_equal(again.records[name][replicate], values[row])
    assert "trained by a schedule of" in again.notes[-1]


@pytest.mark.nightly
@pytest.mark.bits
def test_no_bit_depends_on_workers_or_tasks(monkeypatch):
    found = population("two_regions", CONFIG, SPACE, workers=1, **ASKED)
    assert_same(found, population("two_regions", CONFIG, SPACE, workers=3, **ASKED))
    monkeypatch.setattr(pace, "TASK_SECONDS", 1e-9)  # a task to each record
    assert_same(found, population("two_regions", CONFIG, SPACE, workers=2, **ASKED))
    other = population("two_regions", CONFIG, SPACE, seed=1, **ASKED)
    assert other.design.configurations != found.design.configurations


@pytest.mark.slow
@pytest.mark.bits
def test_members_that_are_never_replaced_are_rows_of_a_sweep():
    found = population("two_regions", CONFIG, SPACE, **ASKED)
    stayed = [m for m in range(8) if len(found.schedule(m).changes) == 1 and found.ancestors(m) == (m,) * 3]
    assert 0 < len(stayed) < 8
    full = run(found.design)
    for member in stayed:
        for row in range(4 * member, 4 * member + 4):
            for name, values in full.records.items():
                np.testing.assert_array_equal(values[row], found.records[name][row])


@pytest.mark.nightly
def test_the_lineage_says_where_a_network_was(found):
    for member in range(8):
        way, schedule = found.ancestors(member), found.schedule(member)
        assert way[-1] == member
        used = [found.design.configurations, *(g.configurations for g in found.generations[:-1])]
        for segment, ancestor in enumerate(way):
            assert schedule.at(20 * segment) == used[segment][ancestor]
        # The records of a network are those of its ancestors.
        for segment, ancestor in enumerate(way):
            scores = found.records["val_accuracy"][4 * member : 4 * member + 4, 2 * (segment + 1)]
            expected = found.generations[segment].scores[ancestor]
            assert float(scores.astype(np.float64).mean()) == expected
    for generation in found.generations:
        worst = [m for m, parent in enumerate(generation.parents) if parent != m]
        if generation.step < 60:
            assert len(worst) == 2
            kept = np.setdiff1d(np.arange(8), worst)
            assert generation.scores[worst].max() <= generation.scores[kept].min()
        for member in set(range(8)) - set(worst):
            before = [g for g in found.generations if g.step < generation.step]
            configurations = before[-1].configurations if before else found.design.configurations
            assert generation.configurations[member] == configurations[member]
    assert found.generations[-1].parents == tuple(range(8))


@pytest.mark.slow
def test_what_a_population_says(found):
    table = found.summary()
    assert table["member"].tolist() == list(range(8))
    assert found.best == table["val_accuracy"].argmax()
    assert {"l2", "keep_prob", "learning_rate", "descends_from", "changes", "val_loss"} <= set(table)
    assert not any(name.startswith("test_") for name in table)
    said = str(found)
    assert "optimistic" in said
    assert "its test_accuracy is of samples that no selection has seen" in said
    stored = json.loads(found.to_json())
    assert len(stored["schedules"]) == 8
    assert Schedule.from_json(json.dumps(stored["schedules"][3])) == found.schedule(3)
    assert repr(found) == "<regjax.Population: 8 members over 2 folds × 2 seeds, 3 segments>"
    without = population("two_regions", CONFIG, SPACE, **(ASKED | {"test": "none", "seeds": 1}))
    assert "hold some out with test=0.2" in str(without)
    with pytest.raises(ValueError, match="member must be in 0 to 7"):
        found.ancestors(8)
    with pytest.raises(ValueError, match="metric must be one of"):
        found.mean("val_magic")


@pytest.mark.slow
def test_members_that_diverge_are_replaced_whatever_the_quantile():
    space = {"learning_rate": loguniform(1e-2, 1e12), "l2": [0.1, 1]}
    found = population("two_regions", CONFIG, space, **(ASKED | {"size": 12}))
    first = found.generations[0]
    lost = np.flatnonzero(np.isnan(first.scores))
    assert 3 < len(lost) < 12
    assert all(not np.isnan(first.scores[first.parents[member]]) for member in range(12))
    assert np.isfinite(found.generations[-1].scores[found.best])


@pytest.mark.slow
def test_one_split_and_a_loss_that_is_minimised():
    found = population(
        "two_regions", CONFIG, SPACE, size=4, metric="val_loss", validation=0.3, progress=False
    )
    assert [generation.step for generation in found.generations] == [10, 20, 30, 40, 50, 60]
    assert found.best == np.argmin(found.mean("val_loss"))


@pytest.mark.nightly
def test_a_schedule_of_one_configuration_is_a_sweep():
    schedule = Schedule(((0, {"l2": 0.1, "learning_rate": 0.5}), (20, {"l2": 0.1, "learning_rate": 0.5})))
    found = train_schedule("two_regions", CONFIG, schedule, **OPTIONS)
    full = run(make_design("two_regions", CONFIG, [{"l2": 0.1, "learning_rate": 0.5}], folds=2, seeds=2))
    np.testing.assert_allclose(found.table("val_loss"), full.table("val_loss"), rtol=1e-5)
    X = np.zeros((3, 2))
    assert found.predict(0, X, ensemble=True).shape == (3,)


def test_nothing_is_copied_between_folds(monkeypatch):
    """The samples of a fold, changed beyond recognition, change no weight that is scored on them."""
    design = make_design("two_regions", CONFIG, None, folds=2)
    X, y = design.data.x.T, design.data.y[0]
    folds = [(np.flatnonzero(t > 0), np.flatnonzero(v > 0)) for t, v in zip(*design.splits[:2], strict=True)]
    seen = population((X, y), CONFIG, SPACE, **(ASKED | {"folds": folds, "seeds": 1, "every": 50}))
    other = X.copy()
    other[folds[0][1]] += 1e-6 * np.arange(len(folds[0][1]))[:, None]
    again = population((other, y), CONFIG, SPACE, **(ASKED | {"folds": folds, "seeds": 1, "every": 50}))
    assert [g.parents for g in seen.generations] == [g.parents for g in again.generations]
    for row in range(0, 16, 2):
        jax.tree.map(np.testing.assert_array_equal, seen.params[row], again.params[row])


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        (SPACE, {"size": 3}, "size must be at least 4, got 3"),
        (SPACE, {"every": 15}, "every must be a multiple of eval_every, 10, below num_steps, 60, got 15"),
        (SPACE, {"every": 60}, "every must be a multiple of eval_every"),
        (SPACE, {"every": 0}, "every must be"),
        (SPACE, {"folds": None}, "population must have samples held out from training"),
        (SPACE, {"pairing": "independent"}, "pairing must be paired"),
        (SPACE, {"explore": Explore(quantile=0.9)}, "quantile must be in (0, 0.5]"),
        (SPACE, {"metric": "test_accuracy"}, "metric must be one of"),
        (SPACE, {"seed": -1}, "seed must be"),
        ({"l2": 0.1}, {}, "space must have a distribution"),
        (
            {"learning_rate": loguniform(1e10, 1e12)},
            {},
            "members must not all diverge, and by step 20 each of 8 has a network that did",
        ),
    ],
)
def test_bad_input_is_one_line(space, options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        population("two_regions", CONFIG, space, **(ASKED | options))
    assert "\n" not in str(caught.value)


def test_what_ends_a_run_early_is_refused():
    config = CONFIG | {"stop_on": "loss", "batch_size": 20}
    with pytest.raises(ValueError, match="stop_on must be off"):
        population("two_regions", config, SPACE, **ASKED)


def test_bad_schedules():
    for schedule in (None, [(0, {})], Schedule(())):
        with pytest.raises(TypeError, match="schedule must be a"):
            train_schedule("two_regions", CONFIG, schedule, **OPTIONS)
    with pytest.raises(ValueError, match="schedule must change at 0"):
        train_schedule("two_regions", CONFIG, Schedule(((5, {"l2": 1.0}),)), **OPTIONS)
    changes = ((0, {"mixup": 0.2}), (20, {}))
    with pytest.raises(ValueError, match="mixup must be on in all members or in none"):
        train_schedule("two_regions", CONFIG, Schedule(changes), **OPTIONS)
    assert regjax.Schedule is Schedule


@pytest.mark.nightly
def test_the_page_runs():
    page = Path(regjax.__file__).parents[1] / "docs" / "population.md"
    failed, attempted = doctest.testfile(str(page), module_relative=False)
    assert failed == 0
    assert attempted >= 12
