"""Draws on the host are those of JAX, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regjax.core.host import BLOCK, bits, fold_in, initial_params, replicate_words, uniforms
from regjax.core.mlp import init_params
from regjax.core.random import as_key, replicate_key

WORDS = st.integers(0, 2**32 - 1)


@given(WORDS, WORDS)
def test_keys_are_those_of_replicates(seed, fold):
    expected = np.asarray(jax.random.key_data(replicate_key(seed, fold)))
    np.testing.assert_array_equal(replicate_words(seed, fold), expected)


@given(st.tuples(WORDS, WORDS), st.lists(WORDS, min_size=1, max_size=5))
def test_data_are_folded_in_as_by_jax(words, data):
    words = np.array(words, np.uint32)
    found = fold_in(words, np.array(data, np.uint32))
    expected = [np.asarray(jax.random.key_data(jax.random.fold_in(as_key(words), one))) for one in data]
    np.testing.assert_array_equal(found, np.stack(expected))
    several = fold_in(np.stack([words] * len(data)), np.array(data, np.uint32))
    np.testing.assert_array_equal(several, found)


@given(st.tuples(WORDS, WORDS), st.sampled_from([1, 7, 300]), st.sampled_from([-1.0, 0.0]))
@settings(max_examples=20)  # JAX compiles for each count
def test_bits_and_uniform_numbers_are_those_of_jax(words, count, low):
    words = np.array(words, np.uint32)
    key, drawn = as_key(words), bits(words[None], count)
    with jax.threefry_partitionable(True):
        np.testing.assert_array_equal(drawn[0], jax.random.bits(key, (count,), jnp.uint32))
        expected = jax.random.uniform(key, (count,), jnp.float32, low, 1.0)
    np.testing.assert_array_equal(uniforms(drawn, low)[0], expected)


@pytest.mark.sampled(1)
@pytest.mark.slow
@pytest.mark.bits
@pytest.mark.parametrize("init", ["tutorial", "he", "glorot", "sklearn", "sklearn_logistic"])
@pytest.mark.parametrize("sizes", [(2, 20, 3, 1), (1, 1), (64, 80, 7)])
def test_initial_parameters_are_those_of_a_compiled_program(sizes, init):
    assert sizes[0] < 64 or BLOCK < 64 * 80  # several blocks of normal numbers
    pairs = [(0, 0), (3, 1), (2**32 - 1, 7)]
    words = np.stack([replicate_words(*pair) for pair in pairs])
    for dtype in ("float32", "float64"):
        found = initial_params(words, sizes, init=init, dtype=dtype)
        for index, pair in enumerate(pairs):
            expected = init_params(replicate_key(*pair), sizes, init=init, dtype=dtype)
            own = jax.tree.map(lambda leaf, index=index: leaf[index], found)
            assert jax.tree.structure(own) == jax.tree.structure(expected)
            for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)
