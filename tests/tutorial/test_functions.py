"""The tutorial's names against the tutorial's formulas, written out in NumPy."""

import json
from typing import Any

import jax
import numpy as np
import pytest
import reference

from regjax.tutorial import functions as tutorial

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((2, 9)), RNG.integers(0, 2, (1, 9))
PARAMETERS = tutorial.initialize_parameters([2, 20, 3, 1])


def layers():
    return [(PARAMETERS[f"W{n}"], PARAMETERS[f"b{n}"]) for n in (1, 2, 3)]


def test_initialisation_is_the_tutorials_stream():
    stream = np.random.RandomState(3)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    w1 = stream.randn(20, 2) / np.sqrt(2)
    np.testing.assert_array_equal(tutorial.initialize_parameters([2, 20, 3, 1])["W1"], w1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert sorted(PARAMETERS) == ["W1", "W2", "W3", "b1", "b2", "b3"]


def test_activations():
    np.testing.assert_allclose(tutorial.sigmoid([-1.0, 0.0]), [1 / (1 + np.e), 0.5], rtol=1e-14)
    assert tutorial.relu([-2.0, 3.0]).tolist() == [0, 3]


def test_forward_and_its_cache():
    a3, cache = tutorial.forward_propagation(X, PARAMETERS)
    Z1, A1, W1, b1, _, A2, _, _, Z3, A3, _, _ = cache
    inputs, zs = reference.forward(layers(), X, None)
    np.testing.assert_allclose(Z1, zs[0], rtol=1e-12)
    np.testing.assert_allclose(A1, inputs[1], rtol=1e-12)
    np.testing.assert_allclose(A2, inputs[2], rtol=1e-12)
    np.testing.assert_allclose(A3, reference.sigmoid(zs[2]), rtol=1e-12)
    np.testing.assert_array_equal(a3, A3)
    np.testing.assert_array_equal(W1, PARAMETERS["W1"])
    assert b1.shape == (20, 1)
    assert Z3.shape == (1, 9)


@pytest.mark.parametrize("lambd", [0, 0.7])
def test_cost_and_gradients(lambd):
    a3, cache = tutorial.forward_propagation(X, PARAMETERS)
    expected = reference.cost(layers(), X, Y, None, lambd, 0)
    got = tutorial.compute_cost_with_regularization(a3, Y, PARAMETERS, lambd)
    assert got == pytest.approx(expected, rel=1e-12)
    gradients = tutorial.backward_propagation_with_regularization(X, Y, cache, lambd)
    for n, (dw, db) in enumerate(reference.gradients(layers(), X, Y, None, lambd, 0), 1):
        np.testing.assert_allclose(gradients[f"dW{n}"], dw, rtol=1e-10)
        np.testing.assert_allclose(gradients[f"db{n}"], db, rtol=1e-10)
    if lambd == 0:
        plain = tutorial.backward_propagation(X, Y, cache)
        assert sorted(plain) == sorted(gradients)
        np.testing.assert_array_equal(plain["dW1"], gradients["dW1"])
        assert tutorial.compute_cost(a3, Y) == got


def test_gradients_have_the_tutorials_names_and_scales():
    a3, cache = tutorial.forward_propagation(X, PARAMETERS)
    g = tutorial.backward_propagation(X, Y, cache)
    assert set(g) == {f"d{a}{n}" for a in "ZWb" for n in (1, 2, 3)} | {"dA1", "dA2"}
    np.testing.assert_allclose(g["dZ3"], a3 - Y, rtol=1e-12)
    np.testing.assert_allclose(g["dA2"], PARAMETERS["W3"].T @ g["dZ3"], rtol=1e-12)
    np.testing.assert_allclose(g["dZ2"], g["dA2"] * (cache[5] > 0), rtol=1e-12)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("key", [None, 7])
def test_dropout(key):
    key = None if key is None else jax.random.key(key)
    keep_prob = 0.75  # a multiple of 1/65536: the probability that is used is the one asked for
    a3, cache = tutorial.forward_propagation_with_dropout(X, PARAMETERS, keep_prob, key)
    Z1, D1, A1, _, _, _, D2, A2, *_ = cache
    assert D1.dtype == D2.dtype == bool
    if key is None:
        stream = np.random.RandomState(1)
        np.testing.assert_array_equal(D1, stream.rand(20, 9) < keep_prob)
        np.testing.assert_array_equal(D2, stream.rand(3, 9) < keep_prob)
    np.testing.assert_allclose(A1, np.maximum(Z1, 0) * D1 / keep_prob, rtol=1e-12)
    masks = [None, D1 / keep_prob, D2 / keep_prob]
    inputs, zs = reference.forward(layers(), X, masks)
    np.testing.assert_allclose(A2, inputs[2], rtol=1e-12)
    np.testing.assert_allclose(a3, reference.sigmoid(zs[2]), rtol=1e-12)
    gradients = tutorial.backward_propagation_with_dropout(X, Y, cache, keep_prob)
    for n, (dw, db) in enumerate(reference.gradients(layers(), X, Y, masks, 0, 0), 1):
        np.testing.assert_allclose(gradients[f"dW{n}"], dw, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(gradients[f"db{n}"], db, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(
        gradients["dA2"], (PARAMETERS["W3"].T @ gradients["dZ3"]) * masks[2], rtol=1e-12
    )


def test_dropout_with_a_key_draws_afresh():
    d1 = [
        tutorial.forward_propagation_with_dropout(X, PARAMETERS, 0.5, jax.random.key(k))[1][1]
        for k in (0, 0, 1)
    ]
    np.testing.assert_array_equal(d1[0], d1[1])
    assert not np.array_equal(d1[0], d1[2])
    _, cache = tutorial.forward_propagation_with_dropout(X, PARAMETERS, 1.0, jax.random.key(0))
    assert cache[1].all()
    with pytest.raises(ValueError, match=r"keep_prob must be in \(0, 1\] in float32, got 0"):
        tutorial.forward_propagation_with_dropout(X, PARAMETERS, 0)


def test_cost_of_certain_probabilities_is_no_nan():
    assert tutorial.compute_cost([[0.0, 1.0, 0.5]], [[0, 1, 1]]) == pytest.approx(np.log(2) / 3)
    assert tutorial.compute_cost([[1.0]], [[0]]) == np.inf


def test_update_and_predict(capsys):
    new = tutorial.update_parameters(
        PARAMETERS, {f"d{k}": np.ones_like(v) for k, v in PARAMETERS.items()}, 0.1
    )
    np.testing.assert_allclose(new["W2"], PARAMETERS["W2"] - 0.1)
    labels = tutorial.predict(X, Y, PARAMETERS)
    assert labels.shape == (1, 9)
    assert capsys.readouterr().out == f"Accuracy: {np.mean(labels == Y)}\n"
    np.testing.assert_array_equal(tutorial.predict_dec(PARAMETERS, X), labels == 1)


@pytest.mark.slow
def test_any_depth():
    parameters = tutorial.initialize_parameters([2, 4, 4, 4, 1])
    a, cache = tutorial.forward_propagation(X, parameters)
    assert len(cache) == 16
    params = [(parameters[f"W{n}"], parameters[f"b{n}"]) for n in range(1, 5)]
    gradients = tutorial.backward_propagation(X, Y, cache)
    for n, (dw, _) in enumerate(reference.gradients(params, X, Y, None, 0, 0), 1):
        np.testing.assert_allclose(gradients[f"dW{n}"], dw, rtol=1e-10, atol=1e-15)
    assert a.shape == (1, 9)


def test_plot_decision_boundary():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure()
    tutorial.plot_decision_boundary(lambda x: tutorial.predict_dec(PARAMETERS, x.T), X, Y)
    assert figure.axes[0].get_xlabel() == "x1"
    assert len(figure.axes[0].collections) >= 2
    plt.close(figure)


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize(("lambd", "keep_prob"), [(0, 1), (0.7, 1), (0, 0.86), (0.7, 0.86)])
def test_model_is_a_loop_over_the_functions(lambd, keep_prob, capsys):
    trained = tutorial.model(X, Y, num_iterations=60, lambd=lambd, keep_prob=keep_prob)
    first = capsys.readouterr().out
    assert first.startswith("Cost after iteration 0: ")
    parameters: Any = PARAMETERS
    for step in range(60):
        if keep_prob < 1:
            a3, cache = tutorial.forward_propagation_with_dropout(X, parameters, keep_prob)
            g = tutorial.backward_propagation_with_dropout(X, Y, cache, keep_prob)
        else:
            a3, cache = tutorial.forward_propagation(X, parameters)
            g = tutorial.backward_propagation(X, Y, cache)
        if step == 0:
            cost = tutorial.compute_cost_with_regularization(a3, Y, parameters, lambd)
            assert float(first.split(": ")[1]) == pytest.approx(cost, rel=1e-12)
        for n in (1, 2, 3):
            g[f"dW{n}"] = g[f"dW{n}"] + lambd * parameters[f"W{n}"] / 9
        parameters = tutorial.update_parameters(parameters, g, 0.3)
    for name, value in parameters.items():
        np.testing.assert_allclose(trained[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.nightly
def test_on_the_tutorials_data(tutorial_mat):
    train_X, train_Y, test_X, test_Y = tutorial.load_2D_dataset(tutorial_mat)
    assert (train_X.shape, train_Y.shape, test_X.shape, test_Y.shape) == (
        (2, 211),
        (1, 211),
        (2, 200),
        (1, 200),
    )
    parameters = tutorial.model(train_X, train_Y, num_iterations=30_000, print_cost=False, lambd=0.7)
    assert np.mean(tutorial.predict_dec(parameters, test_X) == test_Y) == 186 / 200
    assert json.dumps({name: value.tolist() for name, value in parameters.items()})
