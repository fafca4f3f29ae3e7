"""Random cells of other people's making, measured, against a plain loop and its autodiff."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from any_cell import CARRIES, GATES, OUTPUTS, AnyCell, D, Kind, floats, unrolled
from flax import nnx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from throughtime import measure, watch_gradients
from throughtime.diagnostics import gradient_diagnostics
from throughtime.dynamics import aligned
from throughtime.initializers import gaussian
from throughtime.results import natural_logs
from throughtime.tasks import Sample

B, T, OLDER = 2, 6, 3
EXAMPLES = 8
"""Of each kind of cell: 42 kinds make 336."""

ROUNDINGS = 64
"""Of one step of one unit: sums of D + N products and a dozen functions, there and back."""


def kinds():
    """Each carry with each output; gates, noise and dtypes in turn."""
    dtypes = ("float64", "float32", "float64", "bfloat16", "float64", "float32")
    for place, pair in enumerate(itertools.product(CARRIES, OUTPUTS)):
        yield Kind(*pair, place % len(GATES), place % 4 == 1), dtypes[(place + place // 6) % 6]


def loss_of(weights, readout, curved):
    """Σ_bt w_bt φ(y_bt · r) / B, φ the sine or, for a gradient of every size, the identity."""

    def loss(outputs):
        answers = outputs @ readout
        return jnp.sum(weights * jnp.where(curved, jnp.sin(answers), answers)) / B

    return loss


class Programs:
    """What is measured of a kind of cell, and what the plain loop in float64 says."""

    def __init__(self, kind, dtype):
        self.dtype = jnp.dtype(dtype)
        cell = AnyCell(kind, self.dtype, nnx.Rngs(0))
        self.graphdef, self.state = nnx.split(cell)
        carry = cell.initialize_carry((D,))
        self.size = cell.emit(carry, carry, jnp.zeros(D, dtype)).shape[-1]
        self.is_apart = kind.output == "late"
        self.exact = nnx.split(AnyCell(kind, jnp.dtype("float64"), nnx.Rngs(0)))[0]
        self.watched, self.swept = jax.jit(self._watched), jax.jit(self._swept)
        self.truth = jax.jit(self._truth)

    def _watched(self, state, inputs, lengths, *loss):
        cell = nnx.merge(self.graphdef, state)
        return watch_gradients(cell, inputs, loss_of(*loss), older_than=OLDER, lengths=lengths)

    def _swept(self, state, inputs, lengths, weights, readout, curved):
        def loss(answers, _):
            return jnp.where(curved, jnp.sin(answers[:, 0]), answers[:, 0])

        ends = [aligned(each, lengths) for each in (inputs, weights)]
        sample = Sample(ends[0], ends[1][..., None], ends[1])
        cell = nnx.merge(self.graphdef, state)
        return gradient_diagnostics(cell, readout[:, None], loss, sample, lengths)

    def _truth(self, state, inputs, *loss):
        """dL/dθ_t, dL/dh_t, dL/dy_t alone and ∂h_t/∂h_{t−1} by autodiff of the loop."""
        cell = nnx.merge(self.exact, jax.tree.map(_to_float64, state))
        cell.eval()
        graphdef, parameters, rest = nnx.split(cell, nnx.Param, ...)
        moves = [[jnp.zeros_like(leaf) for leaf in floats(cell.initialize_carry((D,)))]] * T
        nudges = jnp.zeros((B, T, self.size))

        def outputs(copies, moves, nudges):
            cells = [nnx.merge(graphdef, copy, rest) for copy in copies]
            each = zip(inputs.astype(jnp.float64), moves, nudges, strict=True)
            return jnp.stack([unrolled(cells, *one) for one in each])

        def objective(*arguments):
            return loss_of(*(each.astype(jnp.float64) for each in loss[:2]), loss[2])(
                outputs(*arguments)
            )

        found = jax.grad(objective, (0, 1, 2))([parameters] * T, [moves] * B, nudges)
        by_step = jnp.stack([_flat(copy) for copy in found[0]])
        return (
            by_step,
            jnp.stack([jnp.stack([_flat(m) for m in one]) for one in found[1]]),
            found[2],
        )


def _to_float64(leaf):
    return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _flat(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


@functools.cache
def programs(kind, dtype):
    return Programs(kind, dtype)


def by_lag(rows, lengths):
    """Norms over a batch of rows ``(B, T, n)`` by the lag from each sequence's own end."""
    found = np.zeros(T)
    for row, length in zip(np.asarray(rows), lengths, strict=True):
        found[:length] += np.sum(row[:length][::-1] ** 2, axis=1)
    return np.sqrt(found)


