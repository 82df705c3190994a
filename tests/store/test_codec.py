"""Coding: arrays are safetensors files, nothing is pickled, and what is packed comes back."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from stores import CONFIG, make_design, run
from sweeps import points

import regjax
from regjax.core.config import Config
from regjax.core.hparams import check_hparams
from regjax.core.mlp import Layer
from regjax.core.train import init_state
from regjax.store.codec import (
    ASKED_COLUMNS,
    as_params,
    as_state,
    asked_columns,
    leaves,
    leaves_under,
    pack,
    pack_data,
    pack_design,
    pack_rows,
    under,
    unpack,
    unpack_data,
    unpack_design,
)
from regjax.store.database import StoreError
from regjax.store.identity import identities
from regjax.store.store import Store


@given(
    st.dictionaries(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8),
        st.tuples(st.sampled_from(["<f4", "<f8", "<i4", "|b1"]), st.lists(st.integers(0, 3), max_size=3)),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**32 - 1),
)
def test_packed_arrays_are_safetensors(fields, seed):
    rng = np.random.default_rng(seed)
    rows = {n: rng.integers(0, 9, (2, *shape)).astype(dtype) for n, (dtype, shape) in fields.items()}
    packed = pack_rows(rows)
    for index, content in enumerate(packed):
        found = unpack(content)
        assert set(found) == set(rows)
        assert safetensors.numpy.load(content).keys() == found.keys()
        for name, value in rows.items():
            np.testing.assert_array_equal(found[name], value[index])
            assert found[name].dtype == value.dtype
    whole = packed[0]
    for broken in (b"", whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], whole + b"x"):
        with pytest.raises(ValueError, match="must be a safetensors file"):
            unpack(broken)


def test_nothing_is_unpickled(tmp_path):
    sources = "".join(path.read_text() for path in Path(regjax.__file__).parent.rglob("*.py"))
    assert not re.search(r"allow_pickle=True|import pickle|pickle\.", sources)
    path = tmp_path / "runs.sqlite"
    run(path, grid={"l2": [0]}, seeds=1)
    evil = tmp_path / "evil.npy"
    np.save(evil, np.array([print], dtype=object), allow_pickle=True)
    with Store(path) as store, store.transaction() as connection:
        connection.execute("UPDATE arrays SET value = ?", [evil.read_bytes()])
    with pytest.raises(StoreError, match="is damaged"):
        run(path, grid={"l2": [0]}, seeds=1)


@pytest.mark.parametrize(
    "options",
    [
        {"folds": 3, "seeds": [2, 5]},
        {"validation": 0.3, "test": 0.2, "standardize": True, "pairing": "independent"},
        {"folds": 2, "fold_inputs": "own", "grid": {"patience": 5, "hidden": [(4,), (3, 2)]}},
    ],
)
def test_a_design_comes_back_as_it_was(options):
    X, y = points(60, 3, 2)
    options = {"grid": {"l2": [0, 0.1], "keep_prob": [1, (0.9, 0.8)], "hidden": [(6, 3)]}} | options
    if "fold_inputs" in options:
        options["fold_inputs"] = [X, 2 * X]
    design = make_design((X, np.array(["a", "b"])[y]), CONFIG, options.pop("grid"), **options)
    text, packed = pack_design(design)
    data, test = (None if d is None else unpack_data(pack_data(d)) for d in (design.data, design.test))
    found = unpack_design(text, packed, data, test)
    assert identities(found) == identities(design)
    assert found.configurations == design.configurations
    assert (found.configs, found.num_batches, found.seeds) == (
        design.configs,
        design.num_batches,
        design.seeds,
    )
    assert (found.notes, found.pairing, found.standardize) == (
        design.notes,
        design.pairing,
        design.standardize,
    )
    np.testing.assert_array_equal(found.classes, design.classes)
    jax.tree.map(np.testing.assert_array_equal, found.hparams, design.hparams)
    columns, again = asked_columns(design), asked_columns(found)
    for index in range(len(design.configurations)):
        assert columns(index) == again(index)
        assert len(columns(index)) == len(ASKED_COLUMNS)


def test_a_design_of_an_older_store_does_not_standardise_targets():
    X, _ = points(60, 3, 2)
    design = make_design((X, X[:, 0]), CONFIG | {"metrics": None}, folds=2, standardize_target=True)
    text, packed = pack_design(design)
    assert unpack_design(text, packed, design.data, None).standardize_target
    older = {name: value for name, value in json.loads(text).items() if name != "standardize_target"}
    assert not unpack_design(json.dumps(older), packed, design.data, None).standardize_target


def test_data_of_other_arrays_are_refused():
    with pytest.raises(ValueError, match="data must have x, y, weights, got a"):
        unpack_data(pack({"a": np.ones(2)}))


def test_leaves_come_back_in_order_however_many():
    tree = tuple(Layer(np.full((1, 1), 2 * i), np.full((1, 1), 2 * i + 1)) for i in range(7))
    arrays = unpack(pack(leaves("params", tree) | {"parameters": np.zeros(1)}))
    assert set(under("params", arrays)) == set(map(str, range(14)))
    jax.tree.map(np.testing.assert_array_equal, as_params(leaves_under("params", arrays), Config()), tree)


@pytest.mark.parametrize("hparams", [{}, {"patience": 5.0}, {"ema_decay": 0.9}])
def test_a_training_state_comes_back(hparams):
    config = regjax.Config(layer_sizes=(2, 3, 1), optimizer="adam")
    hparams = check_hparams(config, regjax.HParams(**hparams))
    state = jax.tree.map(np.asarray, init_state(regjax.replicate_key(0), hparams, config=config))
    packed = pack(leaves("state", state))
    found = as_state(leaves_under("state", unpack(packed)), config, hparams)
    assert jax.tree.structure(found) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, found, state)
