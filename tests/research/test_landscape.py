"""Heights of lines and planes against one network at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import regjax
from regjax.core.evaluate import evaluate, score
from regjax.core.mlp import Layer
from regjax.core.objective import cost
from regjax.research.landscape import Line, barrier, line, surface
from regjax.research.networks import stack
from regjax.research.planes import plane_through, random_plane

pytestmark = pytest.mark.slow

KEY = jax.random.key(5)
CONFIG = regjax.Config(layer_sizes=(2, 5, 3, 1), dtype="float64")
HPARAMS = regjax.HParams(l2=0.7, l1=0.3, label_smoothing=0.1)


def network(seed=0, sizes=CONFIG.layer_sizes):
    return regjax.init_params(regjax.replicate_key(seed), sizes, dtype="float64", init="sklearn")


def samples(regression=False):
    rng = np.random.default_rng(2)
    x, n = jnp.asarray(rng.standard_normal((2, 30))), 30
    labels = rng.standard_normal((1, n)) if regression else rng.integers(0, 2, (1, n)).astype(np.int32)
    return regjax.Data(x, jnp.asarray(labels), jnp.ones(n))


def between(start, end, t):
    return jax.tree.map(lambda p, q: (1 - t) * p + t * q, start, end)


@pytest.mark.nightly
@pytest.mark.parametrize("regression", [False, True])
def test_a_line_has_the_heights_of_its_networks(regression, x64):
    data, hparams = samples(regression), regjax.HParams(l2=0.7) if regression else HPARAMS
    start, end = network(0), network(1)
    at = [-0.5, 0.0, 0.3, 1.0, 1.7]
    found = line(start, end, hparams, data, config=CONFIG, at=at)
    assert found.at.tolist() == at
    for index, t in enumerate(at):
        params = between(start, end, t)
        wanted = cost(params, hparams, data, config=CONFIG)
        assert found.cost[index].item() == pytest.approx(wanted.item(), rel=1e-12)
        assert found.loss[index].item() == pytest.approx(evaluate(params, data, config=CONFIG)["loss"].item())
        assert found.score[index].item() == pytest.approx(score(params, data, CONFIG).item())


def test_a_surface_has_the_heights_of_its_networks(x64):
    data, plane = samples(), random_plane(KEY, network())
    found = surface(plane, HPARAMS, data, config=CONFIG, a=[-1.0, 0.0, 0.5], b=[0.0, 2.0])
    assert found.loss.shape == (2, 3)
    for row, b in enumerate((0.0, 2.0)):
        for column, a in enumerate((-1.0, 0.0, 0.5)):
            params = jax.tree.map(lambda p, d, e: p + a * d + b * e, *plane[:3])  # noqa: B023
            wanted = cost(params, HPARAMS, data, config=CONFIG)
            assert found.cost[row, column].item() == pytest.approx(wanted.item(), rel=1e-12)


def test_the_plane_through_networks_shows_them_all(x64):
    networks = [network(seed) for seed in range(3)]
    plane, data = plane_through(*networks), samples()
    whole = surface(plane, HPARAMS, data, config=CONFIG)
    for axis, places in ((0, whole.a), (1, whole.b)):
        assert places[0] < plane.marks[:, axis].min()
        assert plane.marks[:, axis].max() < places[-1]
    for params, (a, b) in zip(networks, plane.marks, strict=True):
        at = surface(plane, HPARAMS, data, config=CONFIG, a=[a], b=[b])
        assert at.loss.item() == pytest.approx(evaluate(params, data, config=CONFIG)["loss"].item(), rel=1e-9)


def test_lines_under_vmap_are_those_one_by_one(x64):
    starts, ends = [network(0), network(1)], [network(2), network(3)]
    strengths, data = [regjax.HParams(l2=0.0), regjax.HParams(l2=3.0)], samples()

    def measure(start, end, hparams):
        return line(start, end, hparams, data, config=CONFIG)

    together = jax.jit(jax.vmap(measure))(stack(starts), stack(ends), stack(strengths))
    assert barrier(together).shape == (2,)
    for index in range(2):
        alone = measure(starts[index], ends[index], strengths[index])
        np.testing.assert_allclose(together.cost[index], alone.cost, rtol=1e-12)
        np.testing.assert_allclose(barrier(together)[index], barrier(alone), rtol=1e-9)


def test_the_objective_of_a_linear_network_is_convex_along_a_line(x64):
    # Without a hidden layer the cost is convex, so that there is no barrier.
    config = regjax.Config(layer_sizes=(2, 1), dtype="float64")
    found = line(network(0, (2, 1)), network(1, (2, 1)), HPARAMS, samples(), config=config)
    assert barrier(found) == 0
    assert (np.diff(found.cost, 2) > 0).all()


def test_a_barrier_is_the_rise_above_the_straight_line_between_the_ends():
    at = jnp.array([0.0, 0.25, 1.0])
    loss = jnp.array([1.0, 2.0, 5.0])
    assert barrier(Line(at, loss, loss, loss)) == 0
    higher = jnp.array([1.0, 4.0, 5.0])
    assert barrier(Line(at, loss, higher, loss)) == 2
    with pytest.raises(ValueError, match=r"along must go from 0 to 1, got \[0.25, 1.0\]"):
        barrier(Line(at[1:], loss[1:], loss[1:], loss[1:]))


def test_float32_stays_float32():
    config = regjax.Config(layer_sizes=(2, 4, 1))
    data, _ = regjax.two_regions(KEY)
    params = regjax.init_params(KEY, (2, 4, 1))
    found = surface(random_plane(KEY, params), regjax.HParams(), data, config=config, a=[0.0], b=[0.0])
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"float32"}


def test_bad_arguments_are_refused(x64):
    params, data = network(), samples()
    with pytest.raises(ValueError, match=r"end must have shapes .*, got"):
        line(params, network(0, (2, 5, 4, 1)), HPARAMS, data, config=CONFIG)
    diverged = (Layer(params[0].w, params[0].b * jnp.inf), *params[1:])
    with pytest.raises(ValueError, match="start must be finite, got NaN or infinity in layer 0, b"):
        line(diverged, params, HPARAMS, data, config=CONFIG)
    with pytest.raises(ValueError, match=r"at must have shape \(points,\), got \(\)"):
        line(params, params, HPARAMS, data, config=CONFIG, at=0.5)
    with pytest.raises(ValueError, match="at must be finite, got"):
        line(params, params, HPARAMS, data, config=CONFIG, at=[0.5, np.nan])
    with pytest.raises(TypeError, match=r"at must be numbers of shape \(points,\), got \['x'\]"):
        line(params, params, HPARAMS, data, config=CONFIG, at=["x"])
    plane = random_plane(KEY, params)
    with pytest.raises(ValueError, match=r"b must have shape \(points,\), got \(0,\)"):
        surface(plane, HPARAMS, data, config=CONFIG, b=[])
    with pytest.raises(ValueError, match="first must have shapes"):
        surface(plane._replace(first=params[:2]), HPARAMS, data, config=CONFIG)