def agree(found, expected, dtype):
    """Whether logs of norms are right to what rounding may do.

    A norm at lag k has passed k + 1 steps of at most ROUNDINGS roundings each. What a step rounds,
    of all that passes it, may be larger than what is left in the end: by the ratio of the largest
    norm on the way to that at lag k.
    """
    finite = expected > 0
    largest = np.maximum.accumulate(expected)
    steps = 1 + np.arange(T)
    bound = ROUNDINGS * steps * float(jnp.finfo(dtype).eps) * largest
    assert np.array_equal(np.isneginf(found), ~finite)
    errors = np.abs(found[finite] - np.log(expected[finite]))
    assert np.all(errors <= (bound / np.where(finite, expected, 1))[finite])


examples = st.tuples(
    st.integers(0, 2**31 - 1),
    st.lists(st.integers(2, T), min_size=B, max_size=B),
    st.booleans(),
    st.sampled_from((0.3, 1.0, 2.0)),
)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        pytest.param(*each, marks=() if place % 8 == 0 else pytest.mark.slow)
        for place, each in enumerate(kinds())
    ],
)
@pytest.mark.filterwarnings("ignore:.*(they have no gradient|deterministic=True):UserWarning")
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(example=examples)
def test_any_cell_is_measured_as_a_plain_loop_says(kind, dtype, example):
    seed, ends, curved, scale = example
    run, rng = programs(kind, dtype), np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), run.dtype)  # noqa: E731
    state = jax.tree.map(
        lambda leaf: scale * draw(*leaf.shape) / 2 if leaf.dtype == run.dtype else leaf, run.state
    )
    lengths = jnp.asarray(ends, jnp.int32)
    live = (np.arange(T) < np.asarray(ends)[:, None]).astype(float)
    inputs, weights = draw(B, T, D), jnp.abs(draw(B, T)) * jnp.asarray(live, run.dtype)
    loss = (weights, draw(run.size), jnp.bool_(curved))

    seen = run.watched(state, inputs, lengths, *loss)
    swept = run.swept(state, inputs, lengths, *loss)
    by_step, by_state, by_output = run.truth(state, inputs, *loss)
    nodes = np.concatenate([by_state, by_output], axis=2) if run.is_apart else by_state
    agree(natural_logs(seen.norms), by_lag(nodes, ends), dtype)
    agree(natural_logs(swept.norms), by_lag(nodes, ends), dtype)
    if ends[0] == ends[1] == T:
        agree(natural_logs(seen.parameter_norms), np.linalg.norm(by_step, axis=1)[::-1], dtype)

    cell = nnx.merge(run.graphdef, state)
    readout = gaussian()(jax.random.key(0), (run.size, 1), run.dtype)[:, 0]
    last = jnp.asarray(np.arange(T) == np.asarray(ends)[:, None] - 1, run.dtype)
    by_step, by_state, by_output = run.truth(state, inputs, last, readout, jnp.bool_(False))
    nodes = np.concatenate([by_state, by_output], axis=2) if run.is_apart else by_state
    found = measure(cell, inputs, lengths=lengths)
    longest = max(ends)
    whole = np.concatenate([found.log_norms, np.full(T - longest, -np.inf)])
    agree(whole, by_lag(nodes, ends), dtype)
