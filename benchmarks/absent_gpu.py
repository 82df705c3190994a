"""What a step of training is on a GPU that is not there: its kernels, and the bytes that they read and write.

    pip install -e '.[bench,cuda]'                    # no GPU and no driver is needed
    python -m benchmarks.absent_gpu [--problems digits] [--networks 16 256]

XLA compiles regjax's plain program, and JAX by hand, for an NVIDIA H200. On a card it tries each product by
Triton, which may end with what follows the product, and by cuBLAS, and takes the faster one; here it cannot
try, so both programs are shown. Bytes and launches are no times: they say why one program may be the faster.
"""

from __future__ import annotations

import argparse
import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import jax
from jax.experimental import topologies

from benchmarks.cells import NAMES
from benchmarks.measure import write
from benchmarks.naive import naive_program
from benchmarks.problems import Problem, Rows, problems, rows_of
from regjax import Config, grid
from regjax.engine.lanes import BLOCKS, ChunkTask, advance_lanes, init_lanes, with_orders
from regjax.engine.packing import Waves
from regjax.engine.tasks import task_of
from regjax.study.design import Design
from regjax.study.plan import make_plan
from regjax.study.resolve import make_design

# What XLA asks a card for, as NVIDIA's data sheets and `cudaGetDeviceProperties` have it for an H200.
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 device_memory_size: 151397597184
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 } device_description_str: "NVIDIA H200"
"""
SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f64": 8, "s64": 8, "u64": 8}  # others: 4 bytes
# Instructions that launch nothing.
FREE = {"parameter", "get-tuple-element", "tuple", "constant", "bitcast"}


class Kernel(NamedTuple):
    """A kernel of a step: what it computes last, its kind, and the bytes that it reads and writes."""

    name: str
    operation: str
    read: int
    written: int


def kernels_of(program: str) -> list[Kernel]:
    """Returns the kernels of one step: of the loop in a compiled program whose body moves most bytes.

    A kernel that gathers some elements of an array counts as reading all of it.

    Args:
        program: text of a compiled program, each computation with its instructions.

    Raises:
        ValueError: the loop has another one, a branch or a call in it, whose kernels would not be counted.
    """
    loops: list[list[Kernel]] = [[]]
    bodies = set(re.findall(r"body=%([\w.\-]+)", program))
    for name, lines in _computations(program):
        if name in bodies:
            loops.append(list(_launched(lines)))
    found = max(loops, key=lambda kernels: sum(k.read + k.written for k in kernels))
    if nested := {kernel.operation for kernel in found} & {"while", "conditional", "call"}:
        raise ValueError(f"the loop of a step must have kernels alone, got {', '.join(sorted(nested))}")
    return found


def _computations(program: str) -> Iterator[tuple[str, list[str]]]:
    """Yields the name and the lines of each computation."""
    for found in re.finditer(r"^(?:ENTRY )?%([\w.\-]+) \(.*\{\n((?:  .*\n)+)\}", program, re.MULTILINE):
        yield found[1], found[2].splitlines()


def _launched(lines: list[str]) -> Iterator[Kernel]:
    shapes: dict[str, str] = {}
    for line in lines:
        found = re.match(r"\s+(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)", line)
        if found is None:
            continue
        name, shape, operation, arguments = found.groups()
        if operation == "custom-call":  # cuBLAS: (product, scratch memory)
            shape = re.sub(r", s8\[.*", "", shape)
        shapes[name] = shape
        if operation in FREE:
            continue
        said = re.search(r'op_name="[^"]*?([\w\-]+)"', line)
        read = sum(_bytes(shapes.get(one, "")) for one in set(re.findall(r"%([\w.\-]+)", arguments)))
        yield Kernel(said[1] if said else operation, operation, read, _bytes(shape))


def _bytes(shape: str) -> int:
    total = 0
    for kind, sizes in re.findall(r"(pred|[a-z]+\d+)\[([\d,]*)", shape):
        total += SIZES.get(kind, 4) * math.prod(map(int, filter(None, sizes.split(","))))
    return total


# -- the programs -------------------------------------------------------------------------------------------


def regjax_program(problem: Problem, rows: Rows) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Returns the loop of the first chunk that a GPU would train, its arguments, and the static ones."""
    settings: dict[str, Any] = {"layer_sizes": problem.layer_sizes, "batch_size": problem.batch_size}
    config = Config(**settings, num_steps=10_000, eval_every=10_000, metrics=())
    data = problem.x, problem.y
    design = make_design(data, config, grid(**rows.axes), seeds=rows.seeds, standardize=False)
    task = first_task(design)
    states = jax.eval_shape(
        functools.partial(init_lanes, config=task.config), task.replicates, task.hparams, None
    )
    ahead = with_orders(task, task.replicates, 0, BLOCKS[0])
    arguments = (ahead, task.hparams, states, 0, BLOCKS[0])
    known = {"config": task.config, "steps": BLOCKS[0]}
    return advance_lanes, (*arguments, task.num_batches, task.num_steps), known


