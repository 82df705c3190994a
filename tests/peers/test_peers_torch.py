"""The same numbers out of PyTorch: label smoothing, Adam, decoupled decay, L2 and max-norm.

Needs the extra `bench`; on a CPU, install its build of PyTorch first.
"""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.data import Data
from regjax.core.hparams import HParams, check_hparams
from regjax.core.losses import regularised_loss, regularised_loss_gradient
from regjax.core.mlp import Layer
from regjax.core.train import TrainState, init_state, run_segment

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install regjax[bench]")

SIZES = (3, 8, 5, 2)
STEPS = 30
pytestmark = [pytest.mark.usefixtures("x64"), pytest.mark.slow]


def test_label_smoothing_of_many_classes():
    rng = np.random.default_rng(0)
    logits, y = 3 * rng.standard_normal((4, 50)), rng.integers(0, 4, (1, 50))
    hparams = HParams(label_smoothing=jnp.asarray(0.1))
    theirs = torch.tensor(logits.T, requires_grad=True)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1, reduction="none")(theirs, torch.tensor(y[0]))
    loss.sum().backward()
    asked = jnp.asarray(logits), jnp.asarray(y), "softmax_cross_entropy", hparams
    ours, grads = regularised_loss(*asked), regularised_loss_gradient(*asked)
    np.testing.assert_allclose(ours, loss.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(grads, theirs.grad.numpy().T, rtol=1e-9, atol=1e-12)


def test_label_smoothing_of_two_classes():
    rng = np.random.default_rng(1)
    logits, y = 3 * rng.standard_normal((1, 50)), rng.integers(0, 2, (1, 50))
    hparams = HParams(label_smoothing=jnp.asarray(0.2))
    smooth = torch.tensor(y[0] * 0.8 + 0.1)
    theirs = torch.nn.BCEWithLogitsLoss(reduction="none")(torch.tensor(logits[0]), smooth)
    ours = regularised_loss(jnp.asarray(logits), jnp.asarray(y), "sigmoid_cross_entropy", hparams)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12)


class Network(torch.nn.Module):
    """The same multi-layer perceptron, samples first."""

    def __init__(self, params):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(*w.shape[::-1], dtype=torch.float64) for w, _ in params
        )
        with torch.no_grad():
            for layer, (w, b) in zip(self.layers, params, strict=True):
                layer.weight.copy_(torch.tensor(np.asarray(w)))
                layer.bias.copy_(torch.tensor(np.asarray(b)[:, 0]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)


def problem():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((3, 40)), rng.integers(0, 2, (1, 40)).astype(np.int32)
    params = tuple(
        Layer(jnp.asarray(rng.standard_normal((b, a))), jnp.asarray(rng.standard_normal((b, 1))))
        for a, b in itertools.pairwise(SIZES)
    )
    return Data(jnp.asarray(x), jnp.asarray(y), jnp.ones(40)), params


def ours(optimizer, **values):
    config = regjax.Config(
        layer_sizes=SIZES, activation="tanh", dtype="float64", optimizer=optimizer,
        loss="softmax_cross_entropy",
    )  # fmt: skip
    hparams = check_hparams(config, HParams(**values))
    data, params = problem()
    key = regjax.replicate_key(0)
    state: TrainState = init_state(key, hparams, config=config, params=params)
    return run_segment(key, state, hparams, data, 0, STEPS, config=config).params


def theirs(make_optimizer, after=lambda network: None):
    data, params = problem()
    network = Network(params)
    weights = [layer.weight for layer in network.layers]
    biases = [layer.bias for layer in network.layers]
    optimizer = make_optimizer(weights, biases)
    x, y = torch.tensor(np.asarray(data.x).T), torch.tensor(np.asarray(data.y)[0]).long()
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
        after(network)
    return [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in network.layers]


def same(one, other, atol=1e-9):
    for (w, b), (other_w, other_b) in zip(one, other, strict=True):
        np.testing.assert_allclose(w, other_w, rtol=1e-6, atol=atol)
        np.testing.assert_allclose(np.asarray(b)[:, 0], other_b, rtol=1e-6, atol=atol)


@pytest.mark.nightly
@pytest.mark.parametrize("l2", [0.0, 2.0])
def test_adam_with_l2(l2):
    def make(weights, biases):
        # Its weight_decay is λ/n, added to the gradient; ours leaves biases alone.
        groups = [{"params": weights, "weight_decay": l2 / 40}, {"params": biases}]
        return torch.optim.Adam(groups, lr=0.02, betas=(0.8, 0.95), eps=1e-6)

    same(ours("adam", learning_rate=0.02, b1=0.8, b2=0.95, eps=1e-6, l2=l2), theirs(make))


def test_decoupled_weight_decay():
    def make(weights, biases):
        groups = [{"params": weights, "weight_decay": 0.3}, {"params": biases, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.02)

    same(ours("adamw", learning_rate=0.02, weight_decay=0.3), theirs(make))


@pytest.mark.parametrize(("optimizer", "nesterov"), [("momentum", False), ("nesterov", True)])
def test_momentum(optimizer, nesterov):
    def make(weights, biases):
        return torch.optim.SGD([*weights, *biases], lr=0.05, momentum=0.8, nesterov=nesterov)

    same(ours(optimizer, learning_rate=0.05, momentum=0.8), theirs(make))


def test_max_norm_is_renorm():
    def project(network):
        with torch.no_grad():
            for layer in network.layers[:-1]:
                layer.weight.copy_(layer.weight.renorm(p=2, dim=0, maxnorm=1.2))

    make = lambda weights, biases: torch.optim.SGD([*weights, *biases], lr=0.3)  # noqa: E731
    found = ours("sgd", learning_rate=0.3, max_norm=1.2)
    same(found, theirs(make, project), atol=1e-6)  # renorm divides by norm + 1e-7
    norms = np.linalg.norm(np.asarray(found[0].w), axis=1)
    assert np.isclose(norms, 1.2).any()
