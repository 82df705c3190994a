"""The kernels of a step on a GPU that is not there: what is read of its program, and that it lowers."""

from __future__ import annotations

import importlib.util

import jax
import numpy as np
import pytest

from benchmarks import absent_gpu
from benchmarks.problems import problems, rows_of

COMPILED = """HloModule jit_f, is_scheduled=true

%fused (p: f32[4,8]) -> f32[4,8] {
  %p = f32[4,8]{1,0} parameter(0)
  ROOT %m = f32[4,8]{1,0} multiply(%p, %p)
}

%body (arg: (f32[4,8], s32[])) -> (f32[4,8], s32[]) {
  %arg = (f32[4,8]{1,0}, s32[]) parameter(0)
  %w = f32[4,8]{1,0} get-tuple-element(%arg), index=0
  %gemm.1 = (f32[4,4]{1,0}, s8[4194304]{0}) custom-call(%w, %w), custom_call_target="__cublas$lt$matmul"
  %g = f32[4,4]{1,0} get-tuple-element(%gemm.1), index=0
  %mul.2 = f32[4,8]{1,0} fusion(%w, %g), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/while/body/mul"}
  ROOT %out = (f32[4,8]{1,0}, s32[]) tuple(%mul.2, %g)
}

ENTRY %main (w: f32[4,8]) -> f32[4,8] {
  %w.1 = f32[4,8]{1,0} parameter(0)
  %loop = (f32[4,8]{1,0}, s32[]) while(%w.1), condition=%cond, body=%body
  ROOT %r = f32[4,8]{1,0} get-tuple-element(%loop), index=0
}
"""


def test_kernels_of_a_compiled_step_and_their_bytes():
    product, update = absent_gpu.kernels_of(COMPILED)
    assert product == (
        "custom-call",
        "custom-call",
        4 * 32,
        4 * 16,
    )  # an operand twice is read once; scratch is not counted
    assert update == ("mul", "fusion", 4 * 32 + 4 * 16, 4 * 32)


def test_a_loop_with_another_in_it_is_not_counted():
    nested = COMPILED.replace("custom-call(%w, %w)", "while(%w)")
    with pytest.raises(ValueError, match="kernels alone, got while"):
        absent_gpu.kernels_of(nested)


@pytest.mark.parametrize("networks", [16, 256])
def test_the_program_that_a_gpu_would_get_lowers_without_one(networks, monkeypatch):
    problem = problems()[0]
    function, arguments, known = absent_gpu.regjax_program(problem, rows_of(problem, networks))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    lowered = function.trace(*arguments, **known).lower(lowering_platforms=("cuda",))
    assert lowered.as_text().count("stablehlo.optimization_barrier") == 3
    assert np.size(arguments[1].learning_rate) == networks


def test_without_the_plugin_for_cuda_it_says_what_to_install():
    if importlib.util.find_spec("jax_plugins") is not None:
        pytest.skip("the plugin is there")
    with pytest.raises(RuntimeError, match=r"pip install -e '\.\[cuda\]'"):
        absent_gpu.main(["--problems", "tutorial", "--networks", "1"])
