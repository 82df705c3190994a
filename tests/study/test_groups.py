"""Groups and the shapes of their chunks; those of an accelerator are pure functions that need none."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sweeps import points

import regjax
from regjax.core.config import Config
from regjax.study import groups
from regjax.study.groups import (
    ACCELERATOR_BUDGET,
    ACCELERATOR_LANES,
    accelerator_shape,
    chunk_lanes,
    lane_bytes,
    make_groups,
    rounded_up,
    shapes_of,
    with_shapes,
)
from regjax.study.plan import default_workers, make_plan
from regjax.study.resolve import make_design

counts = st.integers(1, 3000)
caps = st.integers(1, ACCELERATOR_LANES).map(lambda n: rounded_up(n) if n <= 60_000 else ACCELERATOR_LANES)


def chunks_of(shape, replicates, configurations, shared):
    """The number of chunks that the rows of a group fill."""
    slots, lanes = shape
    filled = replicates * math.ceil(configurations / lanes) if shared else replicates * configurations / lanes
    return math.ceil(math.ceil(filled) / slots)


@given(st.integers(1, 10**6))
def test_rounding_up_adds_less_than_an_eighth_and_has_eight_sizes_an_octave(count):
    found = rounded_up(count)
    assert count <= found < count * 9 / 8
    assert rounded_up(found) == found
    assert len({rounded_up(n) for n in range(1025, 2049)}) == 8


@given(counts, counts, caps, st.booleans())
def test_a_chunk_keeps_to_the_cap_with_at_most_an_eighth_of_its_lanes_spare(
    replicates, configurations, most, shared
):
    rows = replicates * configurations
    shape = accelerator_shape(replicates, configurations, most=most, shared=shared)
    slots, lanes = shape
    assert 1 <= slots * lanes <= most
    chunks = chunks_of(shape, replicates, configurations, shared)
    # Configurations, or unshared rows, that fill more than one slot divide among slots up to one lane each.
    parts = math.ceil(configurations / lanes) * replicates if shared else chunks
    assert chunks * slots * lanes <= 9 / 8 * (
        rows + parts * (math.ceil(configurations / lanes) > 1 or not shared)
    )
    if configurations <= most and shared:
        assert lanes >= configurations  # the bits of a replicate are drawn once
    if shared and replicates * rounded_up(configurations) <= most:
        assert shape == (replicates, rounded_up(configurations))
    if not shared and rows <= most:
        assert shape == (1, rounded_up(rows))


@given(counts, counts, caps, st.booleans(), st.sampled_from([2, 3, 4, 8]))
@example(replicates=49, configurations=11, most=80, shared=True, devices=8)
def test_devices_have_equal_work(replicates, configurations, most, shared, devices):
    rows = replicates * configurations
    shape = accelerator_shape(replicates, configurations, most=most, shared=shared, devices=devices)
    assert 1 <= math.prod(shape) <= most
    chunks = chunks_of(shape, replicates, configurations, shared)
    if rows >= 64 * devices and (configurations >= 4 * devices or replicates >= 4 * devices):
        # A device has nothing to do only where even shares, in whole slots, leave nothing for it.
        slots, lanes = shape
        even = math.ceil(math.ceil(configurations / lanes) * replicates / devices)
        assert chunks >= devices or (shared and slots == even)
        in_turn = math.ceil(chunks / devices) * math.prod(shape)
        assert in_turn <= 1.5 * rows / devices


@pytest.mark.parametrize(
    ("most", "shared", "devices", "shape"),
    [
        (65_536, False, 1, (1, 16)),  # as many lanes as networks
        (65_536, True, 1, (4, 4)),
        (65_536, True, 2, (2, 4)),
        (65_536, True, 8, (1, 4)),  # too few configurations to divide them
        (8, True, 1, (2, 4)),
        (3, True, 1, (1, 2)),
        (1, True, 1, (1, 1)),
    ],
)
def test_shapes_of_four_replicates_of_four_configurations(most, shared, devices, shape):
    assert accelerator_shape(4, 4, most=most, shared=shared, devices=devices) == shape


def test_lanes_are_not_rounded_up_where_that_leaves_room_for_fewer_slots():
    assert accelerator_shape(11, 65, most=720, shared=True) == (11, 65)
    assert accelerator_shape(10, 65, most=720, shared=True) == (10, 72)


def test_a_few_replicates_too_many_for_one_chunk_make_two_full_ones():
    assert accelerator_shape(515, 128, most=65_536, shared=True) == (258, 128)


@pytest.mark.parametrize("layer_sizes", [(2, 20, 3, 1), (64, 256, 256, 10), (784, 4096, 4096, 10)])
@pytest.mark.parametrize("batch_size", [None, 32])
def test_an_accelerators_chunk_fits_its_budget(layer_sizes, batch_size):
    config = regjax.Config(layer_sizes=layer_sizes, batch_size=batch_size)
    lanes = chunk_lanes(config, 2000, "gpu")
    assert lanes == rounded_up(lanes) <= ACCELERATOR_LANES
    assert lanes == 1 or lanes * lane_bytes(config, 2000) <= ACCELERATOR_BUDGET
    wide = chunk_lanes(config, 2000, "gpu", own_inputs=10 * 2**20)
    assert 1 <= wide <= min(lanes, ACCELERATOR_BUDGET / (10 * 2**20))


def designed(**options):
    grid = {"keep_prob": [0.5, 0.6, 0.7, 0.8, 0.9], "l2": [0, 0.1, 1]}
    return make_design("two_regions", {"num_steps": 20}, options.pop("grid", grid), folds=2, **options)


def test_a_design_has_the_shapes_of_its_rows_whatever_the_workers():
    design = designed(seeds=4)
    for devices, shape in [(1, (8, 15)), (2, (4, 15)), (4, (2, 15))]:
        for workers in (1, 7, None):
            (group,) = make_plan(design, workers=workers, backend="gpu", devices=devices).groups
            assert group.shared
            assert (group.slots, group.lanes) == shape
    (group,) = make_groups(designed(seeds=4, pairing="independent"), "gpu")
    assert (group.shared, group.slots, group.lanes) == (False, 1, 120)
    again = with_shapes(make_groups(design, "gpu"), shapes_of(make_groups(design, "gpu", 4)))
    assert [(group.slots, group.lanes) for group in again] == [(2, 15)]  # as stored, here too


def test_inputs_of_each_fold_are_counted(monkeypatch):
    X, y = points(64, 200)
    monkeypatch.setattr(groups, "ACCELERATOR_BUDGET", 2**22)

    def lanes(standardize):
        design = make_design((X, y), {"num_steps": 20}, {"l2": 0}, seeds=50, folds=2, standardize=standardize)
        return make_groups(design, "gpu")[0]

    assert lanes(True).chunk < lanes(False).chunk
    assert lanes(True).chunk * (lane_bytes(lanes(True).config, 64) + X.size * 4) <= 2**22


def test_targets_of_each_fold_are_counted(monkeypatch):
    X, _ = points(64, 2)
    monkeypatch.setattr(groups, "ACCELERATOR_BUDGET", 2**22)

    def chunk(standardize_target, folds=2):
        options = {"seeds": 500, "folds": folds, "standardize_target": standardize_target}
        y = np.tile(X, 100)
        return make_groups(make_design((X, y), {"num_steps": 20}, {"l2": 0}, **options), "gpu")[0].chunk

    assert chunk(True) < chunk(False)


def test_workers_of_accelerators_and_cores():
    assert default_workers("gpu", 1) == 2
    assert default_workers("gpu", 4) == 8
    assert default_workers("cpu", 1) >= 1
    assert default_workers("cpu", 1000) == 1000
    assert np.isscalar(default_workers())


def test_a_record_of_many_samples_bounds_the_lanes_of_an_accelerator():
    config = Config(layer_sizes=(784, 128, 10), batch_size=32)
    few = chunk_lanes(config, num_samples=1_000, backend="gpu")
    many = chunk_lanes(config, num_samples=60_000, backend="gpu")
    assert many < few
    assert many * 60_000 * (784 + 128) * 4 <= ACCELERATOR_BUDGET


def test_shapes_are_stored_with_what_else_decides_bits():
    group = make_groups(make_design("two_regions", {"num_steps": 1}, {"l2": [0, 1]}))[0]
    for shared in (True, False):
        for kernel in ("auto", "native"):
            begun = group._replace(slots=2, lanes=3, shared=shared, kernel=kernel)
            assert with_shapes([group._replace(shared=not shared)], shapes_of([begun])) == (begun,)
    # A store of an earlier version says the shape alone.
    assert with_shapes([group], "[[2, 3]]") == (group._replace(slots=2, lanes=3),)
