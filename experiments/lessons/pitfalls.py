# %% [markdown]
# # Pitfalls: overfitting, and gradients that vanish or explode
#
# A recurrent network learns its training sequences by heart; and its gradient, multiplied at every
# step, becomes nothing or everything. Here is the first on a small scale, the second from the
# measurements of this repository, and how to keep an eye on the gradients of a training.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd
from flax import nnx

import throughtime as tt

plt.style.use(["throughtime.throughtime", {"figure.dpi": 150}])
T, NOISE, rng = 10, 0.5, np.random.default_rng(0)

# %% [markdown]
# ## Start small
#
# The answer is the mean of the last two inputs, plus noise of variance 0.25, which no network can
# foresee. There are 24 known sequences and 200 unseen, and all is repeated with 8 seeds. A network
# of 32 tanh units against one of 2, each plain and with weight decay.


# %%
def draw(*shape):
    inputs = rng.normal(size=(*shape, T, 1))
    targets = inputs[..., -2:, :].mean(axis=-2) + NOISE * rng.normal(size=(*shape, 1))
    return jnp.asarray(inputs, jnp.float32), jnp.asarray(targets, jnp.float32)


def network(units, seed):
    rngs = nnx.Rngs(seed)
    cell = tt.make_cell("elman", 1, units, recurrent_scale=1.0, rngs=rngs)
    return nnx.split(tt.Model(cell, 1, rngs=rngs))


def train(structure, weights, known, unseen, decay):
    clip = tt.counted(optax.clip_by_global_norm(1.0))  # the first line of watching
    optimizer = optax.chain(clip, optax.adamw(0.02, weight_decay=decay))

    def error(weights, inputs, targets):
        model = nnx.merge(structure, weights)
        answers = jax.vmap(lambda xs: tt.many_to_one(model, xs))(inputs)
        return jnp.mean((answers - targets) ** 2)

    def update(now, _):
        weights, state = now
        changes, state = optimizer.update(jax.grad(error)(weights, *known), state, weights)
        errors = jnp.stack([error(weights, *known), error(weights, *unseen)])
        return (optax.apply_updates(weights, changes), state), errors

    begin = (weights, optimizer.init(weights))
    (weights, (counts, _)), errors = jax.lax.scan(update, begin, length=100)
    return errors, weights, counts.changed


train_all = jax.jit(jax.vmap(train, (None, 0, 0, 0, None)), static_argnums=0)
known, unseen, end = draw(8, 24), draw(8, 200), {}
figure, grid = plt.subplots(1, 2, figsize=(7.0, 2.2), sharey=True)
for axes, units in zip(grid, (32, 2), strict=True):
    structures, drawn = zip(*(network(units, seed) for seed in range(8)), strict=True)
    start = jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)
    for decay, style in ((0.0, "-"), (1.0, "--")):
        errors, weights, clipped = train_all(structures[0], start, known, unseen, decay)
        course = np.median(errors, axis=0)
        end[units, decay] = course[-1]
        axes.plot(course, style, label=[f"{who}, decay {decay:.0f}" for who in ("known", "unseen")])
        print(f"{units:2} units, decay {decay:.0f}: known, unseen", course[-1].round(2))
    axes.set(title=f"{units} units", xlabel="update", ylabel="mean squared error", ylim=(0, 1))
grid[0].legend(ncols=2)
plt.show()
assert end[32, 0][0] < 0.01 < 2 * NOISE**2 < end[32, 0][1]  # by heart, noise and all
assert end[2, 1][1] < end[2, 0][1] - 0.05  # small, and regularised

# %% [markdown]
# 32 units know every training sequence with its noise, and weight decay does not cure them. Two
# units overfit less, and with weight decay less still. So: begin small, regularise, then grow.
#
# ## Gated cells mitigate, to an extent
#
# From the standard sweep, 16 networks a point: log10 of the gradient at the first of T steps,
# relative to the last, at scales 1 to 4; and how many of all 21 scales keep it within a factor 10.

# %%
table = pd.read_csv(Path(tt.__file__).parents[2] / "results" / "standard" / "table.csv")
by_scale = table.pivot(index=["cell", "sequence_length"], columns="recurrent_scale")
ratio = by_scale["log10_gradient_ratio_median"].loc[(slice(None), [50, 200]), :]
kept = (ratio.abs() <= 1).sum(axis=1)
print(ratio[[1, 2, 3, 4]].round(2).assign(kept=kept).to_string())
assert kept["elman", 50] < kept["gru", 50] == kept["lstm", 50]  # to an extent,
assert np.all(kept[:, 200] == 2)  # but not entirely

# %% [markdown]
# ## Keep an eye on your gradients
#
# Two lines in any Flax loop. The first, marked above, has counted how many gradients were clipped.
# The second looks at one batch: which share of the gradient comes from 2 steps back or more, where
# in this task there is nothing to be learnt, and how many values of the units are saturated?

# %%
model = nnx.merge(structures[0], jax.tree.map(lambda leaf: leaf[0], weights))
batch, targets = draw(24)
error = lambda outputs: jnp.mean((model.read(outputs[:, -1]) - targets) ** 2)  # noqa: E731
seen = tt.watch_gradients(model.cell, batch, error, older_than=2)  # the second line
saturated = seen.saturation["hidden"]
print(f"clipped {clipped[0]}, older {seen.older_share:.1f}, saturated {saturated:.2f}")
assert 0 < seen.older_share < 0.5

# %% [markdown]
# ## Exercise
#
# Stop early: at which update is the unseen error of 2 units least, and is it less than with decay?
