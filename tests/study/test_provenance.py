"""Provenance: how a row was computed, what differs, and where another process went on."""

import json

import pytest

from regjax.study.provenance import chunk_of, continued, differences, in_words, place_in_words, provenance

ONE, OTHER = '{"chunk": "2×8", "device": "cpu"}', '{"chunk": "2×4", "jax": "1"}'


@pytest.mark.parametrize("shape", [(1, 1, False), (2, 8, True), (16, 128, False)])
def test_the_shape_of_a_chunk_comes_back(shape):
    assert chunk_of(provenance(*shape)) == shape
    assert chunk_of(provenance(*shape, ("dropout", "l1"))) == shape


@pytest.mark.parametrize("how", ["{}", '{"chunk": "2x8"}', '{"chunk": "2×8 of"}', '{"chunk": null}'])
def test_a_provenance_without_a_chunk_is_refused(how):
    with pytest.raises(ValueError, match="provenance must name a chunk, got"):
        chunk_of(how)


def test_a_provenance_has_what_is_set(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    provenance.cache_clear()
    found = json.loads(provenance(2, 4, True))
    assert set(found) == {
        "chunk", "device", "jax", "jaxlib", "numpy", "optax", "processor", "regjax",
    }  # fmt: skip
    assert json.loads(provenance(2, 4, True, ("l1", "dropout")))["on"] == "l1, dropout"
    monkeypatch.setenv("XLA_FLAGS", " --a ")
    provenance.cache_clear()
    assert json.loads(provenance(2, 4, True))["XLA_FLAGS"] == "--a"
    monkeypatch.delenv("XLA_FLAGS")
    provenance.cache_clear()


def test_a_row_that_goes_on_elsewhere_says_both():
    assert continued("", 0, ONE) == ONE
    assert continued(ONE, 10, ONE) == ONE
    both = json.loads(continued(ONE, 10, OTHER))
    assert both == json.loads(OTHER) | {"before": json.loads(ONE), "from_step": 10}
    assert continued(json.dumps(both), 20, OTHER) == json.dumps(both)
    assert json.loads(continued(json.dumps(both), 20, ONE))["before"] == both


def test_differences_and_words():
    assert differences(ONE, ONE) == []
    assert differences(ONE, OTHER) == [
        "chunk was 2×8, here 2×4",
        "device was cpu, here not said",
        "jax was not said, here 1",
    ]
    assert in_words(ONE) == "chunk 2×8, device cpu"
    assert in_words("{") == "damaged"
    assert place_in_words('{"chunk": "2×8", "on": "l1", "device": "cpu"}') == "device cpu"
