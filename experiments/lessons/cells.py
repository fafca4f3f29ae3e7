# %% [markdown]
# # Cells: dense, GRU, LSTM, and the way a gradient takes through them
#
# What is inside the box that is repeated at every step? In the dense cell a feed-forward layer. In
# the gated cells several, and those with outputs between 0 and 1 are the gates: a gate is a small
# network that decides how much of something passes. Here each equation stands beside its value, on
# a radar track of 30 plots, in kilometres from the mean of the plots.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx
from jax.nn import sigmoid

import throughtime as tt
from throughtime.cells import gate_values

plt.style.use(["throughtime.throughtime", {"figure.dpi": 150}])
T, UNITS = 30, 8
task = tt.make_task("radar", max_length=T, relative=True)
track = jax.jit(lambda key: task.sample(key, T).inputs)(jax.random.key(1))
options = {"recurrent_scale": 1.0, "input_scale": 0.3, "rngs": nnx.Rngs(0)}
cells = {name: tt.make_cell(name, 2, UNITS, **options) for name in ("elman", "gru", "lstm")}


def run(cell):
    """The carry before and after the last plot, and the gates at every step, (T, N) each."""

    @jax.jit
    def found(track):
        step, start, unravel = tt.as_step(cell)
        states = tt.rollout(step, start, track)
        before = jax.vmap(unravel)(jnp.concatenate([start[None], states[:-1]]))
        return unravel(states[-2]), unravel(states[-1]), gate_values(cell, before, track)

    h, after, gates = jax.tree.map(np.asarray, found(track))
    return h, after, {name: gate.values for name, gate in gates.items()}


def terms(cell, h):
    """W_x x + W_h h + b for each gate, and its two parts."""
    W_x, W_h, b = map(np.asarray, (cell.input_kernel, cell.recurrent_kernel, cell.bias))
    by_input, by_state = np.asarray(track[-1]) @ W_x + b, h @ W_h
    return [np.split(each, cell.gates) for each in (by_input, by_state, by_input + by_state)]


def show(*lines):
    for equation, value in lines:
        print(f"  {equation:37} {value[0]: .4f}")


# %% [markdown]
# ## The equations, and their values in unit 1 at the last plot

# %%
seen = {name: run(cell) for name, cell in cells.items()}
h, after, _ = seen["elman"]
new = np.tanh(terms(cells["elman"], h)[2][0])
print("dense")
show(("h' = tanh(W_x x + W_h h + b)", new))
assert np.allclose(new, after, atol=1e-5)

h, after, gates = seen["gru"]
by_input, by_state, both = terms(cells["gru"], h)
r, z = sigmoid(both[0]), sigmoid(both[1])
n = np.tanh(by_input[2] + r * by_state[2])
new = (1 - z) * n + z * h
print("GRU")
show(("r = σ(W_xr x + W_hr h + b_r)", r), ("z = σ(W_xz x + W_hz h + b_z)", z))
show(("n = tanh(W_xn x + b_n + r ∘ W_hn h)", n), ("h' = (1 − z) ∘ n + z ∘ h", new))
assert np.allclose([r, z, new], [gates["reset"][-1], gates["update"][-1], after], atol=1e-5)

(c, h), after, gates = seen["lstm"]
i, f, g, o = terms(cells["lstm"], h)[2]
i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
cell_state = f * c + i * g
new = o * np.tanh(cell_state)
print("LSTM")
show(("f = σ(W_xf x + W_hf h + b_f), forget", f), ("i = σ(W_xi x + W_hi h + b_i), input", i))
show(("g = tanh(W_xg x + W_hg h + b_g)", g), ("c' = f ∘ c + i ∘ g, cell state", cell_state))
show(("o = σ(W_xo x + W_ho h + b_o), output", o), ("h' = o ∘ tanh(c'), hidden state", new))
assert np.allclose([i, f, o], [gates[k][-1] for k in ("input", "forget", "output")], atol=1e-5)
assert np.allclose([cell_state, new], after, atol=1e-5)

# %% [markdown]
# ## Which way does the gradient go?
#
# The dense cell has one way, through W_h. A gated cell has three: along what is carried on, where
# it is only multiplied by a gate (z of the GRU, f of the LSTM: the highway); through the gates, for
# they read h as well; and through the candidate (n, g). At every lag the three sum to the whole.

# %%
figure, grid = plt.subplots(1, 3, figsize=(7.0, 2.3))
for label, style in (("reset", ":"), ("update", "-"), ("forget", "--")):
    name = "lstm" if label == "forget" else "gru"
    grid[0].plot(range(1, T + 1), seen[name][2][label].mean(axis=1), style, label=f"{name} {label}")
grid[0].set(title="gates, mean of units", xlabel="plot", ylim=(0, 1))
for axes, name in zip(grid[1:], ("gru", "lstm"), strict=True):
    cell = cells[name]
    paths = jax.jit(lambda xs, cell=cell: tt.gradient_paths(cell, tt.as_step(cell).h0, xs))(track)
    logs = {part: tt.log_norm(getattr(paths, part)) / np.log(10) for part in paths._fields[:4]}
    for (part, curve), style in zip(logs.items(), ("k-", "C0--", "C1:", "C2-."), strict=True):
        axes.plot(curve, style, label=part)
    print(f"{name} at lag 20, log10:", *(f"{part} {logs[part][20]:.1f}" for part in logs))
    assert paths.defect.max() < 1e-5  # the parts do sum to the whole
    assert logs["highway"][20] < logs["recurrent"][20] - 1
    axes.set(title=f"log10 of the paths, {name}", xlabel="lag")
for axes in grid[:2]:
    axes.legend()
plt.show()

# %% [markdown]
# Drawn with zero biases, a gated cell sends most of its gradient around the loop, as the dense cell
# does; the highway loses about half of it at every step. A gate can be learnt, though, or set.
#
# ## Exercise
#
# Give the LSTM `forget_bias=3.0`. Which path leads at lag 20 now? (The last assert will notice.)
