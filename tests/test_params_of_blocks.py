"""Every public function of parameters takes those of a network with blocks, or says in one line what does."""

import importlib
import inspect
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from surface import CORE_MODULES

import regjax
import regjax.research
from regjax.core import blocks, evaluate, network, objective, penalties
from regjax.core.certificate import STRUCTURES
from regjax.core.dropout import Masks
from regjax.research import (
    curvature,
    ensembles,
    landscape,
    networks,
    norms,
    output_noise,
    planes,
    pruning,
    spectrum,
    subnetworks,
    weight_scaling,
)

pytestmark = pytest.mark.slow

KEY, H = regjax.replicate_key(0), regjax.HParams(l2=0.1)
# All blocks at once have bins here, which need data, in place of the certificate's frequencies.
BINS = {"embedding": "piecewise", "embedding_size": 3}
OWN = {"plain": {}} | STRUCTURES | {"all blocks": STRUCTURES["all blocks"] | BINS}
# Names of arguments that are parameters, or made of them.
TAKEN = {"params", "networks", "residuals", "start", "plane", "one", "whole"}
MODULES = [
    "regjax",
    *(f"regjax.core.{name}" for name in (*CORE_MODULES, "network", "evaluate")),
    *(f"regjax.research.{module.name}" for module in pkgutil.iter_modules(regjax.research.__path__)),
]
# These have parameters of theirs, or check what the others are given.
NO_NETWORK = {"closed_forms.descent_path", "networks.check_plain", "mlp.check_plain", "curvature.products"}


def config_of(name, **more):
    return regjax.Config(
        layer_sizes=(2, 4, 4, 1), num_steps=4, eval_every=4, optimizer="adam", **OWN[name], **more
    )


def samples():
    data, _ = regjax.two_regions(jax.random.key(0))
    return regjax.Data(data.x[:, :12], data.y[:, :12], data.weights[:12])


def stacked(params):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], params)


def residuals_of(params, config, data):
    if config.is_plain:
        return regjax.forward(params, data.x)
    weights = jnp.ones(config.members * data.x.shape[1]) if config.norm == "batch" else None
    return blocks.forward(params, data.x, None, weights, config=config)


def backward(p, c, d):
    logits, residuals = residuals_of(p, c, d)
    return regjax.backward(residuals, jnp.ones_like(logits))


def shares(p, c, d):
    return penalties.penalty_gradient(p, regjax.HParams(l2=1.0))


def masked(p, c, d):
    return pruning.train_masked(KEY, p, pruning.full_mask(p), H, d, config=c)


def along_a_plane(p, c, d):
    plane = planes.Plane(p, p, p, jnp.zeros((1, 2)))
    return landscape.surface(plane, H, d, config=c, a=jnp.zeros(2), b=jnp.zeros(2))


