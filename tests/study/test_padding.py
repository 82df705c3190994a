"""Which networks are padded with zeros, and to which sizes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import regjax
from regjax.core.activations import ACTIVATIONS
from regjax.core.config import Config
from regjax.core.dropout import draw_masks
from regjax.core.hparams import HYPERPARAMETERS, check_hparams
from regjax.study import padding
from regjax.study.groups import make_groups, shapes_of, with_shapes
from regjax.study.padding import DRAWN_BY_WIDTH, THROUGH_ZERO, Sized, may_be_padded, shared_sizes
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design

hidden_layers = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple)


def of_sizes(hidden, count=10, **options):
    config = Config(layer_sizes=(2, *hidden, 1), **{"num_steps": 100} | options)
    return Sized(config, count, 50)


def test_the_activations_that_allow_zeros_are_those_through_zero():
    values = {name: float(pair.f(jnp.float32(0))) for name, pair in ACTIVATIONS.items()}
    assert set(THROUGH_ZERO) == {name for name, value in values.items() if value == 0}


@pytest.mark.parametrize("name", [n for n, h in HYPERPARAMETERS.items() if h.place == "masks"])
def test_what_draws_for_each_hidden_unit_is_known(name):
    """The masks of the first units are the same in a wider network, or their regulariser forbids zeros."""
    value = {"gaussian_dropout": 0.5}.get(name, 0.6)

    def masks(hidden):
        config = Config(layer_sizes=(3, hidden, 1))
        hparams = check_hparams(config, regjax.HParams(learning_rate=0.1, **{name: value}))
        return draw_masks(regjax.replicate_key(1), 90, hparams, config, 8, 100)

    narrow, wide = jax.tree.leaves(masks(4)), jax.tree.leaves(masks(7))
    same = all(
        np.array_equal(one, other[: one.shape[0], : one.shape[1]])
        for one, other in zip(narrow, wide, strict=True)
    )
    assert same == may_be_padded(Config(), (name,)) == (name not in DRAWN_BY_WIDTH)


@given(st.lists(st.tuples(hidden_layers, st.integers(1, 2000)), min_size=1, max_size=8))
def test_networks_fit_into_what_they_are_padded_to_and_nothing_gets_dearer(drawn):
    networks = [of_sizes(*each) for each in drawn]
    found = shared_sizes(networks)
    for network, sizes in zip(networks, found, strict=True):
        own = network.config.layer_sizes
        assert len(sizes) == len(own)
        assert all(a <= b for a, b in zip(own, sizes, strict=True))
        assert (sizes[0], sizes[-1]) == (own[0], own[-1])
        # Some network needs each of the widths.
        pool = [n.config.layer_sizes for n, s in zip(networks, found, strict=True) if s == sizes]
        assert tuple(max(widths) for widths in zip(*pool, strict=True)) == sizes
    alone = sum(n.seconds(n.config.layer_sizes) for n in networks) + padding.COMPILING * len(networks)
    together = sum(n.seconds(s) for n, s in zip(networks, found, strict=True))
    assert together + padding.COMPILING * len(set(found)) <= alone * (1 + 1e-9)


def test_zeros_are_added_where_they_cost_less_than_compiling():
    few, many = 1, 10**6
    assert shared_sizes([of_sizes((8,), few), of_sizes((16,), few)]) == [(2, 16, 1)] * 2
    assert shared_sizes([of_sizes((8,), many), of_sizes((16,), few)]) == [(2, 8, 1), (2, 16, 1)]
    # A million networks of 16 units cost nothing more when a few of 8 join them.
    assert shared_sizes([of_sizes((8,), few), of_sizes((16,), many)]) == [(2, 16, 1)] * 2


CONFIG = {"num_steps": 50, "eval_every": 50}


@pytest.mark.parametrize(
    ("config", "grid", "padded"),
    [
        ({}, {}, True),
        ({"activation": "sigmoid"}, {}, False),
        ({"norm": "layer"}, {}, False),
        ({}, {"keep_prob": 0.8}, False),
        ({}, {"input_keep_prob": 0.8}, True),
        ({"optimizer": "adam", "batch_size": 20}, {"max_norm": 2.0, "mixup": 0.2}, True),
    ],
    ids=str,
)
def test_a_grid_of_widths_has_one_program_a_depth(config, grid, padded):
    grid = regjax.grid(hidden=[(8,), (5,), (6, 3), (4, 7)], **({"l2": [0, 1]} | grid))
    design = make_design("two_regions", CONFIG | config, grid, folds=3)
    groups = make_groups(design)
    assert len(groups) == 4
    wanted = [(2, 8, 1), (2, 8, 1), (2, 6, 7, 1), (2, 6, 7, 1)]
    programs = [group.program.layer_sizes for group in groups]
    own = [group.config.layer_sizes for group in groups]
    assert programs == (wanted if padded else own)
    plan = make_plan(design, kernel="xla")
    assert plan.compilations == (2 if padded else 4)
    assert ("padded to 2-8-1" in str(plan)) == padded
    assert with_shapes(groups, shapes_of(groups)) == groups
    # Another device, or the native kernel, has no use for zeros.
    for other in (make_groups(design, "gpu"), make_groups(design, kernel="native")):
        assert all(not g.padded_to for g in other if g.kernel == "native" or g.config.is_plain is False)
    assert not any(group.padded_to for group in make_groups(design, "gpu"))


def test_the_native_kernel_compiles_for_no_width():
    design = make_design("two_regions", CONFIG, regjax.grid(hidden=[(8,), (5,), (6, 3)]), folds=3)
    plan = make_plan(design, kernel="native")
    assert all(group.kernel == "native" for group in plan.groups)
    assert plan.compilations == 1
    assert not any(group.padded_to for group in plan.groups)
    assert dataclasses.replace(plan, groups=plan.groups[:1]).compilations == 1
