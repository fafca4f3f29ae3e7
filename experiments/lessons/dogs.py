# %% [markdown]
# # Dogs: a network small enough to print, trained by hand
#
# A network reads the letters d, o, g and is to say what comes next: o, g, and at last s. Letters
# are one-hot vectors of k = 4 numbers; there are d = 3 hidden nodes, and three matrices, the same
# at every step. The state before the first letter is h_0 = 0:
#
#     a_t = Wx x_t + Wh h_{t−1},    h_t = tanh(a_t),    ŷ_t = softmax(Wy h_t)
#
# Wx is (d, k), Wh is (d, d) and Wy is (k, d). The two products are added, not concatenated.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import throughtime as tt

plt.style.use(["throughtime.throughtime", {"figure.dpi": 150}])
LETTERS, k, d = "dogs", 4, 3
x, y = jnp.eye(k)[:3], jnp.eye(k)[1:]  # d, o, g and o, g, s
shapes, keys = {"Wx": (d, k), "Wh": (d, d), "Wy": (k, d)}, jax.random.split(jax.random.key(3), 3)
weights = {n: jax.random.normal(key, shapes[n]) for n, key in zip(shapes, keys, strict=True)}


def step(weights, h, x):
    return jnp.tanh(weights["Wx"] @ x + weights["Wh"] @ h)


def states(weights):
    return tt.rollout(lambda h, x: step(weights, h, x), jnp.zeros(d), x)


def loss_of_states(h, Wy):
    """Cross-entropy, summed over all steps: −Σ_t ln ŷ_t[the right letter]."""
    return -jnp.sum(y * jax.nn.log_softmax(h @ Wy.T))


# %% [markdown]
# ## Forward, one letter at a time

# %%
Wx, Wh, Wy = (np.asarray(weights[name]) for name in shapes)
h, said = [np.zeros(d)], []  # h[t] is h_t, said[t − 1] is ŷ_t
for t in (1, 2, 3):
    h.append(np.tanh(Wx @ np.asarray(x[t - 1]) + Wh @ h[t - 1]))
    score = np.exp(Wy @ h[t])
    said.append(score / score.sum())
    print(f"t = {t}, reads {LETTERS[t - 1]}: h_{t} {h[t].shape} = {h[t].round(2)},", end=" ")
    print(f"ŷ_{t} {said[-1].shape} = {said[-1].round(2)}, says {LETTERS[said[-1].argmax()]}")
assert np.allclose(states(weights), h[1:], atol=1e-5)
assert LETTERS[said[0].argmax()] == "d"  # to the d it says d: nothing has been learnt yet

# %% [markdown]
# ## Backward through time, as it is written in the texts
#
# e_t = ŷ_t − y_t is the derivative of the loss of step t by its scores Wy h_t.
#
#     dL/dWy = Σ_t e_t h_tᵀ
#     dL/dWx = Σ_t Σ_{s ≤ t} δ_{t,s} x_sᵀ,    dL/dWh = Σ_t Σ_{s ≤ t} δ_{t,s} h_{s−1}ᵀ
#     δ_{t,s} = (1 − h_s²) ∘ (∂h_t/∂h_s)ᵀ Wyᵀ e_t,    ∂h_t/∂h_s = Π_{s < j ≤ t} diag(1 − h_j²) Wh
# The loss of every step reaches back to all before it.

# %%
sums = {name: np.zeros(shapes[name]) for name in shapes}
for t in (1, 2, 3):
    error = said[t - 1] - np.asarray(y[t - 1])
    sums["Wy"] += np.outer(error, h[t])
    back = Wy.T @ error
    for s in range(t, 0, -1):  # back is dL_t/dh_s
        delta = (1 - h[s] ** 2) * back
        sums["Wx"] += np.outer(delta, x[s - 1])
        sums["Wh"] += np.outer(delta, h[s - 1])
        back = Wh.T @ delta

objective = jax.jit(jax.value_and_grad(lambda w: loss_of_states(states(w), w["Wy"])))
loss, autodiff = objective(weights)
for name in shapes:
    assert np.allclose(sums[name], autodiff[name], atol=1e-5)
    print(f"dL/d{name} {shapes[name]}: norm {np.linalg.norm(sums[name]):.4f} both ways")

# %% [markdown]
# The matrices are shared, so the update of Wx is a sum over the steps at which it was used. The
# library takes that sum apart by lag; a row has first the 9 numbers of Wh, then the 12 of Wx.

# %%
loss_of_all = lambda h: loss_of_states(h, weights["Wy"])  # noqa: E731
by_lag = tt.parameter_gradient_by_lag(loss_of_all, step, weights, jnp.zeros(d), x)
parts = np.ldexp(by_lag.mantissa, np.asarray(by_lag.exponent)[:, None])[:, 9 : 9 + 12]
assert np.allclose(parts.sum(axis=0), sums["Wx"].ravel(), atol=1e-5)
print("norms of the shares of t = 3, 2, 1 in dL/dWx:", np.linalg.norm(parts, axis=1).round(3))

# %% [markdown]
# ## Gradient descent, until "d-o-g" gives "s"

# %%
answers = jax.jit(lambda w: jax.nn.softmax(states(w) @ w["Wy"].T))  # ŷ_1, ŷ_2, ŷ_3
course = []
while not course or course[-1].min() < 0.9:
    loss, gradient = objective(weights)
    weights = jax.tree.map(lambda w, g: w - 0.3 * g, weights, gradient)
    course.append(np.asarray(jnp.sum(answers(weights) * y, axis=1)))
words = "".join(LETTERS[i] for i in answers(weights).argmax(axis=1))
print(f"after {len(course)} updates it says {words}, with probabilities", course[-1].round(2))
assert words == "ogs"

figure, axes = plt.subplots(figsize=(3.4, 2.2))
for t, style in enumerate(("-", "--", ":")):
    axes.plot(np.array(course)[:, t], style, label=f"{LETTERS[: t + 1]} → {LETTERS[t + 1]}")
axes.set(xlabel="update", ylabel="probability of the right letter", ylim=(0, 1))
axes.legend(loc="lower right")
plt.show()

# %% [markdown]
# ## Exercise
#
# Count the loss of the last step alone, as if only "s" mattered: in `loss_of_states`, in the sum
# over t, and in the condition of the loop. Which answers does the network still learn, and what
# becomes of the shares of t = 1 and t = 2?