def first_task(design: Design) -> ChunkTask:
    """Returns the task of the first chunk that one GPU would train by the plain program."""
    groups = make_plan(design, backend="gpu", devices=1, kernel="xla", workers=1).groups
    waves = Waves(design, groups, 1)
    taken = waves.take_unopened()
    assert taken is not None
    waves.open_wave(*taken, {})
    chunk = waves.next()
    assert chunk is not None
    return task_of(design, groups[0], chunk, (BLOCKS[0],), (False,))


def compiled(function: Any, arguments: Any, known: dict[str, Any], by: str) -> str:
    """Returns the text of a jitted function, compiled for an H200.

    Args:
        function: the function.
        arguments: its arguments, or their shapes.
        known: its static arguments.
        by: "Triton" or "cuBLAS", what products are computed by.

    Raises:
        RuntimeError: JAX's plugin for CUDA is not installed.
    """
    target = {"target_config": H200, "topology": "1x1x1"}
    try:
        topology = topologies.get_topology_desc("absent", platform="cuda", **target)
    except Exception as error:
        raise RuntimeError(
            "JAX must have its plugin for CUDA, pip install -e '.[cuda]'; it has not"
        ) from error
    place = jax.sharding.SingleDeviceSharding(topology.devices[0])
    shapes = jax.tree.map(
        lambda of: jax.ShapeDtypeStruct(of.shape, of.dtype, sharding=place),
        jax.eval_shape(lambda values: values, arguments),
    )
    options = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": by == "Triton"}
    with mock.patch("jax.default_backend", return_value="gpu"):  # which the traced functions ask
        lowered = function.lower(*shapes, **known)
    return lowered.compile(compiler_options=options).as_text()


def by_hand(problem: Problem, rows: Rows) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """Returns JAX by hand: the function and its arguments; it has no static ones."""
    function, arguments = naive_program(problem, rows)
    return function, (*arguments, BLOCKS[0]), {}


PROGRAMS: dict[str, Callable[..., tuple[Any, tuple[Any, ...], dict[str, Any]]]] = {
    "regjax": regjax_program,
    "JAX by hand": by_hand,
}


def main(arguments: list[str] | None = None) -> None:
    """Prints the kernels and megabytes of a step."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.absent_gpu", description=__doc__)
    parser.add_argument("--problems", nargs="+", choices=NAMES, default=["digits"])
    parser.add_argument("--networks", nargs="+", type=int, default=[16, 256])
    parser.add_argument("--kernels", action="store_true", help="print each kernel too")
    parser.add_argument("--json", help="write the numbers there")
    options = parser.parse_args(arguments)
    found: list[dict[str, Any]] = []
    print(f"{'':<44}{'kernels':>8}{'MB read':>10}{'MB written':>12}")
    for problem in (problems()[NAMES.index(name)] for name in options.problems):
        for networks in options.networks:
            for who, by in ((who, by) for who in PROGRAMS for by in ("Triton", "cuBLAS")):
                with jax.default_matmul_precision("highest"):
                    program = PROGRAMS[who](problem, rows_of(problem, networks))
                    kernels = kernels_of(compiled(*program, by))
                total = Kernel("", "", sum(k.read for k in kernels), sum(k.written for k in kernels))
                what = f"{problem.name}, {networks}, {who}, {by}"
                print(f"{what:<44}{len(kernels):>8}{total.read / 1e6:>10.1f}{total.written / 1e6:>12.1f}")
                for kernel in kernels if options.kernels else ():
                    print(f"  {kernel.name:<50}{kernel.read / 1e6:>10.1f}{kernel.written / 1e6:>12.1f}")
                found.append({
                    "problem": problem.name, "networks": networks, "program": who, "products": by,
                    "kernels": len(kernels), "read": total.read, "written": total.written,
                })  # fmt: skip
    write(options.json, {"programs": found})


if __name__ == "__main__":
    main()
