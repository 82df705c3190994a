"""The forms that an accelerator's compiler gets: the same numbers, and on a CPU the same program."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core import blocks, members, mlp
from regjax.core.activations import ACTIVATIONS
from regjax.core.data import Data
from regjax.core.hparams import check_hparams
from regjax.core.platforms import activate, apart, jit_with
from regjax.core.train import init_state, run_segment

PLAIN = {"layer_sizes": (5, 8, 8, 2)}
BLOCKS = {**PLAIN, "norm": "layer", "residual": True, "members": 2}


@pytest.fixture
def beside_a_gpu(monkeypatch):
    """The process has an accelerator, as far as what is traced can tell."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def steps(values):
    """Returns a function of a key that trains three lanes for some steps, and the key."""
    config = regjax.Config(**values)
    key = regjax.replicate_key(0)
    x = jax.random.normal(key, (5, 64))
    data = Data(x, (x[:1] > 0).astype(jnp.int32), jnp.ones(64))
    hparams = check_hparams(config, regjax.HParams(learning_rate=0.1, l2=0.1))

    def train(key):
        def one(key):
            state = init_state(key, hparams, config=config, data=data)
            return run_segment(key, state, hparams, data, 0, 10, config=config).params

        return jax.vmap(one)(jax.random.split(key, 3))

    return train, key


def instructions(text):
    """Returns a compiled program without what names its source, and with its values numbered."""
    text = re.sub(r"(, metadata|, frontend_attributes)=\{[^}]*\}", "", text)
    numbers = {}
    return re.sub(r"%[\w.\-]+", lambda name: numbers.setdefault(name[0], f"%{len(numbers)}"), text)


@pytest.mark.bits
@pytest.mark.cpu("a GPU gets another program")
@pytest.mark.parametrize("values", [PLAIN, BLOCKS])
def test_a_cpu_gets_the_program_that_it_had_without_them(values, beside_a_gpu, monkeypatch):
    def compiled():
        train, key = steps(values)
        body = jax.jit(train).lower(key).compile().as_text()
        assert body is not None
        return instructions(body[body.index("%") :])

    with_them = compiled()
    for module in (mlp, blocks):
        monkeypatch.setattr(module, "activate", lambda name, z: ACTIVATIONS[name].f(z))
    for module in (mlp, members):
        monkeypatch.setattr(module, "apart", lambda product: product)
    assert with_them == compiled()


@pytest.mark.parametrize("values", [PLAIN, BLOCKS])
def test_a_gpu_gets_a_maximum_and_products_apart(values, beside_a_gpu):
    train, key = steps(values)
    gpu, cpu = (
        jax.jit(train).trace(key).lower(lowering_platforms=(name,)).as_text() for name in ("cuda", "cpu")
    )
    assert gpu.count("stablehlo.optimization_barrier") >= 3  # one for each layer of weights
    assert "stablehlo.optimization_barrier" not in cpu
    assert gpu.count("stablehlo.maximum") > cpu.count("stablehlo.maximum")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_values_and_derivatives_are_those_of_the_activation(activation, beside_a_gpu):
    z = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0])
    f = ACTIVATIONS[activation].f

    def of(f):
        through = jax.grad(lambda z: jnp.sum(apart(f(z)) ** 2))
        return f(z), through(z), jax.jvp(through, (z,), (jnp.ones_like(z),))[1]

    for found, expected in zip(of(lambda z: activate(activation, z)), of(f), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("platform", ["cpu", "default"])
def test_either_form_of_relu_has_its_derivative(platform, beside_a_gpu, monkeypatch):
    """The form for an accelerator, run on whatever is at hand: 0 at the kink, as the hand-derived one."""
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda z, **forms: forms[platform](z))
    z = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0, jnp.inf])
    pair = ACTIVATIONS["relu"]
    found = activate("relu", z)
    np.testing.assert_array_equal(found, pair.f(z))
    slope = jax.vmap(jax.grad(lambda z: activate("relu", z)))(z)
    np.testing.assert_array_equal(slope, pair.derivative(z, found))


@pytest.mark.cpu("a GPU's program has them")
def test_where_a_cpu_is_alone_nothing_is_traced_for_another():
    train, key = steps(PLAIN)
    assert "platform_index" not in str(jax.make_jaxpr(train)(key))


@pytest.mark.cpu("a GPU's compiler is given none of these options")
def test_a_function_is_compiled_without_options_that_the_compiler_lacks():
    known = jit_with({"xla_backend_optimization_level": 0}, lambda x: 2 * x, static_argnames=())
    lacking = jit_with({"no_such_option_of_xla": True}, lambda x: 2 * x)
    assert known(1.0) == lacking(1.0) == 2
    with pytest.raises(Exception, match="no_such_option_of_xla"):
        jax.jit(lambda x: x, compiler_options={"no_such_option_of_xla": True})(1.0)
