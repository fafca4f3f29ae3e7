# %% [markdown]
# # Unrolling: a recurrent network is a feed-forward network with tied weights
#
# The connections of a recurrent network form a cycle: hidden nodes feed themselves. How can
# backpropagation, which needs a first layer and a last, deal with that? Draw the network once for
# every step. What comes out is feed-forward, but every layer has an input of its own, and all
# layers have the same weights.
#
#     recurrent:     h_t = tanh(W_x x_t + W_h h_{t−1}),  t = 1, 2, 3
#     feed-forward:  h_3 = tanh(W_x³ x_3 + W_h³ tanh(W_x² x_2 + W_h² tanh(W_x¹ x_1 + W_h¹ h_0)))

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import throughtime as tt

plt.style.use(["throughtime.throughtime", {"figure.dpi": 150}])
T, d, n = 3, 2, 4
rng = np.random.default_rng(0)
drawn = (rng.normal(size=shape).astype("float32") for shape in ((n, d), (n, n), (T, d)))
W_x, W_h, inputs = map(jnp.asarray, drawn)
weights = {"W_x": W_x, "W_h": W_h / 2}


def layer(weights, h, x):
    return jnp.tanh(weights["W_x"] @ x + weights["W_h"] @ h)


def loss_of(h):
    return 0.5 * jnp.sum((h - 1) ** 2)


# %% [markdown]
# ## Both networks


# %%
@jax.jit
@jax.value_and_grad
def recurrent(weights):
    """One set of weights, one step, run three times."""
    states = tt.rollout(lambda h, x: layer(weights, h, x), jnp.zeros(n), inputs)
    return loss_of(states[-1])


@jax.jit
@jax.value_and_grad
def feed_forward(copies):
    """Three layers, each with weights of its own."""
    h = jnp.zeros(n)
    for own, x in zip(copies, inputs, strict=True):
        h = layer(own, h, x)
    return loss_of(h)


copies = [weights] * T
loss, gradient = recurrent(weights)
loss_unrolled, gradients = feed_forward(copies)
print(f"loss: recurrent {loss:.6f}, unrolled {loss_unrolled:.6f}")
assert np.isclose(loss, loss_unrolled, rtol=1e-6)

# %% [markdown]
# ## Equal gradients, once summed
#
# The feed-forward network has a gradient for each copy. The copies are tied, like the kernel of a
# convolution at all its places: one change changes all of them, and its derivative is the *sum*.

# %%
for name in weights:
    parts = np.array([own[name] for own in gradients])
    norms = np.linalg.norm([*parts, parts.sum(axis=0), gradient[name]], axis=(1, 2))
    print(f"{name}: norms of the copies", norms[:T].round(4), end=", ")
    print(f"of their sum {norms[T]:.4f}, recurrent {norms[T + 1]:.4f}")
    assert np.allclose(parts.sum(axis=0), gradient[name], atol=1e-6)

# %% [markdown]
# The first copy of W_h has no gradient at all: it is multiplied by h_0 = 0, and drawings leave it
# out. The library takes the recurrent gradient apart by lag, and that is copy by copy, from the
# last.

# %%
assert not np.any(gradients[0]["W_h"])
last = lambda h: loss_of(h[-1])  # noqa: E731
by_lag = tt.parameter_gradient_by_lag(last, layer, weights, jnp.zeros(n), inputs)
norms = [np.sqrt(sum(np.sum(g**2) for g in own.values())) for own in reversed(gradients)]
assert np.allclose(np.exp(tt.log_norm(by_lag)), norms, rtol=1e-5)

# %% [markdown]
# ## Update them together
#
# Move each copy by its own gradient, and they drift apart. Move all by the sum: one network still.

# %%
RATE = 0.1
total = jax.tree.map(lambda *parts: sum(parts), *gradients)
drifted = [jax.tree.map(lambda w, g: w - RATE * g, weights, own) for own in gradients]
tied = [jax.tree.map(lambda w, g: w - RATE * g, weights, total) for _ in range(T)]
spread = float(max(np.abs(one["W_h"] - drifted[0]["W_h"]).max() for one in drifted))
print(f"after one update: copies of W_h apart by {spread:.3f}; summed, by 0")
print(f"loss of the recurrent network after the summed update: {recurrent(tied[0])[0]:.4f}")
assert spread > 0.01
assert recurrent(tied[0])[0] < loss

figure, axes = plt.subplots(figsize=(3.4, 2.2))
for place, (name, hatch) in enumerate(zip(weights, ("", "///"), strict=True)):
    bars = [np.linalg.norm(own[name]) for own in (*gradients, gradient)]
    axes.bar(np.arange(T + 1) + 0.35 * place, bars, 0.33, hatch=hatch, label=f"${name}$")
axes.set_xticks(np.arange(T + 1) + 0.17, ["copy 1", "copy 2", "copy 3", "their sum"])
axes.set(ylabel="norm of the gradient")
axes.legend()
plt.show()

# %% [markdown]
# ## Exercise
#
# The norms of the copies of W_x do not add up to the norm of their sum. Why not? Find inputs for
# which they do, or show that the sum of the norms is at least the norm of the sum.
