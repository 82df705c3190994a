"""Coding: arrays are safetensors files, nothing is pickled."""

import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from stores import run

import regjax
from regjax.store.codec import pack_rows, unpack
from regjax.store.database import StoreError
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
