"""What population-based training decides: who is replaced, by whom, and how hyperparameters change."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import loguniform, uniform

from regjax.core.config import Config
from regjax.study.explore import Explore, as_space, check_explore, in_one_program, replaced_by

RNG = np.random.default_rng


@given(
    scores=st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=4, max_size=40),
    quantile=st.floats(0.05, 0.5),
    higher=st.booleans(),
)
def test_the_worst_become_copies_of_the_best(scores, quantile, higher):
    scores = np.array(scores)
    alive = ~np.isnan(scores)
    if not alive.any():
        return
    found = replaced_by(scores, higher, Explore(quantile), RNG(0))
    lost = np.flatnonzero(~alive).tolist()
    assert set(lost) <= set(found)
    assert not set(found) & set(found.values())  # who is copied stays
    assert len(found) >= min(max(1, int(quantile * len(scores))), len(scores) - 1) or alive.sum() == 1
    sign = 1 if higher else -1
    for member, parent in found.items():
        assert np.isnan(scores[member]) or sign * scores[parent] >= sign * scores[member]


def test_a_quarter_is_replaced_and_ties_go_by_number():
    found = replaced_by(np.full(16, 0.5), True, Explore(), RNG(1))
    assert sorted(found) == [12, 13, 14, 15]
    assert set(found.values()) <= {0, 1, 2, 3}


def test_hyperparameters_are_multiplied_inside_their_range():
    space = as_space({"l2": loguniform(0.1, 1), "dropout": uniform(0, 0.5), "learning_rate": 0.3})
    assert space.ranges == {"l2": (0.1, 1.0), "keep_prob": (0.5, 1.0)}
    here = {"l2": 0.5, "keep_prob": 0.8, "learning_rate": 0.3}
    found = [space.perturbed(here, Explore(resample=0), RNG(n)) for n in range(50)]
    assert {c["l2"] for c in found} == {0.4, 0.625}
    assert {c["keep_prob"] for c in found} == {0.84, 0.75}  # the rate 0.2 times 0.8 and 1.25
    assert {c["learning_rate"] for c in found} == {0.3}
    ends = [space.perturbed(here | {"l2": 0.9}, Explore(resample=0), RNG(n))["l2"] for n in range(50)]
    assert set(ends) == {0.72, 1.0}


def test_a_value_of_a_list_goes_to_a_neighbour():
    space = as_space({"max_norm": [4, 1, None, 2]})
    found = {space.perturbed({"max_norm": 2.0}, Explore(resample=0), RNG(n))["max_norm"] for n in range(20)}
    assert found == {1.0, 4.0}
    last = {space.perturbed({"max_norm": np.inf}, Explore(resample=0), RNG(n))["max_norm"] for n in range(20)}
    assert last == {4.0, np.inf}


def test_hyperparameters_are_drawn_anew():
    space = as_space({"l2": loguniform(1e-4, 10), "keep_prob": [0.5, 1]})
    found = [space.perturbed({"l2": 1.0, "keep_prob": 1}, Explore(resample=1), RNG(n)) for n in range(200)]
    logs = np.log10([c["l2"] for c in found])
    assert abs(logs.mean() + 1.5) < 4 * 5 / np.sqrt(12 * 200)  # uniform on [-4, 1]
    assert {c["keep_prob"] for c in found} == {0.5, 1.0}


def test_the_first_population_is_distinct_and_its_seed_decides():
    space = as_space({"l2": loguniform(1e-3, 1), "keep_prob": [0.5, 0.8, 1]})
    drawn = space.draw(16, 3)
    assert len({str(c) for c in drawn}) == 16
    assert drawn == space.draw(16, 3) != space.draw(16, 4)


def test_all_have_one_program():
    config = Config()
    hparams = in_one_program(config, [{"keep_prob": 0.8}, {"keep_prob": 1.0}, {"max_norm": 2.0}])
    assert len({tuple(value is None for value in found) for found in hparams}) == 1
    assert float(hparams[1].keep_prob[0]) == 1
    with pytest.raises(ValueError, match="mixup must be on in all members or in none"):
        in_one_program(config, [{"mixup": 0.2}, {}])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "space must have a distribution or a list of values to explore, got none"),
        ({"l2": 0.1, "keep_prob": [0.8]}, "space must have a distribution or a list"),
        ({"hidden": [(4,), (8,)]}, "hidden is compiled in: give it in config"),
        ({"activation": ["relu", "tanh"]}, "activation is compiled in"),
        ({"patience": [10, 20]}, "patience counts steps or epochs"),
        ({"patience": 10, "l2": [0, 1]}, "patience must be off"),
        ({"average_from": uniform(0, 9)}, "average_from counts steps or epochs"),
        ({"mixup": [0, 0.2], "l2": [0, 1]}, "space must have mixup on in all members or in none"),
        ({"l3": [0, 1]}, "l3"),
        ({"l2": [0, -1]}, "l2 must be a finite number >= 0"),
        ({"l2": uniform(-1, 0.5)}, "l2 must be a finite number >= 0"),
    ],
)
def test_bad_spaces(asked, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        as_space(asked)
    assert "\n" not in str(caught.value)


def test_bad_spaces_by_kind_and_size():
    with pytest.raises(TypeError, match="space must be a mapping"):
        as_space([("l2", 1)])
    with pytest.raises(TypeError, match="distributions must have their parameters"):
        as_space({"l2": loguniform})
    with pytest.raises(ValueError, match="space must have at least 8 points for as many members, got 3"):
        as_space({"l2": [0, 1, 2]}).draw(8, 0)


@pytest.mark.parametrize(
    ("explore", "message"),
    [
        (Explore(quantile=0), "quantile must be in (0, 0.5]"),
        (Explore(quantile=0.6), "quantile must be in (0, 0.5]"),
        (Explore(resample=-0.1), "resample must be in [0, 1]"),
        (Explore(factors=()), "factors must be finite numbers > 0"),
        (Explore(factors=(0, 2)), "factors must be finite numbers > 0"),
    ],
)
def test_bad_rules(explore, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_explore(explore)
    with pytest.raises(TypeError, match="explore must be a"):
        check_explore(0.25)
