import jax
import pytest

import regjax
from regjax.tutorial import showcase


def test_names_are_those_of_the_strengths():
    assert showcase.check_names(" all ") == list(showcase.STRENGTHS)
    assert showcase.check_names("max-norm, l2,max_norm") == ["max_norm", "l2"]
    with pytest.raises(ValueError, match=r"regularisers must be one of l2, .*did you mean max_norm\?"):
        showcase.check_names("l2,max_nrm")


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf")])
def test_bad_rates(rate):
    showcase.check_rate(0)
    with pytest.raises(ValueError, match="learning_rate must be a finite number >= 0"):
        showcase.check_rate(rate)


def test_each_regulariser_stands_beside_none(monkeypatch):
    asked = {}
    monkeypatch.setattr(
        showcase, "sweep", lambda data, config, grid, **options: asked.update(grid=grid, **options)
    )
    train, _ = regjax.two_regions(jax.random.key(0))
    showcase.run_showcase(train, ["l2", "patience", "average_from"], num_steps=50, learning_rate=0.1)
    assert asked["grid"] == [
        {"learning_rate": 0.1},
        {"learning_rate": 0.1, "l2": 0.7},
        {"learning_rate": 0.1, "patience": 5},
        {"learning_rate": 0.1, "average_from": 25},
    ]
    assert (asked["seeds"], asked["validation"]) == (8, 0.3)
