"""Memory of a plan: that of the host on every backend, and that of a device where there is an accelerator."""

import jax
import pytest

import regjax
from regjax.study import plan as planning
from regjax.study.groups import lane_bytes
from regjax.study.plan import device_memory, make_plan
from regjax.study.resolve import make_design

CONFIG = {"hidden": (5,), "num_steps": 20, "eval_every": 10}


class Device:
    """A device that says how much memory JAX may take of it, as a GPU does, or does not say, as a CPU."""

    def __init__(self, limit):
        self.limit = limit

    def memory_stats(self):
        return None if self.limit is None else {"bytes_limit": self.limit, "bytes_in_use": 0}


def with_devices(monkeypatch, *limits):
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(limit) for limit in limits])


def designed(config=CONFIG, **options):
    return make_design("two_regions", config, {"l2": [0, 0.1]}, **({"seeds": 4, "folds": 2} | options))


def test_memory_of_a_device_is_that_of_the_smallest(monkeypatch):
    for limits, least in [((None,), None), ((8000,), 8000), ((8000, 5000, None), 5000), ((0,), None)]:
        with_devices(monkeypatch, *limits)
        assert device_memory() == least


def test_one_network_must_fit_into_the_memory_of_an_accelerator(monkeypatch):
    design = designed()
    lane = lane_bytes(design.configs[0], design.padded.x.shape[1])
    with_devices(monkeypatch, lane)
    make_plan(design, backend="gpu")
    with_devices(monkeypatch, lane - 1)
    with pytest.raises(
        ValueError, match=r"grid must fit into \d+ KiB of the device's memory, got .* even with one network"
    ):
        make_plan(design, backend="gpu")
    make_plan(design)  # a CPU has no other memory than the host's
    with_devices(monkeypatch, None)
    make_plan(design, backend="gpu")


def test_a_network_of_terabytes_is_refused_before_anything_is_compiled(monkeypatch):
    with_devices(monkeypatch, 80 * 2**30)
    with pytest.raises(ValueError, match=r"grid must fit into 80.0 GiB of the device's memory, got"):
        make_plan(designed({"hidden": (1_000_000, 1_000_000)}), backend="gpu")
    with_devices(monkeypatch, None)
    monkeypatch.setattr(planning, "free_memory", lambda: 64 * 2**30)
    with pytest.raises(ValueError, match=r"grid must fit into 64.0 GiB of free memory, got"):
        make_plan(designed({"hidden": (1_000_000, 1_000_000)}), backend="gpu")


def test_data_and_results_must_fit_into_the_memory_of_the_host_on_every_backend(monkeypatch):
    monkeypatch.setattr(planning, "free_memory", lambda: 1000)
    for backend, words in [("cpu", r"even with one network at a time \(data .*, chunks"), ("gpu", r"\(data")]:
        with pytest.raises(ValueError, match=f"grid must fit into 1000 B of free memory, got .* {words}"):
            make_plan(designed(), backend=backend)


def test_chunks_of_an_accelerator_are_counted_on_the_device():
    design = designed()
    plan, alike = (make_plan(design, backend="gpu", devices=1, workers=workers) for workers in (2, 9))
    assert list(plan.memory) == ["data", "results", "parameters"]
    assert "on the device: " in str(plan)
    # One chunk holds all networks of the sweep, so there are never two of it in work.
    data = design.padded.x.nbytes + design.padded.y.nbytes
    lane = lane_bytes(design.configs[0], design.padded.x.shape[1])
    assert plan.on_device == alike.on_device == data + plan.groups[0].chunk * lane
    assert make_plan(design, backend="gpu", devices=2).on_device < plan.on_device
    on_cpu = make_plan(design, workers=2)
    assert (on_cpu.on_device, "chunks in work" in on_cpu.memory) == (0, True)
    assert "on the device" not in str(on_cpu)


def test_inputs_of_all_folds_are_counted_once_or_for_each_chunk(monkeypatch):
    def memory(**options):
        return regjax.plan("two_regions", grid={"l2": [0, 1]}, folds=5, probe=False, **options).memory

    alike, own = memory(standardize=False), memory(standardize=True)
    inputs = 2 * 224 * 4  # 211 samples, padded
    assert (
        own["data"] - alike["data"] == 5 * inputs + 2 * 4 * inputs
    )  # NumPy's, and the device's in both layouts
    assert own["chunks in work"] == alike["chunks in work"]
    monkeypatch.setattr("regjax.study.plan.INPUTS_BUDGET", 0)
    apart = memory(standardize=True)
    assert apart["data"] - alike["data"] == 5 * inputs - 2 * inputs
    assert apart["chunks in work"] > own["chunks in work"]
    assert memory(standardize=False) == alike


def test_the_plan_names_the_blocks_of_each_group():
    design = make_design("two_regions", CONFIG | {"members": 2}, {"norm": ["none", "layer"]})
    words = str(make_plan(design))
    assert "2-5-1, members 2, sgd, full batch" in words
    assert "2-5-1, norm layer, members 2, sgd, full batch" in words
