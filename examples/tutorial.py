# %% [markdown]
# # What do L2 and dropout do? The tutorial by hand
#
# **Answer:** without a regulariser a small network learns the noise of its training samples; with L2 or
# dropout its border is smoother, and the gap between training and new samples is smaller. Here is all of
# it by hand, with the functions of `regjax.core`: forward, loss, backward, update.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import regjax
from regjax.core.dropout import dropout_masks
from regjax.core.losses import sigmoid_cross_entropy, sigmoid_cross_entropy_gradient
from regjax.core.mlp import Layer, backward, forward, init_params

# %% [markdown]
# ## The samples
#
# Points on a square, two classes with a curved border, and 10 % of the labels flipped: nobody can be right
# on more than 90 % of new points. Arrays are features-first: a column is a sample.

# %%
train, test = regjax.two_regions(jax.random.key(0), num_test=1_000)
n = train.x.shape[1]
train.x.shape, train.y.shape, test.x.shape

# %% [markdown]
# ## Forward, loss, backward
#
# `forward` returns the logits and what `backward` needs. The gradient of the loss in the logits is
# `σ(z) - y`; `backward` carries it through the layers.

# %%
SIZES = (2, 20, 3, 1)
key = regjax.replicate_key(seed=1)
params = init_params(key, SIZES)

logits, residuals = forward(params, train.x)
loss = jnp.mean(sigmoid_cross_entropy(logits, train.y))
d_logits = sigmoid_cross_entropy_gradient(logits, train.y) / n
grads, _, _ = backward(residuals, d_logits)

print(f"loss {loss:.3f}")
for number, (layer, grad) in enumerate(zip(params, grads, strict=True), 1):
    print(f"W{number} {layer.w.shape}, largest entry of its gradient {jnp.max(jnp.abs(grad.w)):.4f}")

# %% [markdown]
# ## One step of training
#
# Three lines are about regularisation:
#
# - **dropout** multiplies each hidden unit by 0 or by 1/keep_prob, drawn anew in every step;
# - **L2** adds `λ/(2n) Σ W²` to the cost,
# - and so `λ/n W` to the gradient. Biases are never penalised.

# %%
RATE, STEPS = 0.3, 15_000


def cost(params, l2):
    logits, _ = forward(params, train.x)
    penalty = sum(jnp.sum(layer.w**2) for layer in params)
    return jnp.mean(sigmoid_cross_entropy(logits, train.y)) + l2 / (2 * n) * penalty


def step(params, number, l2, keep_prob):
    masks = dropout_masks(key, number, SIZES, n, keep_prob=keep_prob)
    logits, residuals = forward(params, train.x, masks)
    d_logits = sigmoid_cross_entropy_gradient(logits, train.y) / n
    grads, _, _ = backward(residuals, d_logits)
    return tuple(
        Layer(w - RATE * (dw + l2 / n * w), b - RATE * db)
        for (w, b), (dw, db) in zip(params, grads, strict=True)
    )


@jax.jit
def hundred_steps(params, first, l2, keep_prob):
    return jax.lax.fori_loop(
        first, first + 100, lambda number, params: step(params, number, l2, keep_prob), params
    )


def fit(l2, keep_prob, steps=STEPS):
    params, costs = init_params(key, SIZES), []
    l2, keep_prob = jnp.float32(l2), jnp.float32(keep_prob)
    for first in range(0, steps, 100):
        costs.append(float(cost(params, l2)))
        params = hundred_steps(params, first, l2, keep_prob)
    return params, costs


# %% [markdown]
# ## Three networks
#
# The same start, the same samples; only the regulariser differs.

# %%
NETWORKS = {"none": (0, 1), "L2, λ = 0.7": (0.7, 1), "dropout, keep 0.86": (0, 0.86)}
fitted = {name: fit(*values) for name, values in NETWORKS.items()}


def accuracy(params, data):
    logits, _ = forward(params, data.x)
    return float(jnp.mean((logits > 0) == data.y))


print(f"{'':<20}{'training':>10}{'new':>8}{'gap':>8}")
for name, (params, _) in fitted.items():
    seen, new = accuracy(params, train), accuracy(params, test)
    print(f"{name:<20}{seen:>10.3f}{new:>8.3f}{seen - new:>+8.3f}")

# %%
figure, ax = plt.subplots(figsize=(6, 3.2), dpi=80, layout="constrained")
for name, (_, costs) in fitted.items():
    ax.plot(range(0, STEPS, 100), costs, label=name)
ax.set(xlabel="step", ylabel="cost", title="Cost on the training samples")
ax.legend()
plt.show()

# %% [markdown]
# ## Their borders
#
# Look at the islands around single samples: those are flipped labels that the first network has learnt by
# heart.

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), dpi=70, layout="constrained")
for ax, (name, (params, _)) in zip(axes, fitted.items(), strict=True):
    regjax.plot.boundary(
        lambda points, params=params: jax.nn.sigmoid(forward(params, jnp.asarray(points.T, "float32"))[0])[0],
        train,
        ax=ax,
    )
    ax.set_title(name)
plt.show()

# %% [markdown]
# ## The same in one call
#
# `regjax.make_train` runs this loop as one compiled program. It gives the same network as the loop above,
# to rounding.

# %%
whole = regjax.make_train(regjax.Config(layer_sizes=SIZES, num_steps=1_000, eval_every=500))
run = whole(key, regjax.HParams(learning_rate=RATE, l2=0.7), train, test)
by_hand, _ = fit(0.7, 1, steps=1_000)
difference = max(float(jnp.max(jnp.abs(a.w - b.w))) for a, b in zip(run.params, by_hand, strict=True))
print(f"largest difference of a weight after 1,000 steps: {difference:.1e}")

# %%
seen = {name: accuracy(params, train) for name, (params, _) in fitted.items()}
gaps = {name: seen[name] - accuracy(params, test) for name, (params, _) in fitted.items()}
assert seen["none"] == max(seen.values()), "without a regulariser more is learnt by heart"
assert gaps["none"] == max(gaps.values())
assert all(costs[-1] < costs[0] for _, costs in fitted.values())
assert difference < 1e-2

# %% [markdown]
# One run of each is an anecdote: another seed gives other numbers. Whether a regulariser helps on your
# data is a question for folds, seeds and intervals; the next notebook asks it.
