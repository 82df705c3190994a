"""Planes of networks: lengths and angles of their directions, and what they do not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import regjax
from regjax.core.mlp import Layer, forward
from regjax.research.networks import stack
from regjax.research.planes import filter_normalised, plane_through, random_plane

pytestmark = pytest.mark.slow

KEY = jax.random.key(5)
SIZES = (3, 6, 4, 2)


def network(seed=0, sizes=SIZES):
    return regjax.init_params(regjax.replicate_key(seed), sizes, dtype="float64", init="sklearn")


def flat(params):
    return np.asarray(ravel_pytree(params)[0])


def moved(plane, a, b):
    return jax.tree.map(lambda p, d, e: p + a * d + b * e, plane.origin, plane.first, plane.second)


def test_each_filter_of_a_random_direction_has_the_norm_of_the_networks(x64):
    params = network()
    plane = random_plane(KEY, params)
    for direction in (plane.first, plane.second):
        for d, w in zip(direction, params, strict=True):
            np.testing.assert_allclose(np.linalg.norm(d.w, axis=1), np.linalg.norm(w.w, axis=1), rtol=1e-12)
            assert not d.b.any()
    assert abs(flat(plane.first) @ flat(plane.second)) < 0.5 * np.sum(flat(plane.first) ** 2)


def test_directions_that_are_not_normalised_have_the_norm_of_all_weights(x64):
    params = network()
    plane = random_plane(KEY, params, normalised=False)
    weights = np.concatenate([np.ravel(layer.w) for layer in params])
    assert np.linalg.norm(flat(plane.first)) == pytest.approx(np.linalg.norm(weights))
    ratios = np.linalg.norm(plane.first[0].w, axis=1) / np.linalg.norm(params[0].w, axis=1)
    assert np.ptp(ratios) > 0.1


@pytest.mark.parametrize("normalised", [True, False])
def test_how_a_relu_layer_is_scaled_changes_only_a_plane_that_is_not_normalised(normalised, x64):
    params = network()
    factor = 20.0
    scaled = (
        Layer(params[0].w * factor, params[0].b * factor),
        Layer(params[1].w / factor, params[1].b),
        params[2],
    )
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 10)))
    np.testing.assert_allclose(forward(scaled, x)[0], forward(params, x)[0], rtol=1e-9)
    logits = [
        forward(moved(random_plane(KEY, p, normalised=normalised), 0.4, -0.3), x)[0] for p in (params, scaled)
    ]
    assert np.allclose(*logits, rtol=1e-9) == normalised


def test_a_unit_without_weights_stays(x64):
    params = network()
    dead = (Layer(params[0].w.at[2].set(0), params[0].b), *params[1:])
    plane = random_plane(KEY, dead)
    assert not plane.first[0].w[2].any()
    assert np.isfinite(flat(plane.first)).all()
    assert plane.first[0].w[1].any()


def test_the_plane_through_three_networks_has_them_at_its_marks(x64):
    networks = [network(seed) for seed in range(3)]
    plane = plane_through(*networks)
    for params, (a, b) in zip(networks, plane.marks, strict=True):
        np.testing.assert_allclose(flat(moved(plane, a, b)), flat(params), atol=1e-12)
    u, v = flat(plane.first), flat(plane.second)
    np.testing.assert_allclose([u @ u, v @ v, u @ v], [1, 1, 0], atol=1e-12)
    distance = np.linalg.norm(flat(networks[2]) - flat(networks[1]))
    assert np.linalg.norm(plane.marks[2] - plane.marks[1]) == pytest.approx(distance)


def test_planes_under_vmap_are_those_one_by_one(x64):
    networks = [network(seed) for seed in range(3)]
    together = jax.vmap(random_plane, in_axes=(None, 0))(KEY, stack(networks))
    for index, params in enumerate(networks):
        alone = random_plane(KEY, params)
        np.testing.assert_allclose(together.second[1].w[index], alone.second[1].w, rtol=1e-12)
    # On one line nothing is refused under vmap: the third direction has no length.
    line = [jax.tree.map(lambda leaf, f=f: f * leaf, networks[0]) for f in (1.0, 2.0, 3.0)]
    found = jax.jit(plane_through)(*line)
    assert np.isfinite(flat(found)).all()


def test_three_networks_on_one_line_are_refused(x64):
    params = network()
    line = [jax.tree.map(lambda leaf, f=f: f * leaf, params) for f in (1.0, 2.0, 3.0)]
    with pytest.raises(ValueError, match="one, two and three must not lie on one line, got a third network"):
        plane_through(*line)
    with pytest.raises(ValueError, match="one, two and three must not lie on one line"):
        plane_through(params, params, network(1))
    with pytest.raises(ValueError, match="one, two and three must not lie on one line"):
        plane_through(params, network(1), params)


def test_bad_networks_are_refused(x64):
    params = network()
    with pytest.raises(ValueError, match=r"three must have the shapes \[.*\] of one, got \["):
        plane_through(params, network(1), network(2, (3, 6, 5, 2)))
    diverged = (Layer(params[0].w * jnp.nan, params[0].b), *params[1:])
    with pytest.raises(ValueError, match="two must be finite, got NaN or infinity in layer 0, w"):
        plane_through(params, diverged, params)
    with pytest.raises(ValueError, match="params must be finite"):
        random_plane(KEY, diverged)
    nothing = jax.tree.map(jnp.zeros_like, params)
    with pytest.raises(ValueError, match="params must have weights that are not 0, got 0 in every layer"):
        random_plane(KEY, nothing)
    still = (Layer(params[0].w.at[4].set(0), params[0].b), *params[1:])
    with pytest.raises(
        ValueError, match="direction must not be 0 for a whole unit, got 0 in layer 0, unit 4"
    ):
        filter_normalised(still, params)
    with pytest.raises(ValueError, match="direction must have weights of shapes"):
        filter_normalised(params[:2], params)
