# %% [markdown]
# # The radar tracker: one neuron with a loop
#
# A radar saw a target at 2, and one scan later at 4. Where will it be next? One neuron is enough to
# ask, so that everything on this page can be checked with a pencil.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx

import throughtime as tt
from throughtime.cells import inputs_of_their_own

plt.style.use(["throughtime.throughtime", {"figure.dpi": 150}])
points = jnp.array([2.0, 4.0])  # x(t−1) and x(t)

# %% [markdown]
# ## Two steps of one neuron
#
# At t−1 the neuron sees the first point, and at t the second together with what it said before:
#
#     a(t−1) = f(2 w_1)
#     a(t)   = f(4 w_2 + w_n a(t−1)) = f(4 w_2 + w_n f(2 w_1))
#     ŷ      = w_3 a(t)
#
# The four gradients follow by the chain rule, with s = 4 w_2 + w_n a(t−1). The one by w_1 has gone
# back through time, at the price of the factor w_n f'(2 w_1).

# %%
w_1, w_2, w_3, w_n = 0.3, -0.2, 1.5, 0.8


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


FUNCTIONS = {  # f and its derivative
    "identity": (lambda a: a, lambda a: 1.0),
    "sigmoid": (sigmoid, lambda a: sigmoid(a) * (1 - sigmoid(a))),
}


def by_hand(f, slope):
    before = f(2 * w_1)
    s = 4 * w_2 + w_n * before
    back = w_3 * slope(s)  # dŷ/ds; then by w_1, w_2, w_3, w_n:
    return w_3 * f(s), [back * w_n * slope(2 * w_1) * 2, back * 4, f(s), back * before]


# %% [markdown]
# By the library: its `scalar` cell is this neuron, and `inputs_of_their_own` lays the points out so
# that each step meets its own input weight.


# %%
def by_the_core(activation):
    rngs = nnx.Rngs(0)
    cell = tt.make_cell("scalar", 2, 1, recurrent_scale=w_n, activation=activation, rngs=rngs)
    cell.input_weights[...] = jnp.array([w_1, w_2])
    cell.output_weight[...] = jnp.array(w_3)
    structure, weights = nnx.split(cell)

    def predict(weights):
        cell = nnx.merge(structure, weights)
        step, start, _ = tt.as_step(cell)
        return cell.output_weight[...] * tt.rollout(step, start, inputs_of_their_own(points))[-1, 0]

    answer, by = jax.value_and_grad(predict)(weights)
    return answer, [*by["input_weights"][...], by["output_weight"][...], by["loop_weight"][...]]


for name, (f, slope) in FUNCTIONS.items():
    (answer, ours), (found, theirs) = by_hand(f, slope), by_the_core(name)
    assert np.allclose([answer, *ours], [found, *theirs], rtol=1e-5)
    print(f"{name:9} ŷ = {answer:.4f}, by w_1, w_2, w_3, w_n:", *(f"{g:.4f}" for g in ours))

# %% [markdown]
# ## What a dense network does not know
#
# Without the loop there are three weights, ŷ = w_3 f(w_1 x(t−1) + w_2 x(t)); with it there are
# four. (With one shared input weight a recurrent network has three at any length, and a dense one
# needs one more for each point.) To a dense network the points are node 1 and node 2; which is
# older is nowhere written. Swap nodes and weights together: nothing changes. Swap the points alone,
# and the network that knew where the target goes, 2 · 4 − 2 = 6, sends it the other way.


# %%
def dense(first, second, w_1=-1.0, w_2=2.0, w_3=1.0):  # f(x) = x
    return w_3 * (w_1 * first + w_2 * second)


def recurrent(*points, w=2.0, w_n=-0.5):  # the same w at every step: only the loop tells time
    start, inputs = jnp.zeros(1), jnp.array(points, jnp.float32)[:, None]
    return float(tt.rollout(lambda a, x: w * x + w_n * a, start, inputs)[-1, 0])


order_blind = np.linalg.lstsq([[6.0], [6.0]], [6.0, 0.0])[0][0]  # w (x_1 + x_2), both ways
assert dense(4, 2, w_1=2.0, w_2=-1.0) == dense(2, 4) == 6  # relabelled: the same
assert dense(4, 2) == 0  # wired the wrong way round: the wrong direction
assert [recurrent(2, 4), recurrent(4, 2)] == [6, 0]  # one weight for both, and it tells the order
assert np.isclose(order_blind * 6, 3)  # all it can say to 2, 4 and to 4, 2: back, either way
print(f"2, 4 and 4, 2: recurrent {recurrent(2, 4)}, {recurrent(4, 2)}; order-blind 3.0, 3.0")

figure, axes = plt.subplots(figsize=(3.4, 2.4))
axes.plot([0, 1], points, "ko-", zorder=3, label="seen")
axes.plot([1, 2], [4, recurrent(2, 4)], "s--", color="C0", label="recurrent: expected")
axes.plot([1, 2], [4, dense(4, 2)], "v--", color="C1", label="dense, nodes swapped")
axes.plot([1, 2], [4, order_blind * 6], "D--", color="C2", label="dense, one weight for both")
axes.set(xticks=[0, 1, 2], xticklabels=["t−1", "t", "t+1"], ylabel="position")
axes.legend(loc="upper left")
plt.show()

# %% [markdown]
# ## Exercise
#
# A third point comes in: 2, 4, 6. Write ŷ out by hand for three steps. How many factors w_n does
# the gradient by w_1 have now? Check with `inputs_of_their_own` of three points.
