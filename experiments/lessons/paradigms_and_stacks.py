# %% [markdown]
# # Five paradigms, and three ways to stack
#
# Problems differ in what is a sequence: the inputs, the outputs, both or neither.
#
# - one to one: a feed-forward network; one to many: a caption for an image;
# - many to one: is this review for or against?
# - many to many, of another length: a translation;
# - many to many, in step: the part of speech of every word.
#
# Each is a model of two layers here. Which output can learn from which input? The gradient answers:
# ‖∂y_s/∂x_t‖, a number for each output s and each input t.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx

import throughtime as tt

plt.style.use(["throughtime.throughtime", {"figure.dpi": 150}])
D, UNITS, T = 2, 8, 9
rngs = nnx.Rngs(0)
make = partial(tt.make_cell, "elman", D, UNITS, recurrent_scale=1.2, rngs=rngs)
stack, reader = make(layers=2), make(layers=2)
model = tt.Model(stack, D, rngs=rngs)
inputs = jnp.asarray(np.random.default_rng(0).normal(size=(T, D)), jnp.float32)

PARADIGMS = {  # from x_1 … x_T to the outputs, each of them (S, D)
    "one to one": (1, lambda xs: tt.one_to_one(model, xs[0])[None]),
    "one to many": (1, lambda xs: tt.one_to_many(model, xs[0], 4)),
    "many to one": (T, lambda xs: tt.many_to_one(model, xs)[None]),
    "another length": (T, lambda xs: tt.encode_decode(reader, model, xs, 4)),
    "in step": (T, lambda xs: tt.many_to_many(model, xs)),
}


@jax.jit
def all_maps(inputs):
    """‖∂y_s/∂x_t‖ of every paradigm, (S, T) each."""
    jacobians = [jax.jacrev(run)(inputs[:length]) for length, run in PARADIGMS.values()]
    return [jnp.sqrt(jnp.sum(jacobian**2, axis=(1, 3))) for jacobian in jacobians]


maps = dict(zip(PARADIGMS, all_maps(inputs), strict=True))
for name, found in maps.items():
    print(f"{name:14}  (out, in) {found.shape}; last output by first input: {found[-1, 0]:.3f}")
assert [found.shape for found in maps.values()] == [(1, 1), (4, 1), (1, T), (4, T), (T, T)]
assert np.allclose(maps["in step"], np.tril(maps["in step"]))  # no output knows the future
assert np.all(maps["another length"] > 0)  # every output knows every input, by way of one state
assert np.allclose(maps["in step"][-1], maps["many to one"][0], rtol=1e-4)


# %%
def draw(axes, image, title, ylabel):
    """A map of log10 of a gradient; where it is exactly 0 there is no colour."""
    logs = np.log10(image, where=image > 0, out=np.full(image.shape, np.nan))
    shown = axes.imshow(logs, origin="lower", vmin=-2, vmax=1, aspect="auto")
    axes.set(title=title, xlabel="input", ylabel=ylabel)
    axes.set_xticks(range(image.shape[1]), range(1, image.shape[1] + 1))
    axes.set_yticks(range(len(image)), range(1, len(image) + 1))
    return shown


figure, grid = plt.subplots(1, 5, figsize=(7.0, 1.9), width_ratios=[1, 1, 2, 2, 2])
for axes, (name, found) in zip(grid, maps.items(), strict=True):
    shown = draw(axes, np.asarray(found), name, "output" if axes is grid[0] else "")
figure.colorbar(shown, label="log10 ‖∂y/∂x‖")
plt.show()

# %% [markdown]
# In step, the map is a triangle: an output knows the inputs up to its own. With another length it
# is full, but all of it went through one state, the encoder's last.
#
# ## Three ways to stack
#
# Layers can simply be stacked; one may read in the other direction; or the upper one may have
# another granularity and move at every third step only. The loss is that of the sixth output alone;
# the map is the norm of its gradient by the state of each layer at each step, through time and
# depth.

# %%
slow = make(layers=2, slow_every=3)
both_ways = tt.Model(make(), D, backward=make(), rngs=rngs)
sixth = lambda y: jnp.sum(y[5])  # noqa: E731


@jax.jit
def stacks(inputs):
    two = tt.gradients_by_direction(both_ways, sixth, inputs, upward=True)
    return [
        tt.log_norm(tt.gradients_by_layer(stack, sixth, inputs, upward=True)),
        jnp.concatenate([tt.log_norm(two.forward), tt.log_norm(two.backward)]),
        tt.log_norm(tt.gradients_by_layer(slow, sixth, inputs, upward=True)),
    ]


titles = ("stacked", "other direction", "other granularity")
found = dict(zip(titles, map(np.exp, stacks(inputs)), strict=True))
figure, grid = plt.subplots(1, 3, figsize=(7.0, 1.6), sharex=True)
for axes, (name, image) in zip(grid, found.items(), strict=True):
    print(f"{name:18} step 1: {image[:, 0].round(3)}, step 9: {image[:, -1].round(3)}")
    shown = draw(axes, image, name, "layer")
figure.colorbar(shown, label="log10 ‖∂L/∂h‖")
plt.show()
ahead, behind = found["other direction"] > 0
assert list(ahead) == [True] * 6 + [False] * 3  # what was read before the sixth input, and it
assert list(behind) == [False] * 5 + [True] * 4  # and what comes after it
still = found["other granularity"][1]
assert np.allclose(still[[0, 3, 6]], still[[1, 4, 7]])  # between moves it keeps state and gradient

# %% [markdown]
# ## Exercise
#
# Let the slow layer move at every sixth step. How many steps of the upper layer are there between
# the first input and the loss now, and does more of the gradient arrive at step 1?
