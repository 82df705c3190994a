# %% [markdown]
# # Is my backward right?
#
# **Answer:** ask `regjax.check_gradient`. It compares a hand-written backward with JAX's own derivative
# and with central differences, array by array, and names the array that is wrong.

# %%
import jax
import jax.numpy as jnp
import numpy as np

import regjax

rng = np.random.default_rng(0)
x = rng.standard_normal((3, 8))
w = 0.5 * rng.standard_normal((4, 3))
b = 0.1 * rng.standard_normal((4, 1))

# %% [markdown]
# ## A layer, by a student
#
# `z = W x + b` and `y = tanh z`. Forward returns its output and whatever backward needs. There are two
# slips in this backward; try to see them before you go on.

# %%


def forward(x, w, b):
    z = w @ x + b
    return jnp.tanh(z), (x, w, z)


def backward(residuals, dy):
    x, w, z = residuals
    dz = dy * (1 - jnp.tanh(z) ** 2)
    dw = dz @ x.T / x.shape[1]
    db = dz
    return w.T @ dz, dw, jnp.mean(db, axis=1, keepdims=True)


first = regjax.check_gradient(forward, backward, x, w, b)
print(first)

# %% [markdown]
# The gradient of the first input is right, so `dz` is right; the other two are wrong by the same factor.
# An error near 0.9 is no rounding: with 8 samples it is `1 - 1/8`. The mean over samples belongs to the
# loss, which has already put it into `dy`; a layer takes the **sum**.

# %%


def mended(residuals, dy):
    x, w, z = residuals
    dz = dy * (1 - jnp.tanh(z) ** 2)
    return w.T @ dz, dz @ x.T, jnp.sum(dz, axis=1, keepdims=True)


second = regjax.check_gradient(forward, mended, x, w, b)
print(second)

# %% [markdown]
# ## With L2
#
# The penalty is `λ/(2n) Σ W²`, its gradient `λ/n W`. Forgetting that the 2
# cancels is the most common slip.

# %%
LAMBDA, N = 0.7, 8


def penalty(w):
    return LAMBDA / (2 * N) * jnp.sum(w**2), w


halved = regjax.check_gradient(penalty, lambda w, d: d * LAMBDA / (2 * N) * w, w)
right = regjax.check_gradient(penalty, lambda w, d: d * LAMBDA / N * w, w)
print(f"with the 2:\n{halved}\nwithout:\n{right}")

# %% [markdown]
# ## With dropout
#
# The mask that was drawn in forward must multiply in backward too, the scale 1/keep_prob with it. It is
# part of the residuals and no input: its gradient is None.

# %%
mask = np.asarray(jax.random.bernoulli(jax.random.key(1), 0.8, (4, 8))) / 0.8


def dropped(a):
    return a * mask, mask


forgotten = regjax.check_gradient(dropped, lambda mask, d: d, rng.standard_normal((4, 8)))
kept = regjax.check_gradient(dropped, lambda mask, d: d * mask, rng.standard_normal((4, 8)))
print(f"mask forgotten:\n{forgotten}\nmask kept:\n{kept}")

# %% [markdown]
# ## At a kink
#
# ReLU has no derivative at 0: a central difference there is ½, and neither side is wrong. Keep test inputs
# away from it.

# %%
assert [check.ok for check in first.checks] == [True, False, False]
assert abs(first.checks[1].central_error - (1 - 1 / 8)) < 1e-6
assert second.ok
assert not halved.ok
assert right.ok
assert not forgotten.ok
assert kept.ok
