"""The certificate of the native kernel: what it holds against what, and that it notices an error."""

import numpy as np
import pytest

from regjax.engine import native_certificate as module
from regjax.engine.native_certificate import as_text, certify

# Compiled as for users: XLA's older emitters, with which other tests are compiled, make the gradient of
# softmax that jax.grad finds NaN.
pytestmark = [pytest.mark.bits, pytest.mark.cpu("the native kernel is of CPUs")]


@pytest.mark.slow
def test_gradients_are_those_of_jax_grad(kernel):
    kernel("float64")
    (found,) = certify(activations=("tanh",), losses=("softmax_cross_entropy",), depths=(2,))
    assert found.ok
    assert found.error < 1e-13
    assert "softmax_cross_entropy" in as_text([found])


@pytest.mark.nightly
@pytest.mark.slow
def test_all_gradients_are_within_the_bound(kernel):
    kernel("float64")
    found = certify()
    assert len(found) == 4 * 5
    assert all(each.ok for each in found), as_text(found)


@pytest.mark.nightly
def test_a_wrong_gradient_is_flagged(monkeypatch, kernel):
    kernel("float64")
    right = module.advance_native

    def wrong(*arguments, **options):
        state = right(*arguments, **options)
        (w, b), *rest = state.params
        return state._replace(params=(type(state.params[0])(w + 1e-6, b), *rest))

    monkeypatch.setattr(module, "advance_native", wrong)
    (found,) = certify(activations=("relu",), losses=("squared_error",), depths=(0,))
    assert not found.ok
    assert "<-- exceeds its bound" in as_text([found])
    assert not found._replace(error=np.nan).ok