SIZES = objective.full_batch_sizes
PREDICTS = "params must be of a plain network, got those of one with blocks; regjax.core.network.infer_logits"
MEASURES = "(params|start|origin) must be of a plain network, .*; this measure knows .* of plain networks"
# What is called with (parameters, config, data) -> None where it works with blocks, or what it says.
CALLS = {
    "mlp.forward": (lambda p, c, d: regjax.forward(p, d.x), PREDICTS),
    "mlp.predict": (lambda p, c, d: regjax.predict(p, d.x), PREDICTS),
    "mlp.predict_proba": (lambda p, c, d: regjax.predict_proba(p, d.x), PREDICTS),
    "mlp.backward": (backward, "residuals must be of a plain network, .*; regjax.core.blocks.backward takes"),
    "objective.cost": (lambda p, c, d: regjax.cost(p, H, d, config=c), None),
    "objective.cost_and_grads": (lambda p, c, d: regjax.cost_and_grads(p, H, d, config=c), None),
    "objective.data_cost_and_grads": (
        lambda p, c, d: objective.data_cost_and_grads(p, H, d, Masks(), None, config=c, sizes=SIZES(d)), None,
    ),
    "objective.add_penalty_gradient": (
        lambda p, c, d: objective.add_penalty_gradient(p, p, H, SIZES(d)), None,
    ),
    "objective.with_statistics": (
        lambda p, c, d: objective.with_statistics(p, p, d, Masks(), None, config=c), None,
    ),
    "penalties.penalty": (lambda p, c, d: penalties.penalty(p, H), None),
    "penalties.penalty_gradient": (shares, None),
    "network.infer_logits": (
        lambda p, c, d: network.infer_logits(p, d.x, c, "sigmoid_cross_entropy"), None,
    ),
    "evaluate.infer": (lambda p, c, d: evaluate.infer(p, d, c), None),
    "evaluate.evaluate": (lambda p, c, d: evaluate.evaluate(p, d, config=c), None),
    "evaluate.score": (lambda p, c, d: evaluate.score(p, d, c), None),
    "evaluate.measure": (lambda p, c, d: evaluate.measure(KEY, p, H, d, None, 0, config=c), None),
    "ensembles.ensemble_logits": (
        lambda p, c, d: ensembles.ensemble_logits(
            stacked(p), d.x, config=c, loss="sigmoid_cross_entropy"
        ), None,
    ),
    "ensembles.evaluate_ensemble": (
        lambda p, c, d: ensembles.evaluate_ensemble(stacked(p), d, config=c), None,
    ),
    "networks.stack": (lambda p, c, d: networks.stack([p, p]), None),
    "networks.check_finite": (lambda p, c, d: networks.check_finite("params", p), None),
    "networks.check_network": (lambda p, c, d: networks.check_network("params", p, c), MEASURES),
    "networks.measured": (lambda p, c, d: networks.measured(p, H, d, c), MEASURES),
    "curvature.hessian": (lambda p, c, d: curvature.hessian(p, H, d, config=c), MEASURES),
    "curvature.sharpness": (lambda p, c, d: curvature.sharpness(KEY, p, H, d, config=c), MEASURES),
    "curvature.whole_hessian": (
        lambda p, c, d: curvature.whole_hessian(networks.measured(p, H, d, c), config=c), MEASURES,
    ),
    "spectrum.eigenvalues": (lambda p, c, d: spectrum.eigenvalues(KEY, p, H, d, config=c, count=2), MEASURES),
    "spectrum.effective_dimension": (
        lambda p, c, d: spectrum.effective_dimension(p, H, d, 1.0, config=c), MEASURES,
    ),
    "spectrum.estimated_dimension": (
        lambda p, c, d: spectrum.estimated_dimension(KEY, p, H, d, 1.0, config=c), MEASURES,
    ),
    "landscape.line": (lambda p, c, d: landscape.line(p, p, H, d, config=c), MEASURES),
    "landscape.surface": (along_a_plane, MEASURES),
    "norms.norms": (lambda p, c, d: norms.norms(p), MEASURES),
    "norms.path_norm": (lambda p, c, d: norms.path_norm(p), MEASURES),
    "planes.random_plane": (lambda p, c, d: planes.random_plane(KEY, p), MEASURES),
    "planes.filter_normalised": (
        lambda p, c, d: planes.filter_normalised(regjax.init_params(KEY, c.widths), p), MEASURES,
    ),
    "planes.plane_through": (
        lambda p, c, d: planes.plane_through(p, jax.tree.map(jnp.cos, p), jax.tree.map(jnp.exp, p)),
        "networks|one must be of a plain network",
    ),
    "pruning.full_mask": (lambda p, c, d: pruning.full_mask(p), None),
    "pruning.apply_mask": (lambda p, c, d: pruning.apply_mask(p, pruning.full_mask(p)), None),
    "pruning.prune": (lambda p, c, d: pruning.prune(p, pruning.full_mask(p), 0.5), None),
    "pruning.train_masked": (masked, None),
    "subnetworks.check_network": (lambda p, c, d: subnetworks.check_network(p, d, c), MEASURES),
    "subnetworks.ensemble": (lambda p, c, d: subnetworks.ensemble(p, 0.5, d, config=c), MEASURES),
    "output_noise.gaussian_ensemble": (
        lambda p, c, d: output_noise.gaussian_ensemble(p, 0.5, d, config=c), MEASURES,
    ),
    "output_noise.dropconnect_ensemble": (
        lambda p, c, d: output_noise.dropconnect_ensemble(p, 0.5, d, config=c), MEASURES,
    ),
    "weight_scaling.monte_carlo": (
        lambda p, c, d: weight_scaling.monte_carlo(KEY, p, 0.5, d, None, config=c, draws=2, repeats=2),
        MEASURES,
    ),
}  # fmt: skip


def functions_of(name):
    """Returns the public functions of a module: those that it exports, or defines."""
    module = importlib.import_module(name)
    if name == "regjax":
        return filter(inspect.isfunction, (getattr(regjax, key) for key in regjax.__all__))
    found = [value for key, value in vars(module).items() if not key.startswith("_")]
    found = [f for f in found if inspect.isfunction(f) or hasattr(f, "__wrapped__")]  # as it is, or compiled
    return (f for f in found if f.__module__ == name)


def test_every_function_of_parameters_is_here():
    found = {
        f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        for name in MODULES
        for function in functions_of(name)
        if TAKEN & set(inspect.signature(function).parameters)
    }
    assert found - NO_NETWORK == set(CALLS)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("own", ["residual", "all blocks"])
def test_it_works_with_blocks_or_says_what_does(call, own):
    function, message = CALLS[call]
    config, data = config_of(own), samples()
    params = network.init_network(KEY, config, data)
    if message is None:
        for leaf in jax.tree.leaves(function(params, config, data)):
            assert np.isfinite(leaf).all()
        return
    with pytest.raises(ValueError, match=message) as caught:
        function(params, config, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", OWN)
@pytest.mark.parametrize("asked", OWN)
def test_parameters_and_config_must_have_the_same_blocks(given, asked):
    params, data = network.init_network(KEY, config_of(given), samples()), samples()
    config = config_of(asked)
    if given == asked:
        blocks.check_params(params, config)
        return
    for call in ("objective.cost", "evaluate.evaluate", "network.infer_logits"):
        with pytest.raises(
            ValueError, match=r"params must be of a .*network.*, as config says, got"
        ) as caught:
            CALLS[call][0](params, config, data)
        assert re.search("network with|plain network", str(caught.value))
        assert "\n" not in str(caught.value)


@pytest.mark.nightly
def test_a_mask_of_ones_trains_the_network_with_blocks():
    """Running statistics move too."""
    config, data = config_of("norm batch", batch_size=5), samples()
    params = network.init_network(KEY, config, data)
    found = masked(params, config, data)
    trained = regjax.make_train(config)(KEY, H, data)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), found.params, trained.params
    )
    assert np.abs(np.asarray(found.params[0].norm.mean)).max() > 0
