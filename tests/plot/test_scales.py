"""Where values stand on an axis."""

import numpy as np

from regjax.plot.scales import scale_of


def test_a_narrow_range_is_linear():
    scale = scale_of("learning_rate", [0.1, 0.3, 1.0])
    assert scale.label == "learning_rate"
    assert scale.places == {0.1: 0.1, 0.3: 0.3, 1.0: 1.0}
    assert scale.cut is None
    assert scale.span == 0.9


def test_many_values_have_round_ticks_that_stand_apart():
    scale = scale_of("learning_rate", np.geomspace(1e-3, 10, 50).tolist())
    assert scale.label == "learning_rate (log scale)"
    assert scale.names == ["0.001", "0.01", "0.1", "1", "10"]
    linear = scale_of("momentum", np.linspace(0.5, 0.99, 50).tolist())
    assert min(np.diff(linear.ticks)) >= 0.05 * linear.span
    assert len(scale_of("activation", [f"name {k}" for k in range(100)]).ticks) <= 12


def test_one_value():
    scale = scale_of("l2", [0.1])
    assert (scale.span, scale.names) == (1.0, ["0.1"])
