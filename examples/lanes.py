# %% [markdown]
# # From one network to a thousand: what `jit` and `vmap` are worth
#
# **Answer:** `jit` turns the steps of a run into one program, which removes nearly all the waiting of a
# small network. `vmap` trains many networks in one such program; on a processor it pays while they fit its
# cache, so a thousand networks are best trained in chunks. All figures are measured while this page is
# made, and hold for the machine that made it.

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import regjax
from regjax.core.objective import cost_and_grads

train, _ = regjax.two_regions(jax.random.key(0))
STEPS = 100
config = regjax.Config(layer_sizes=(2, 20, 3, 1), num_steps=STEPS, eval_every=STEPS)
fit = regjax.make_train(config)


def seconds(run, repeats=3):
    """Returns the least seconds of a call that was compiled before: what the machine does undisturbed."""
    jax.block_until_ready(run())
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(run())
        taken.append(time.perf_counter() - begun)
    return min(taken)


# %% [markdown]
# ## One network, without `jit` and with it
#
# Without `jit` each operation of a step is sent off alone; with it a whole run is one call.

# %%
hparams = regjax.HParams(learning_rate=jnp.float32(0.3), l2=jnp.float32(0.7))
key = regjax.replicate_key(seed=0)
data = jax.tree.map(jnp.asarray, train)


def descend(params):
    _, grads, *_ = cost_and_grads(params, hparams, data, config=config)
    return jax.tree.map(lambda p, g: p - 0.3 * g, params, grads)


def eager(steps=10):
    params = regjax.init_params(key, config.layer_sizes)
    for _ in range(steps):
        params = descend(params)
    return params


compiled = jax.jit(descend)


def step_by_step(steps=STEPS):
    params = regjax.init_params(key, config.layer_sizes)
    for _ in range(steps):
        params = compiled(params)
    return params


microseconds = {
    "no jit": 1e6 * seconds(eager) / 10,
    "jit of a step": 1e6 * seconds(step_by_step) / STEPS,
    "jit of the run": 1e6 * seconds(lambda: fit(key, hparams, train)) / STEPS,
}
one = pd.DataFrame({"µs per step": microseconds}).round(1)
one["times as fast as no jit"] = (microseconds["no jit"] / one["µs per step"]).round(1)
one

# %% [markdown]
# ## A thousand networks by `vmap`
#
# The same function, mapped over keys and over λ: each lane is a network with its own start and its own
# penalty.

# %%
many = jax.jit(jax.vmap(lambda key, l2: fit(key, regjax.HParams(learning_rate=0.3, l2=l2), train).params))


def lanes(count):
    keys = jnp.stack([regjax.replicate_key(seed=seed) for seed in range(count)])
    return keys, jnp.asarray(np.geomspace(0.01, 10, count), "float32")


COUNTS = [1, 10, 100, 1_000]
taken = {}
for count in COUNTS:
    keys, l2 = lanes(count)
    taken[count] = seconds(lambda keys=keys, l2=l2: many(keys, l2), repeats=2)

keys, l2 = lanes(1_000)
parts = [slice(first, first + 50) for first in range(0, 1_000, 50)]
chunks = seconds(lambda: [many(keys[part], l2[part]) for part in parts], repeats=2)

table = pd.DataFrame({"networks": COUNTS, "seconds": [taken[count] for count in COUNTS]})
table.loc[len(table)] = [1_000, chunks]
table.index = pd.Index([f"vmap of {count:,}" for count in COUNTS] + ["vmap of 50, 20 times"])
table["ms per network"] = 1e3 * table["seconds"] / table["networks"]
table["times as fast as one by one"] = table["ms per network"].iloc[0] / table["ms per network"]
table.round(3)

# %%
figure, ax = plt.subplots(figsize=(6, 3.4), dpi=80, layout="constrained")
ax.loglog(COUNTS, [taken[1] * count for count in COUNTS], "--", label="one by one")
ax.loglog(COUNTS, [taken[count] for count in COUNTS], "o-", label="one vmap")
ax.loglog(1_000, chunks, "D", label="vmap of 50, 20 times")
ax.set(xlabel="networks", ylabel="seconds", title=f"{STEPS} steps of 2-20-3-1 on 211 samples")
ax.legend()
plt.show()

# %% [markdown]
# ## The same networks
#
# A lane is the network that trains alone, to rounding: nothing is shared but the program.

# %%
keys, l2 = lanes(10)
together = many(keys, l2)
alone = fit(keys[7], regjax.HParams(learning_rate=0.3, l2=l2[7]), train).params
difference = max(
    float(jnp.max(jnp.abs(a[7] - b)))
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True)
)
print(f"largest difference of a parameter: {difference:.1e}")

# %%
assert microseconds["no jit"] > 3 * microseconds["jit of the run"]
assert difference < 1e-3

# %% [markdown]
# A GPU has room for more lanes than a processor, and its best width is another. `regjax.sweep` does all
# this for you: it packs configurations into chunks of a width that suits the device, compiles once for a
# shape, and keeps all cores at work.
