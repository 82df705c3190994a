import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from cases import slow_but

import regjax
from regjax.core import train as training
from regjax.core.data import Data, check_data, pad_samples
from regjax.core.dropout import draw_masks
from regjax.core.evaluate import evaluate, measure
from regjax.core.hparams import check_hparams
from regjax.core.objective import BatchSizes, full_batch_sizes
from regjax.core.random import epoch_order
from regjax.core.train import Course, init_state, run_segment

KEY = regjax.replicate_key(4)
SMALL = regjax.Config(layer_sizes=(2, 6, 3, 1), num_steps=40, eval_every=10)


@functools.cache
def two_regions():
    return regjax.two_regions(jax.random.key(0))


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("l2", "l1", "keep_prob"),
    [
        (0.7, 0.2, 0.86),
        *(
            pytest.param(*v, marks=pytest.mark.slow)
            for v in ((None, None, None), (0.7, None, None), (None, None, 0.86))
        ),
    ],
)
def test_thousand_steps_are_those_of_the_reference(l2, l1, keep_prob, x64):
    config = regjax.Config(dtype="float64")
    samples, _ = two_regions()
    hparams = check_hparams(config, regjax.HParams(0.3, l2=l2, l1=l1, keep_prob=keep_prob))
    data = pad_samples(check_data(config, samples))
    # Given to both: a draw that is compiled into another program may differ in the last bit of float32.
    start = regjax.init_params(KEY, config.layer_sizes, dtype="float64")
    state = init_state(KEY, hparams, config=config, params=start)
    state = jax.jit(functools.partial(run_segment, config=config))(KEY, state, hparams, data, 0, 1000)

    def masks_at(step):
        if keep_prob is None:
            return None
        # Masks are drawn for the padded width: 211 samples, 224 columns.
        masks = reference.dropout_masks(KEY, step, config.layer_sizes, 224, keep_prob)
        return [None if m is None else m[:, :211] for m in masks]

    options = {"l2": l2 or 0.0, "l1": l1 or 0.0}
    params = [(np.asarray(w), np.asarray(b)) for w, b in start]
    expected = reference.train(
        params, samples.x, samples.y, learning_rate=0.3, num_steps=1000, masks_at=masks_at, **options
    )
    for ours, theirs in zip(state.params, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert np.max(np.abs(a - b)) / np.max(np.abs(b)) < 1e-9
    last = reference.cost(expected, samples.x, samples.y, masks_at(1000), **options)
    ours = measure(KEY, state.params, hparams, data, None, 1000, config=config)["cost"]
    assert float(ours) == pytest.approx(last, rel=1e-9)


@pytest.mark.slow
def test_history_has_its_records():
    train, test = two_regions()
    config = dataclasses.replace(SMALL, num_steps=25)
    history = regjax.make_train(config)(KEY, regjax.HParams(l2=0.7, keep_prob=0.5), train, test).history
    assert history["step"].tolist() == [0, 10, 20, 25]
    assert history["finite"].all()
    np.testing.assert_allclose(history["train_cost"], history["train_loss"] + history["penalty"], rtol=1e-6)
    assert set(history) == {"step", "cost", "finite", "penalty"} | {
        f"{split}_{metric}" for split in ("train", "test") for metric in ("cost", "loss", "accuracy")
    }
    assert np.abs(history["cost"] - history["train_cost"]).min() > 1e-3  # with its masks, and without


@pytest.mark.slow
def test_metrics_worked_by_hand():
    params = (regjax.Layer(jnp.array([[1.0]]), jnp.zeros((1, 1))),)
    weights = jnp.array([1.0, 1.0, 2.0, 0.0])
    x = jnp.array([[2.0, -1.0, 1.0, jnp.inf]])
    labels = Data(x, jnp.array([[1, 1, 0, 0]], jnp.int32), weights)
    config = regjax.Config(layer_sizes=(1, 1))
    metrics = evaluate(params, labels, config=config)
    assert float(metrics["accuracy"]) == 0.25  # right: the first, of weight 1 of 4
    softplus = np.log1p(np.exp([-2.0, 1.0, 1.0]))
    assert float(metrics["loss"]) == pytest.approx(np.dot(softplus, [1, 1, 2]) / 4, rel=1e-6)
    # Regression: errors (1, -2, 0), targets (1, 1, 1) and then spread out.
    reals = Data(x, jnp.array([[1.0, 1.0, 1.0, 5.0]]), weights)
    metrics = evaluate(params, reals, config=config)
    assert float(metrics["rmse"]) == pytest.approx(np.sqrt(5 / 4))
    reals = Data(x, jnp.array([[3.0, -1.0, 1.0, 5.0]]), weights)
    # mean 1, spread (4 + 4 + 0)/4 = 2, mean squared error 1/4.
    assert float(evaluate(params, reals, config=config)["r2"]) == pytest.approx(1 - 0.25 / 2)


@pytest.mark.nightly
@pytest.mark.bits
@pytest.mark.parametrize("batch_size", slow_but([None, 32], [32]))
def test_compiled_loop_is_a_python_loop(batch_size):
    config = dataclasses.replace(SMALL, batch_size=batch_size, optimizer="adam")
    data = pad_samples(check_data(config, two_regions()[0]))
    hparams = check_hparams(config, regjax.HParams(0.01, l2=0.5, keep_prob=0.8, input_keep_prob=0.9))
    one = jax.jit(functools.partial(run_segment, config=config))
    state = init_state(KEY, hparams, config=config)
    together = one(KEY, state, hparams, data, 0, 30)
    for step in range(30):
        state = one(KEY, state, hparams, data, step, step + 1)
    equal(together, state)
    # Written out once more, from the parts.
    sizes = full_batch_sizes(data)
    state = init_state(KEY, hparams, config=config)
    optimizer = optax.adam(hparams.learning_rate)
    params, opt_state = state.params, optimizer.init(state.params)

    @jax.jit
    def step_of(params, opt_state, batch, step, step_sizes):
        masks = draw_masks(KEY, step, hparams, config, batch.x.shape[1], config.num_steps)
        grads = regjax.cost_and_grads(params, hparams, batch, masks, config=config, sizes=step_sizes)[1]
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    for step in range(30):
        batch, step_sizes = data, sizes
        if batch_size is not None:
            epoch, index = divmod(step, 211 // 32)
            chosen = epoch_order(KEY, epoch, data.weights)[index * 32 : index * 32 + 32]
            batch = Data(data.x[:, chosen], data.y[:, chosen], data.weights[chosen])
            step_sizes = BatchSizes(32.0, sizes.num_train)
        params, opt_state = step_of(params, opt_state, batch, step, step_sizes)
    close(together.params, params, rtol=1e-3, atol=1e-5)


@pytest.mark.bits
@pytest.mark.parametrize("batch_size", [None, 1, 50])
def test_how_a_run_is_cut_changes_no_bit(batch_size):
    config = dataclasses.replace(SMALL, batch_size=batch_size)
    data = pad_samples(check_data(config, two_regions()[0]))
    hparams = check_hparams(config, regjax.HParams(0.1, keep_prob=0.8))
    run = jax.jit(functools.partial(run_segment, config=config))
    start = init_state(KEY, hparams, config=config)
    whole = run(KEY, start, hparams, data, 0, 40)
    for cuts in ((0, 1, 40), (0, 7, 8, 23, 40), (0, 0, 39, 40)):
        state = start
        for a, b in itertools.pairwise(cuts):
            state = run(KEY, state, hparams, data, a, b)
        equal(state, whole)


@pytest.mark.slow
def test_vmap_over_hyperparameters_is_a_loop():
    fit = regjax.make_train(SMALL)
    data, test = two_regions()
    rows = [regjax.HParams(lr, l2=l2, keep_prob=k) for lr, l2, k in ((0.1, 0.0, 0.9), (0.3, 0.7, 0.5))]
    checked = [check_hparams(SMALL, row) for row in rows]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *checked)
    together = jax.vmap(fit, in_axes=(None, 0, None, None))(KEY, stacked, data, test)
    for lane, row in enumerate(rows):
        close(
            jax.tree.map(lambda leaf, lane=lane: leaf[lane], together), fit(KEY, row, data, test), 1e-4, 1e-5
        )


@pytest.mark.slow
def test_vmap_over_keys_and_weights_is_a_loop():
    fit = regjax.make_train(SMALL)
    data, _ = two_regions()
    keys = jnp.stack([regjax.replicate_key(seed) for seed in range(3)])
    weights = np.ones((3, 211))
    weights[1, :50] = 0
    folds = Data(data.x, data.y, weights)
    together = jax.vmap(fit, in_axes=(0, None, Data(None, None, 0)))(keys, regjax.HParams(l2=0.7), folds)
    for lane in range(3):
        alone = fit(keys[lane], regjax.HParams(l2=0.7), data._replace(weights=weights[lane]))
        close(jax.tree.map(lambda leaf, lane=lane: leaf[lane], together), alone, 1e-4, 1e-5)


@pytest.mark.nightly
@pytest.mark.bits
def test_same_key_same_bits_and_another_key_others():
    fit = regjax.make_train(SMALL)
    data, _ = two_regions()
    hparams = regjax.HParams(keep_prob=0.5)
    equal(fit(KEY, hparams, data), fit(KEY, hparams, data))
    other = fit(regjax.replicate_key(5), hparams, data)
    assert not np.array_equal(other.params[0].w, fit(KEY, hparams, data).params[0].w)


@pytest.mark.slow
def test_new_values_do_not_compile_again():
    config = dataclasses.replace(SMALL, layer_sizes=(2, 7, 3, 1))  # this test's own program
    fit = regjax.make_train(config)
    data, test = two_regions()
    before = training._train._cache_size()
    for hparams in (
        regjax.HParams(0.3, keep_prob=0.86),
        regjax.HParams(1, l2=1, keep_prob=0.5),
        regjax.HParams(np.float64(0.01), l2=0.7, l1=np.float32(0.1), keep_prob=(0.9, 0.8)),
        regjax.HParams(0.2, l2=[0.1, 0.2, 0.3], keep_prob=[1, 0.5], momentum=0.5),
    ):
        fit(KEY, hparams, data, test)
    assert training._train._cache_size() == before + 1
    for keep_prob in (None, 1, 1.0, (1, 1)):  # off, in all its spellings, is one other program
        fit(KEY, regjax.HParams(0.3, keep_prob=keep_prob), data, test)
    assert training._train._cache_size() == before + 2


def test_switched_off_draws_nothing():
    config = dataclasses.replace(SMALL, layer_sizes=(2, 4, 1))
    data = pad_samples(check_data(config, two_regions()[0]))
    run = functools.partial(run_segment, config=config)

    def shifts(hparams):
        hparams = check_hparams(config, hparams)
        state = init_state(KEY, hparams, config=config)
        return str(jax.make_jaxpr(run)(KEY, state, hparams, data, 0, 9)).count("shift_right_logical")

    assert shifts(regjax.HParams()) == 0
    assert shifts(regjax.HParams(keep_prob=0.5)) > 0


@pytest.mark.sampled(4)
@pytest.mark.bits
@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("huge", [1e30, np.inf, np.nan])
def test_held_out_samples_change_no_bit(batch_size, huge):
    config = dataclasses.replace(SMALL, batch_size=batch_size)
    data, _ = two_regions()
    weights = np.ones(211)
    weights[::3] = 0
    x = np.array(data.x)
    x[:, ::3] = huge
    fit = regjax.make_train(config)
    hparams = regjax.HParams(l2=0.1, keep_prob=0.8)
    clean = fit(KEY, hparams, data._replace(weights=weights))
    filled = fit(KEY, hparams, Data(x, data.y, weights))
    equal(clean, filled)
    assert clean.history["finite"].all()
    assert not np.array_equal(clean.params[0].w, fit(KEY, hparams, data).params[0].w)


@pytest.mark.nightly
@pytest.mark.bits
def test_divergence_is_recorded_and_neighbours_do_not_notice():
    config = regjax.Config(layer_sizes=(2, 6, 1), loss="squared_error", num_steps=60, eval_every=10)
    data, _ = two_regions()
    data = data._replace(y=np.asarray(data.y, float))
    fit = regjax.make_train(config)
    rates = np.array([0.05, 1e6, 0.1], np.float32)
    hparams = check_hparams(config, regjax.HParams(0.05))
    lanes = jax.vmap(lambda rate: fit(KEY, hparams._replace(learning_rate=rate), data))
    runs = lanes(rates)
    finite = np.asarray(runs.history["finite"])
    assert finite[0].all()
    assert finite[2].all()
    assert finite[1, 0]
    assert not finite[1, -1]
    tame = lanes(np.array([0.05, 0.07, 0.1], np.float32))
    for lane in (0, 2):
        equal(*(jax.tree.map(lambda leaf, lane=lane: leaf[lane], run.params) for run in (runs, tame)))


@pytest.mark.nightly
def test_jvp_goes_through_a_training_run(x64):
    config = dataclasses.replace(SMALL, dtype="float64", num_steps=20)
    data, _ = two_regions()
    fit = regjax.make_train(config)

    def last_cost(l2):
        return fit(KEY, regjax.HParams(0.1, l2=l2, keep_prob=0.8), data).history["cost"][-1]

    _, slope = jax.jvp(last_cost, (jnp.asarray(0.5),), (jnp.asarray(1.0),))
    h = 1e-6
    central = (last_cost(0.5 + h) - last_cost(0.5 - h)) / (2 * h)
    assert float(slope) == pytest.approx(float(central), rel=1e-5)


def test_depth_zero_with_l2_is_ridge():
    rng = np.random.default_rng(0)
    X, noise = rng.standard_normal((40, 3)), rng.standard_normal(40)
    y = X @ [1.0, -2.0, 0.5] + 3 + noise
    weights = rng.uniform(0.5, 2.0, 40)
    config = regjax.Config(layer_sizes=(3, 1), num_steps=5000, eval_every=5000, dtype="float64")
    data = regjax.Data.from_arrays(X, y, weights)
    run = regjax.make_train(config)(KEY, regjax.HParams(0.2, l2=5.0), data)
    # Minimise Σ w(y - Xv - b)²/2 + 5/2·|v|², the intercept free.
    w = weights / weights.mean()
    centred, target = X - np.average(X, axis=0, weights=w), y - np.average(y, weights=w)
    v = np.linalg.solve(centred.T @ (w[:, None] * centred) + 5.0 * np.eye(3), centred.T @ (w * target))
    np.testing.assert_allclose(run.params[0].w[0], v, rtol=1e-9)


def test_larger_l2_smaller_norm():
    data, _ = two_regions()
    fit = regjax.make_train(dataclasses.replace(SMALL, num_steps=500, eval_every=500))
    norms = [
        float(optax.tree.norm([layer.w for layer in fit(KEY, regjax.HParams(l2=s), data).params]))
        for s in (0, 0.5, 2, 8)
    ]
    assert norms == sorted(norms, reverse=True)
    assert norms[0] > 2 * norms[-1]


@pytest.mark.slow
def test_many_classes_and_regression_learn():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 2))
    labels = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    config = regjax.Config(layer_sizes=(2, 16, 3), num_steps=500, eval_every=500, batch_size=32)
    run = regjax.make_train(config)(KEY, regjax.HParams(0.3), regjax.Data.from_arrays(X, labels))
    assert run.history["train_accuracy"][-1] > 0.95
    Y = np.stack([np.sin(X[:, 0]), X[:, 1] ** 2], axis=1)
    config = regjax.Config(layer_sizes=(2, 16, 2), activation="tanh", num_steps=2000, eval_every=2000)
    run = regjax.make_train(config)(KEY, regjax.HParams(0.1), regjax.Data.from_arrays(X, Y))
    assert run.history["train_r2"][-1] > 0.9
    assert run.history["train_rmse"][-1] < 0.5


