# %% [markdown]
# # The loop weight: 0.1, 2, and everything between
#
# A film makes sense because you remember the scenes before. A recurrent neuron remembers by a loop:
# what it said at one step is multiplied by the loop weight W_2 and added to the input of the next
# step. Not of the same step, which would go around for ever. Unrolled, the loop is a chain:
#
#     X1 → (· W_2) → X2 → (· W_2) → X3 → (· W_2) → X4 → (· W_2) → X5 → ŷ5
#
# From X1 to ŷ5 there are four loops. (f(x) = x and all other weights are 1.)

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx

import throughtime as tt

plt.style.use(["throughtime.throughtime", {"figure.dpi": 150}])


def prediction(weight, inputs):
    """ŷ5 of one neuron whose loop weight is given and whose input weight is 1."""
    cell = tt.make_cell("scalar", 1, 1, recurrent_scale=weight, rngs=nnx.Rngs(0))
    cell.input_weights[...] = jnp.ones(1)
    step, start, _ = tt.as_step(cell)
    return tt.rollout(step, start, inputs[:, None])[-1, 0]


@jax.jit
@jax.vmap
def impacts(weight):
    """dŷ5/dX1 … dŷ5/dX5: how much of each input arrives."""
    return jax.grad(prediction, argnums=1)(weight, jnp.ones(5))


def shares(weights):
    """The shares of X1 … X5 in all that arrives, without regard to sign."""
    found = np.abs(impacts(jnp.asarray(weights, jnp.float32)))
    return found / found.sum(axis=1, keepdims=True)


# %% [markdown]
# ## Too small, too large

# %%
small, large = np.asarray(impacts(jnp.array([0.1, 2.0])))
print(f"W_2 = 0.1: of X1 arrives {100 * small[0]:.4f} %, of X5 {100 * small[4]:.0f} %")
print("W_2 = 2:   X1 … X5 arrive multiplied by", *(f"{impact:.0f}" for impact in large))
assert np.allclose(small, [0.1**4, 0.1**3, 0.1**2, 0.1, 1], rtol=1e-5)
assert np.allclose(large, [2**4, 2**3, 2**2, 2, 1])

# %% [markdown]
# At 0.1 only 0.01 % of X1 is left, whatever X1 is: the memory has vanished, and with it the
# gradient, for these numbers are the gradient dŷ5/dX. At 2 every input outweighs all that came
# after it together (16 > 8 + 4 + 2 + 1 = 15), and X5 is 1 part in 31.

# %%
old, *_, new = shares([2.0])[0]
print(f"W_2 = 2: share of X1 {100 * old:.1f} %, of X5 {100 * new:.1f} %")
assert np.isclose(old, 16 / 31)
assert np.isclose(new, 1 / 31)

# %% [markdown]
# ## Where old and new balance
#
# The share of the oldest input is W_2^4 in the sum 1 + |W_2| + … + W_2^4, that of the newest is 1.
# They are equal where |W_2|^4 = 1, so at 1 and at −1 and nowhere else: all five inputs then have 20
# %.

# %%
weights = np.linspace(-2.5, 2.5, 202)  # an even number: neither −1, 0 nor 1 is among them
parts = shares(weights)
lead = np.sign(parts[:, 0] - parts[:, 4])
crossings = weights[:-1][np.diff(lead) != 0]
print("old and new balance between", *(f"{w:.2f} and {w + 5 / 201:.2f};" for w in crossings))
assert len(crossings) == 2
assert np.all(np.abs(np.abs(crossings + 2.5 / 201) - 1) < 2.5 / 201)
assert np.allclose(shares([-1.0, 1.0]), 0.2)

figure, axes = plt.subplots(figsize=(3.4, 2.4))
axes.plot(weights, 100 * parts[:, 0], "-", label="X1, the oldest")
axes.plot(weights, 100 * parts[:, 2], ":", label="X3")
axes.plot(weights, 100 * parts[:, 4], "--", label="X5, the newest")
axes.plot([0.1, 2], 100 * shares([0.1, 2.0])[:, 0], "ko", label="X1 at 0.1 and 2")
axes.set(xlabel="loop weight $W_2$", ylabel="share in ŷ5, %", ylim=(0, 145))
axes.set_yticks([0, 20, 40, 60, 80, 100])
axes.legend(ncols=2, loc="upper center")
plt.show()

# %% [markdown]
# "Too large" therefore means |W_2| > 1, as long as f does nothing. An f that saturates shrinks
# every step once more, by f'. A sigmoid's slope is at most ¼, so that a loop weight of 2 makes a
# gradient *vanish*: no step passes on more than half of it.


# %%
@jax.grad
def with_sigmoid(first, weight=2.0):
    options = {"recurrent_scale": weight, "activation": "sigmoid", "rngs": nnx.Rngs(0)}
    cell = tt.make_cell("scalar", 1, 1, **options)
    cell.input_weights[...] = jnp.ones(1)
    step, start, _ = tt.as_step(cell)
    return tt.rollout(step, start, jnp.ones((5, 1)).at[0].set(first))[-1, 0]


left = float(with_sigmoid(1.0))
print(f"W_2 = 2 and a sigmoid: dŷ5/dX1 = {left:.1e}")
assert 0 < left < (2 / 4) ** 4 / 4

# %% [markdown]
# ## Exercise
#
# At which loop weight does 1 % of X1 reach ŷ5? And if the sequence had 50 inputs? Check both with
# `impacts`, the second after changing `jnp.ones(5)`.
