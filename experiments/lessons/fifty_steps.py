# %% [markdown]
# # Fifty steps back: what is left of the oldest input
#
# The neuron of the first lesson reads a long list, x(t−50), x(t−49), …, x(t). Let its activation do
# nothing, f(x) = x. Then its state is a sum, and every input has one coefficient in it:
#
#     a(t) = x(t) w_51 + w_n x(t−1) w_50 + … + w_n^49 x(t−49) w_2 + w_n^50 x(t−50) w_1
#
# From t−50 to t, both included, there are 51 inputs, and the oldest is multiplied by w_n 50 times.
# Texts that say "49 times" count 50 inputs, from t−49 on. In general the oldest of N inputs is
# multiplied N − 1 times: it enters without a loop, and goes around once for each input after it.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import throughtime as tt

plt.style.use(["throughtime.throughtime", {"figure.dpi": 150}])


def neuron(w_n):
    """One step of the neuron, its input weight 1."""
    return lambda a, x: w_n * a + x


def last(w_n, inputs):
    return tt.rollout(neuron(w_n), jnp.zeros(1), inputs[:, None])[-1, 0]


@jax.jit
def coefficients(w_n, inputs):
    """What each input is multiplied by in a(t): the derivative of a sum by its terms."""
    return jax.grad(last, argnums=1)(w_n, inputs)


for number in (2, 3, 50, 51):
    oldest = float(coefficients(0.9, jnp.ones(number))[0])
    times = np.log(oldest) / np.log(0.9)
    print(f"{number} inputs: the oldest is multiplied {times:.0f} times, by {oldest:.4f} in all")
    assert np.isclose(times, number - 1, rtol=1e-4)

# %% [markdown]
# ## Less than one, one, more than one
#
# How much of the sum is due to each input, if all of them are 1? The gradient asks the same
# question: dL/dw_i is dL/da(t) times the coefficient times x_i, so its shares are the same.

# %%
inputs = jnp.ones(51)


@jax.jit
def gradient_by_weights(w_n):
    """dL/dw_1 … dL/dw_51 for the loss L = ½ (a(t) − 3)², each input with a weight of its own."""
    return jax.grad(lambda w: 0.5 * (last(w_n, w * inputs) - 3) ** 2)(jnp.ones(51))


shares = {}
for w_n in (0.9, 1.0, 1.1):
    found = coefficients(w_n, inputs)
    shares[w_n] = 100 * found / found.sum()
    by_weights = gradient_by_weights(w_n)
    assert np.allclose(found, w_n ** np.arange(50.0, -1, -1), rtol=1e-4)
    assert np.allclose(by_weights / by_weights.sum(), found / found.sum(), rtol=1e-4)
    old, young = shares[w_n][0], shares[w_n][-1]
    print(f"w_n = {w_n}: share of x(t−50) {old:.3f} %, of x(t) {young:.3f} %")
assert shares[0.9][0] < 0.06 < 9 < shares[0.9][-1]  # forgets the old
assert shares[1.1][-1] < 0.08 < 9 < shares[1.1][0]  # is ruled by the old

figure, axes = plt.subplots(figsize=(3.4, 2.4))
for w_n, marker in zip(shares, "os^", strict=True):
    axes.plot(np.arange(-50, 1), shares[w_n], marker, markersize=2.5, label=f"$w_n$ = {w_n}")
axes.set(xlabel="input, steps before t", ylabel="share of output and gradient, %")
axes.legend(loc="upper center")
plt.show()

# %% [markdown]
# Below one the old inputs vanish, above one they dominate. Two precautions. It is |w_n| that
# counts: −1.1 is less than one and explodes all the same. And recent inputs are not forgotten when
# w_n > 1: the coefficient of x(t) is 1 in every case. They are outshouted.

# %%
assert np.allclose(np.abs(coefficients(-1.1, inputs)), coefficients(1.1, inputs), rtol=1e-5)
assert coefficients(1.1, inputs)[-1] == coefficients(0.9, inputs)[-1] == 1

# %% [markdown]
# ## Smaller than a float can be
#
# At w_n = 0.1 the oldest coefficient is 10^−50, and float32 ends near 10^−38: a training loop is
# handed an exact zero. The library keeps mantissa and exponent apart, and loses nothing.

# %%
loss = lambda states: states[-1, 0]  # noqa: E731
system = (neuron(0.1), jnp.zeros(1), inputs[:, None])
logs = tt.adjoint_log_norms(loss, *system) / np.log(10)
plain = tt.plain_adjoints(loss, *system)
first_zero = int(tt.lost_lags(plain).first_zero)
print(f"float32: {float(plain[0, 0])}, zero from lag {first_zero} on; true: 10^{logs[0]:.2f}")
assert np.allclose(logs, np.arange(-50.0, 1), atol=1e-3)
assert plain[0, 0] == 0
assert 37 <= first_zero <= 46

# %% [markdown]
# ## Exercise
#
# For which w_n does x(t−50) still have half the weight of x(t)? Guess first, then compute
# 0.5^(1/50), and look at how near to one it is. That is how fine a loop weight must be tuned.