@pytest.mark.slow
def test_float64_is_local():
    data, _ = two_regions()
    run = regjax.make_train(dataclasses.replace(SMALL, dtype="float64"))(KEY, regjax.HParams(l2=0.1), data)
    assert run.params[0].w.dtype == run.history["train_loss"].dtype == np.float64
    assert not jax.config.jax_enable_x64
    assert jnp.ones(1).dtype == jnp.float32


def test_float64_under_a_foreign_transformation_wants_its_context():
    fit = regjax.make_train(dataclasses.replace(SMALL, dtype="float64"))
    data, _ = two_regions()
    with pytest.raises(ValueError, match="enable_x64"):
        jax.vmap(lambda l2: fit(KEY, regjax.HParams(l2=l2), data))(np.array([0.1, 0.2]))


@pytest.mark.parametrize(
    ("hparams", "error", "words"),
    [
        (
            regjax.HParams(-0.1),
            ValueError,
            r"learning_rate must be a finite number >= 0 in float32",
        ),
        (regjax.HParams(None), TypeError, r"learning_rate must be a finite number >= 0, got None"),
        (regjax.HParams("fast"), TypeError, r"learning_rate must be a finite number >= 0, got 'fast'"),
        (regjax.HParams(float("nan")), ValueError, r"learning_rate must be"),
        (regjax.HParams(l2=-1), ValueError, r"l2 must be a finite number >= 0 in float32, got -1"),
        (
            regjax.HParams(l2=[0.1, 0.2]),
            ValueError,
            r"l2 must be one value, or 3 \(one per layer of weights\)",
        ),
        (regjax.HParams(keep_prob=0), ValueError, r"keep_prob must be in \(0, 1\] in float32, got 0"),
        (regjax.HParams(keep_prob=(0.5, 1.2)), ValueError, r"keep_prob must be in \(0, 1\]"),
        (regjax.HParams(keep_prob=(0.5, 0.5, 0.5)), ValueError, r"or 2 \(one per hidden layer\)"),
        (regjax.HParams(momentum=1.5), ValueError, r"momentum must be in \[0, 1\] in float32, got 1.5"),
        (regjax.HParams(keep_prob=True), TypeError, r"keep_prob must be in \(0, 1\], got True"),
    ],
)
def test_bad_hyperparameters(hparams, error, words):
    with pytest.raises(error, match=words):
        regjax.make_train(SMALL)(KEY, hparams, two_regions()[0])


