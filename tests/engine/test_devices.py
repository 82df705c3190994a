"""The GPU computes what the CPU does; and how `benchmarks.agreement`, which holds it to that, measures."""

import jax
import numpy as np
import pytest

from benchmarks import agreement
from benchmarks.agreement import Difference, difference, relative_difference
from regjax.core import random

pytestmark = pytest.mark.bits


@pytest.fixture
def cpu_and_gpu():
    """The CPU and the GPU; skips the test where JAX has no GPU: there is then nothing to compare."""
    cpu, other = agreement.devices()
    if other.platform != "gpu":
        pytest.skip("compares the GPU with the CPU: JAX has no GPU here")
    return cpu, other


def test_draws_are_the_same_on_both_devices(cpu_and_gpu):
    for finding in agreement.compare_draws(*cpu_and_gpu, seeds=2):
        assert finding.holds is not False, finding


def test_initial_weights_are_the_same_on_both_devices(cpu_and_gpu):
    for finding in agreement.compare_weights(*cpu_and_gpu, seeds=1):
        assert finding.holds, finding


def test_float64_training_is_the_same_on_both_devices(cpu_and_gpu):
    for finding in agreement.compare_training(*cpu_and_gpu, steps=100):
        assert finding.holds is not False, finding


def test_every_place_of_a_draw_is_compared():
    names = " ".join(jax.eval_shape(agreement.draws, 0) | jax.eval_shape(agreement.factors, 0))
    places = {name for name in vars(random) if name.isupper() and name != "MAX_SEED"}
    assert places - {"INIT"} == set(names.replace(":", "").replace(",", "").split()) & places


def test_differences_are_counted_in_representable_numbers():
    for dtype in (np.float32, np.float64):
        a = np.array([1.0, -1.0, 0.0, 3.0, -np.inf], dtype)
        assert difference(a, a.copy()) == Difference(0, 5, 0)
        assert difference(a, np.nextafter(a, dtype(np.inf))) == Difference(5, 5, 1)
        tiny = np.nextafter(dtype(0), dtype(1))
        assert difference(np.array([tiny, 0.0], dtype), np.array([-tiny, -0.0], dtype)) == Difference(1, 2, 2)
        assert difference(dtype(np.inf), dtype(-np.inf)).ulps > 2**31
    assert difference([np.array([True, False]), np.uint8(7)], [np.array([True, True]), np.uint8(4)]) == (
        2,
        3,
        3,
    )
    with pytest.raises(ValueError, match=r"b must be float32 \(2,\) as a is, got float64 \(2,\)"):
        difference(np.zeros(2, np.float32), np.zeros(2))
    assert relative_difference((np.ones(2), np.full(3, 4.0)), (np.ones(2), np.full(3, 5.0))) == pytest.approx(
        0.2
    )
    assert np.isnan(relative_difference((np.ones(2), np.array([np.nan])), (np.ones(2), np.ones(1))))


def test_one_ulp_in_an_initial_weight_is_found(monkeypatch, capsys):
    """`other` stands for a device that rounds one weight of one init its own way."""

    def initial_weights(device, init, seeds):
        w = np.full((seeds, 3, 2), 0.7, np.float32)
        w[0, 0, 0] += (device == "other" and init == "he") * np.spacing(w[0, 0, 0])
        return w

    monkeypatch.setattr(agreement, "initial_weights", initial_weights)
    found = {finding.what: finding for finding in agreement.compare_weights("one", "other")}
    assert [name for name, finding in found.items() if not finding.holds] == ["he"]
    assert found["he"].found == "1 of 48 differ, by up to 1 ulp"
    assert found["glorot"].found == "equal, 48 numbers"
    monkeypatch.setattr(agreement, "compare", lambda parts, quick: iter(found.values()))
    assert agreement.main([]) == 1
    out = capsys.readouterr().out
    assert out.count("BROKEN") == 1
    assert "1 of 5 comparisons that must hold are broken" in out
    del found["he"]
    assert agreement.main([]) == 0
