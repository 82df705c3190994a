import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import regjax
from regjax.core.data import check_data
from regjax.core.hparams import HParams, check_hparams
from regjax.core.optimizers import learning_rate_at
from regjax.core.train import init_state, run_segment

KEY = regjax.replicate_key(4)
SMALL = regjax.Config(layer_sizes=(2, 6, 3, 1), num_steps=40, eval_every=10)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("sgd", optax.sgd(0.05)),
        ("momentum", optax.sgd(0.05, momentum=0.8)),
        ("nesterov", optax.sgd(0.05, momentum=0.8, nesterov=True)),
        ("adam", optax.adam(0.05, 0.8, 0.95, 1e-6)),
        (
            "adamw",
            optax.adamw(
                0.05,
                0.8,
                0.95,
                1e-6,
                weight_decay=0.3,
                mask=lambda p: jax.tree.map(lambda a: a.shape[1] > 1, p),
            ),
        ),
    ],
)
def test_optimizers_are_optax_with_traced_values(name, optimizer, x64):
    config = dataclasses.replace(
        SMALL, layer_sizes=(2, 6, 2, 1), optimizer=name, num_steps=10, dtype="float64"
    )
    data, _ = regjax.two_regions(jax.random.key(0))
    hparams = check_hparams(
        config, regjax.HParams(0.05, momentum=0.8, b1=0.8, b2=0.95, eps=1e-6, weight_decay=0.3)
    )
    samples = jax.tree.map(jnp.asarray, check_data(config, data))
    params = regjax.init_params(KEY, config.layer_sizes, dtype="float64")
    ours = init_state(KEY, hparams, config=config, params=params)
    ours = jax.jit(functools.partial(run_segment, config=config))(KEY, ours, hparams, samples, 0, 10)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        grads = jax.grad(lambda p: regjax.cost(p, hparams, samples, config=config))(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(10):
        params, state = step(params, state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-12), ours.params, params)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential"])
@pytest.mark.parametrize("warmup", [0, 5])
def test_schedules_are_optaxs(schedule, warmup):
    config = regjax.Config(schedule=schedule, warmup_steps=warmup, decay_steps=40)
    hparams = check_hparams(config, HParams(0.3, end_fraction=0.1, decay_rate=0.5))
    if schedule == "cosine":
        after = optax.cosine_decay_schedule(0.3, 40 - warmup, alpha=0.1)
    elif schedule == "exponential":
        after = optax.exponential_decay(0.3, 40, 0.5)
    else:
        after = optax.constant_schedule(0.3)
    reference = (
        optax.join_schedules([optax.linear_schedule(0, 0.3, warmup), after], [warmup]) if warmup else after
    )
    for step in (0, 1, 4, 5, 6, 20, 39, 40, 60):
        found = float(learning_rate_at(step, config, hparams))
        assert found == pytest.approx(float(reference(step)), rel=1e-6, abs=1e-9), step


@pytest.mark.parametrize("warmup", [0, 3])
def test_a_cyclic_schedule_is_optaxs_with_warm_restarts(warmup):
    config = regjax.Config(schedule="cyclic", warmup_steps=warmup, decay_steps=10)
    hparams = check_hparams(config, HParams(0.3, end_fraction=0.1))
    cycle = {"init_value": 0.0, "peak_value": 0.3, "warmup_steps": warmup, "decay_steps": 10}
    reference = optax.sgdr_schedule([cycle | {"end_value": 0.03}] * 3)
    for step in range(30):
        found = float(learning_rate_at(step, config, hparams))
        assert found == pytest.approx(float(reference(step)), rel=1e-6, abs=1e-9), step
    # The first cycle is the cosine, to the bit, and every other one is the first.
    cosine = dataclasses.replace(config, schedule="cosine")
    for step in range(10):
        first = learning_rate_at(step, cosine, hparams)
        assert {float(learning_rate_at(step + 10 * c, config, hparams)) for c in range(4)} == {float(first)}