def test_measure_counts_a_parameter_that_is_not_finite():
    data = pad_samples(check_data(SMALL, two_regions()[0]))
    hparams = check_hparams(SMALL, regjax.HParams())
    params = init_state(KEY, hparams, config=SMALL).params
    record_of = jax.jit(lambda params: measure(KEY, params, hparams, data, None, 0, config=SMALL))
    assert record_of(params)["finite"]
    # relu written with `where` turns NaN into 0: the cost stays finite, the parameter tells.
    broken = (params[0]._replace(b=params[0].b.at[0].set(jnp.nan)), *params[1:])
    record = record_of(broken)
    assert jnp.isfinite(record["cost"])
    assert not record["finite"]


def test_metrics_of_a_diverged_run_are_nan():
    data, test = two_regions()
    run = regjax.make_train(SMALL)(KEY, regjax.HParams(1e30), data, test)
    assert not run.history["finite"][-1]
    assert np.isnan(run.history["train_accuracy"][-1])
    assert np.isnan(run.history["test_loss"][-1])
    assert np.isfinite(run.history["train_accuracy"][0])


@pytest.mark.nightly
@pytest.mark.bits
def test_num_batches_given_is_what_is_counted():
    config = dataclasses.replace(SMALL, batch_size=50)
    data = pad_samples(check_data(config, two_regions()[0]))
    hparams = check_hparams(config, regjax.HParams())
    state = init_state(KEY, hparams, config=config)
    run = jax.jit(functools.partial(run_segment, config=config))
    counted, given, fewer = (run(KEY, state, hparams, data, 0, 9, course=Course(n)) for n in (None, 4, 3))
    equal(counted, given)
    assert not np.array_equal(counted.params[0].w, fewer.params[0].w)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda fit, data: fit(KEY, {"l2": 1}, data),
            TypeError,
            "hparams must be a regjax.HParams, got dict",
        ),
        (
            lambda fit, data: regjax.make_train(None),
            TypeError,
            "config must be a regjax.Config, got NoneType",
        ),
        (lambda fit, data: fit(KEY, regjax.HParams(l2=1e60), data), ValueError, "l2 must be a finite number"),
        (
            lambda fit, data: fit(KEY, regjax.HParams(b2=1 - 1e-12), data),
            ValueError,
            r"b2 must be in \[0, 1\) in",
        ),
        (
            lambda fit, data: fit(jax.random.key(0, impl="rbg"), regjax.HParams(keep_prob=0.5), data),
            ValueError,
            "key must be a threefry2x32 key",
        ),
        (
            lambda fit, data: fit(KEY, regjax.HParams(), data, data._replace(y=data.y * 1.0)),
            TypeError,
            "test must have targets of dtype int32",
        ),
        (
            lambda fit, data: fit(KEY, regjax.HParams(), data._replace(weights=-data.weights)),
            ValueError,
            "data.weights must be finite, at least 0",
        ),
        (
            lambda fit, data: fit(KEY, regjax.HParams(), data._replace(x=data.x * 1e300)),
            ValueError,
            "data must be finite in float32, got",
        ),
        (lambda fit, data: regjax.replicate_key(2**32), ValueError, "seed must be at most 4294967295"),
        (lambda fit, data: regjax.init_params(KEY, (2,)), ValueError, "layer_sizes must name an input"),
        (lambda fit, data: regjax.init_params(KEY, (2, 1), init="zeros"), ValueError, "init must be one of"),
        (
            lambda fit, data: jax.vmap(lambda k: fit(KEY, regjax.HParams(keep_prob=k), data))(
                np.ones((2, 3))
            ),
            ValueError,
            r"keep_prob must be one value, or 2 \(one per hidden layer\), got shape \(3,\)",
        ),
    ],
)
def test_slips_at_the_edge_are_said(call, error, words):
    with pytest.raises(error, match=words):
        call(regjax.make_train(SMALL), two_regions()[0])


@pytest.mark.slow
@pytest.mark.bits
def test_weights_are_rescaled_so_that_lambda_keeps_its_meaning():
    data, _ = two_regions()
    fit = regjax.make_train(SMALL)
    tripled = data._replace(weights=3 * data.weights)
    hparams = regjax.HParams(l2=0.7, keep_prob=0.8)  # the program of the tests above
    equal(fit(KEY, hparams, data), fit(KEY, hparams, tripled))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.bits
def test_results_do_not_depend_on_the_generators_settings():
    config = dataclasses.replace(SMALL, batch_size=32, layer_sizes=(2, 5, 3, 1))
    data, _ = two_regions()
    hparams = regjax.HParams(0.1, keep_prob=0.8)
    plain = regjax.make_train(config)(KEY, hparams, data)
    jax.clear_caches()
    with jax.threefry_partitionable(False):
        equal(plain, regjax.make_train(config)(KEY, hparams, data))
        equal(two_regions()[0], regjax.two_regions(jax.random.key(0))[0])
