# %% [markdown]
# # … german shepherd: how far back is "brown"?
#
# "The brown and black dog that … is a german shepherd." To say *shepherd* a network must remember
# *dog*, and to say *german* the colours *brown* and *black*, many words ago. What a word did to the
# state reaches the end through every state in between, and so does the gradient, the other way:
#
#     ∂h_T/∂h_t = J_T J_{T−1} … J_{t+1},    J_s = ∂h_s/∂h_{s−1}
#
# One factor for each step. If factors shrink, the product vanishes; if they stretch, it explodes.
# Here T is the step that reads *german*, as it is its state that says *shepherd*: the network does
# not read *shepherd* before it says so.

# %%
from functools import partial

import jax
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx

import throughtime as tt
from throughtime.jacobians import jacobians
from throughtime.tasks.shepherd import VOCABULARY

plt.style.use(["throughtime.throughtime", {"figure.dpi": 150}])
LENGTH, UNITS = 40, 16
task = tt.make_task("shepherd", max_length=LENGTH)
draw = jax.jit(lambda seed: task.sample(jax.random.key(seed), LENGTH))


def words_of(sample):
    return [VOCABULARY[i] for i in sample.inputs.argmax(axis=1)] + [VOCABULARY[sample.targets[-1]]]


samples = (draw(seed) for seed in range(100))
sample = next(s for s in samples if words_of(s)[-2:] == ["german", "shepherd"])
words = words_of(sample)
print(*words[:9], "…", *words[-4:])
assert words[:5] == ["the", "brown", "and", "black", "dog"]

# %% [markdown]
# ## The chain, for three cells
#
# Every cell is drawn once, untrained, with recurrent gain 1; the gated ones also with biases that
# hold their gates open. The size of the product is its largest singular value, the most that any
# direction can keep. It is computed in float64 from the 39 factors.

# %%
CELLS = {
    "tanh": ("elman", {}),
    "GRU": ("gru", {}),
    "LSTM": ("lstm", {}),
    "GRU, bias 3": ("gru", {"update_bias": 3.0}),
    "LSTM, bias 3": ("lstm", {"forget_bias": 3.0}),
}


@partial(jax.jit, static_argnums=0)
def factors_of(structure, weights, inputs):
    step, start, _ = tt.as_step(nnx.merge(structure, weights))
    return jacobians(step, start, inputs)


def sizes_of(name, options):
    """log10 of the largest singular value of ∂h_T/∂h_t for t = T … 1."""
    cell = tt.make_cell(name, 24, UNITS, recurrent_scale=1.0, rngs=nnx.Rngs(0), **options)
    factors = np.asarray(factors_of(*nnx.split(cell), sample.inputs), np.float64)
    product, sizes = np.eye(factors.shape[1]), [0.0]
    for factor in factors[:0:-1]:  # J_T, J_{T−1}, …, J_2
        product = product @ factor
        sizes.append(np.log10(np.linalg.norm(product, 2)))
    return np.array(sizes)


found = {label: sizes_of(*cell) for label, cell in CELLS.items()}
places = {word: words.index(word) for word in ("brown", "black", "dog")}
distances = {word: LENGTH - 1 - place for word, place in places.items()}
print("log10 of the size", *(f"{word} ({k} back)" for word, k in distances.items()), sep="  ")
for label, sizes in found.items():
    print(f"{label:16}", *(f"{sizes[k]:15.1f}" for k in distances.values()))

# %%
figure, axes = plt.subplots(figsize=(3.4, 2.8))
for (label, sizes), style in zip(found.items(), ("-", "-", "-", "--", "--"), strict=True):
    color = {"t": "C0", "G": "C1", "L": "C2"}[label[0]]
    axes.plot(-np.arange(LENGTH), sizes, style, color=color, label=label)
for word, k in distances.items():
    axes.annotate(word, (-k, -9.5), rotation=90, va="bottom", ha="center", fontsize=6)
axes.set(
    ylim=(-9.7, 3.5), xlabel="steps before the state that says shepherd", ylabel="log10 ‖∂h_T/∂h_t‖"
)
axes.legend(ncols=2, loc="lower right")
plt.show()

# %% [markdown]
# Gates alone do not keep *brown*: drawn with zero biases, GRU and LSTM lose even more of it than
# the plain network, for a gate at σ(0) = ½ halves what it carries at every step. With a bias of 3
# it carries σ(3) = 95 %, and *brown* arrives. (That the LSTM's line rises above 0 is its state (c,
# h): the most sensitive direction is at first stretched.)
#
# A vanished product is bad news twice. Backward, the weights are not told that *brown* mattered;
# forward, it is the same matrix that says how much *brown* changes the state, learnt or not. So the
# loss need not be small: the *gradient* is.

# %%
assert all(found[cell][38] < found["tanh"][38] < -3 for cell in ("GRU", "LSTM"))
assert all(found[cell][38] > -1 for cell in ("GRU, bias 3", "LSTM, bias 3"))

# %% [markdown]
# ## Exercise
#
# Count the factors between *german* and *dog* for 20 words, and predict the plain network's size
# from its slope in the figure. Then set `LENGTH = 20` (the asserts speak of 40). Which loss do you
# expect from a network that cannot reach the description? (`task.baseline(20)` says.)
