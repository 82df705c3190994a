"""The GPU computes what the CPU does; and how `benchmarks.agreement`, which holds it to that, measures."""

import importlib

import jax
import numpy as np
import pytest
from sweeps import assert_same

import regjax
from benchmarks import agreement
from benchmarks.agreement import Difference, difference, relative_difference
from regjax.core import mlp, random
from regjax.core.checks import is_traced
from regjax.core.mlp import init_params
from regjax.engine import lanes


@pytest.fixture
def cpu_and_gpu():
    """The CPU and the GPU; skips the test where JAX has no GPU: there is then nothing to compare."""
    cpu, other = agreement.devices()
    if other.platform != "gpu":
        pytest.skip("compares the GPU with the CPU: JAX has no GPU here")
    return cpu, other


@pytest.mark.bits
def test_draws_are_the_same_on_both_devices(cpu_and_gpu):
    for finding in agreement.compare_draws(*cpu_and_gpu, seeds=2):
        assert finding.holds is not False, finding


@pytest.mark.bits
def test_initial_weights_are_the_same_on_both_devices(cpu_and_gpu):
    for finding in agreement.compare_weights(*cpu_and_gpu, seeds=1):
        assert finding.holds is not False, finding


@pytest.mark.bits
def test_float64_training_is_the_same_on_both_devices(cpu_and_gpu):
    for finding in agreement.compare_training(*cpu_and_gpu, steps=100):
        assert finding.holds is not False, finding


@pytest.mark.nightly
@pytest.mark.parametrize(
    "dtype", [pytest.param("float32", marks=[pytest.mark.bits, pytest.mark.slow]), "float64"]
)
def test_initial_weights_drawn_on_the_cpu_are_those_drawn_in_place(monkeypatch, dtype):
    """The way of a GPU, on the CPU: eager, inside of a traced function, by make_train and by a sweep."""
    config = regjax.Config(layer_sizes=(2, 3, 1), num_steps=20, eval_every=20, dtype=dtype, metrics=())
    key, train = random.replicate_key(5), regjax.two_regions(jax.random.key(0))[0]
    drawn = {mlp: 0, lanes: 0}

    def draw():
        params = init_params(key, config.layer_sizes, dtype=dtype)
        traced = jax.jit(lambda scale: scale * init_params(key, (2, 3, 1))[0].w)(1.0)
        fitted = regjax.make_train(config)(key, regjax.HParams(l2=0.1), train)
        return (params, traced, fitted), regjax.sweep(
            train, config, {"l2": [0, 0.1]}, seeds=2, progress=False
        )

    def counting(module):
        def on_cpu(draw, *arguments):
            drawn[module] += 1
            return random.on_cpu(draw, *arguments)

        return on_cpu

    in_place, results = draw()
    for module in (mlp, importlib.import_module("regjax.core.train"), lanes):
        monkeypatch.setattr(module, "is_drawn_on_cpu", lambda key: not is_traced(key))
    for module in drawn:
        monkeypatch.setattr(module, "on_cpu", counting(module))
    monkeypatch.setattr(lanes, "MOST_ON_HOST", 0)  # as of very many weights; NumPy draws few
    found, other = draw()
    assert drawn[mlp] == 3
    assert drawn[lanes] >= 1
    jax.tree.map(np.testing.assert_array_equal, found, in_place)
    assert_same(other, results)


def test_every_place_of_a_draw_is_compared():
    names = " ".join(jax.eval_shape(agreement.draws, 0) | jax.eval_shape(agreement.factors, 0))
    places = {name for name in vars(random) if name.isupper() and name not in ("MAX_SEED", "GENERATOR")}
    drawn_on_cpu = {"INIT", "EMBEDDING", "MEMBERS"}  # whatever the device
    assert places - drawn_on_cpu == set(names.replace(":", "").replace(",", "").split()) & places


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

    def initial_weights(device, init, seeds, compiled):
        w = np.full((seeds, 3, 2), 0.7, np.float32)
        w[0, 0, 0] += (device == "other" and init == "he" and not compiled) * np.spacing(w[0, 0, 0])
        return w

    monkeypatch.setattr(agreement, "initial_weights", initial_weights)
    found = {finding.what: finding for finding in agreement.compare_weights("one", "other")}
    assert [name for name, finding in found.items() if finding.holds is False] == ["he"]
    assert found["he"].found == "1 of 48 differ, by up to 1 ulp"
    assert found["glorot"].found == "equal, 48 numbers"
    monkeypatch.setattr(agreement, "compare", lambda parts, quick: iter(found.values()))
    assert agreement.main([]) == 1
    out = capsys.readouterr().out
    assert out.count("BROKEN") == 1
    assert "1 of 5 comparisons that must hold are broken" in out
    del found["he"]
    assert agreement.main([]) == 0


def test_where_jax_has_no_cpu_the_device_draws(monkeypatch):
    def none_there(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", none_there)
    assert random.on_cpu(lambda a, b: (a, b), 1, 2) == (1, 2)
