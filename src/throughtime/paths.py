"""Which way the gradient of a gated cell goes: on the highway, through gates, around the loop.

A gated step uses its state three times. It is carried on, multiplied by a gate; it is read by the
gates; and it is read by the candidate for the next state. With a copy of the state for each use,
step(h, x) = F(h, h, h, x), and the step's Jacobian is the sum of F's three partial derivatives:

    J = H + G + R,    H = ∂F/∂(carried),  G = ∂F/∂(read by gates),  R = ∂F/∂(read by candidate)

    GRU:   h' = (1 − z) ∘ n + z ∘ h    H = diag(z),  G through z and r,  R through n at fixed r
    LSTM:  c' = f ∘ c + i ∘ g          H = diag(f),  G through f, i, o,  R through g

(for the LSTM in the block of c; h' = o ∘ tanh(c') follows c' and has rows of its own). F is the
cell's own code, its reads of the state told apart; no derivative is written by hand.

Over many steps the product (H + G + R)_T (H + G + R)_{T−1} … is a sum over words. Here a word
belongs to its first letter, in the order of the backward pass, that is not H: to where the
gradient, which starts at T, first leaves the highway, and through what. The sum telescopes,

    J_T … J_{t+1} = H_T … H_{t+1} + Σ_s H_T … H_{s+1} (G_s + R_s) J_{s−1} … J_{t+1},

so that the parts sum to the whole at every lag. Where a gradient last left the highway would
telescope too, but then a longer lag would relabel what a shorter one had labelled, while a first
departure is never undone. Words without an R against words with one would sum as well, but would
give recurrence every word in which both occur.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree, Shaped

from throughtime.cells import CellStep, GRUCell, LSTMCell, as_step, hidden
from throughtime.dynamics import trajectory
from throughtime.scaled import (
    Scaled,
    add,
    at_least_float32,
    common_exponent,
    from_float,
    norm,
    rescale,
)

_READS: dict[type, dict[str, str]] = {
    GRUCell: {"recurrent_terms": "ggc"},
    LSTMCell: {"recurrent_terms": "ggcg"},
    nnx.GRUCell: {"dense_h": "ggc"},
    nnx.LSTMCell: {"hi": "g", "hf": "g", "hg": "c", "ho": "g"},
    nnx.OptimizedLSTMCell: {"dense_h": "ggcg"},
}
"""What a cell reads its hidden state with, and for whom: g a gate, c the candidate, side by side.

Only these very classes: a subclass may read its state in ways that this table does not know.
"""


class GradientPaths(NamedTuple):
    """The Jacobian of the last state by an earlier one, and its three parts, by lag k = 0 … T−1.

    whole = highway + gates + recurrent,  as matrices ``(p, N)``: A J_T …, restricted to the memory

    `gradient_paths` gives their Frobenius norms, each a `Scaled` with mantissa and exponent
    ``(T,)``; `path_matrices` the matrices, mantissa ``(T, p, N)`` and exponent ``(T,)``. `log_norm`
    turns either into nats. A is the identity in the rows of the memory, or the adjoints given.

    Attributes:
        whole: A J_T … J_{T−k+1}, by the cell's own step.
        highway: A H_T … H_{T−k+1}; without adjoints the product of the gates f (LSTM) or z (GRU),
            on the diagonal.
        gates: what left the highway first through a gate, and went on by any way.
        recurrent: what left it first through the candidate's recurrent weights, likewise.
        defect: ‖highway + gates + recurrent − whole‖ over the largest of the four norms, ``(T,)``:
            the rounding of the floats used, at least.
    """

    whole: Scaled
    highway: Scaled
    gates: Scaled
    recurrent: Scaled
    defect: Float[Array, " T"]


class JacobianPaths(NamedTuple):
    """The parts of one step's Jacobian on the whole state, each ``(n, n)``; their sum is J.

    Attributes:
        highway: H, by the state carried on.
        gates: G, by the state that the gates read.
        recurrent: R, by the state that the candidate reads.
    """

    highway: Float[Array, "n n"]
    gates: Float[Array, "n n"]
    recurrent: Float[Array, "n n"]


def gradient_paths(
    cell: Any,
    h0: Shaped[Array, "..."],
    inputs: Shaped[Array, "..."],
    adjoints: Shaped[Array, "..."] | None = None,
) -> GradientPaths:
    """Split ∂m_T/∂m_t, m the memory (c of an LSTM, h of a GRU), into three paths by lag k = T − t.

    highway_k = H_T … H_{t+1},    whole_k = highway_k + gates_k + recurrent_k
    gates_k = gates_{k−1} J_{t+1} + highway_{k−1} G_{t+1},  recurrent_k likewise with R

    The norms of gates and recurrent may both be far above that of the whole, where they cancel.

    Args:
        cell: a gated cell: `GRUCell`, `LSTMCell`, or Flax's `GRUCell`, `LSTMCell` or
            `OptimizedLSTMCell`.
        h0: the flattened state before the first input, ``(n,)``, as in `as_step`: (c, h) or h.
        inputs: x_1 … x_T, ``(T, d)``; `jax.vmap` over a batch.
        adjoints: what is pulled back from the last state, ``(p, n)``; a loss by h_T of an LSTM is
            the one row (0, dL/dh_T). None is ∂m_T/∂(c_T, h_T) itself, the identity in the block of
            m, p = N.

    Returns:
        Frobenius norms by lag k = 0 … T−1, at k = 0 of ``adjoints`` in the block of m. Nothing
        under- or overflows between steps, but an entry that is below the largest of its matrix
        (on the whole state) by the float range is 0. If a state is not finite, all is NaN. Memory
        O(T n + p n), time O(T p n²).

    Raises:
        ValueError: if the cell is none of these, T is 0, or a shape or dtype is not the cell's.

    References:
        Hochreiter, Schmidhuber 1997 (the highway is the constant error carousel); Arpit,
        Kanuparthi et al. 2018, h-detach, arXiv:1810.03023 (an LSTM's gradient on the cell state
        and off it).
    """
    return _by_lag(cell, h0, inputs, adjoints, norm)


def path_matrices(
    cell: Any,
    h0: Shaped[Array, "..."],
    inputs: Shaped[Array, "..."],
    adjoints: Shaped[Array, "..."] | None = None,
) -> GradientPaths:
    """The matrices whose norms `gradient_paths` gives, which show signs and what cancels.

    Args:
        cell: as in `gradient_paths`.
        h0: likewise, ``(n,)``.
        inputs: likewise, ``(T, d)``.
        adjoints: likewise, ``(p, n)``.

    Returns:
        The matrices by lag k = 0 … T−1, mantissa ``(T, p, N)``, exponent ``(T,)``: 4 T p N numbers.

    Raises:
        ValueError: as `gradient_paths`.
    """
    return _by_lag(cell, h0, inputs, adjoints, lambda matrix: matrix)


def jacobian_paths(cell: Any, h: Shaped[Array, "..."], x: Shaped[Array, "..."]) -> JacobianPaths:
    """Split one step's Jacobian ∂step(h, x)/∂h into highway, gates and recurrence.

    J = H + G + R, as the module says.

    Args:
        cell: as in `gradient_paths`.
        h: the flattened state from which the step starts, ``(n,)``.
        x: the input, ``(d,)``.

    Returns:
        H, G and R, each ``(n, n)`` in the state's layout.

    Raises:
        ValueError: as `gradient_paths`.
    """
    reads, bridge = _checked(cell, h, x[None])
    pull = _pulling(_told_apart(cell, reads, bridge), (h, h, h), x)
    return JacobianPaths(*pull(jnp.eye(len(h), dtype=h.dtype)))


def _by_lag(cell, h0, inputs, adjoints, measured: Callable[[Scaled], Scaled]) -> GradientPaths:
    """One backward pass over the parts; of each lag only what is measured is kept."""
    reads, bridge = _checked(cell, h0, inputs)
    apart, size = _told_apart(cell, reads, bridge), cell.hidden_features
    run = trajectory(bridge.step, h0, inputs)
    sound = jnp.all(jnp.isfinite(h0)) & jnp.all(jnp.isfinite(run.states))
    rows = jnp.where(sound, _rows(adjoints, h0, size), jnp.nan)

    def memory(matrix: Scaled) -> Scaled:
        return rescale(matrix.mantissa[:, :size], matrix.exponent)

    def backward(now, at):
        blocks = tuple(memory(matrix) for matrix in now)
        found = GradientPaths(*map(measured, blocks), defect=_defect(*blocks))
        return _one_lag_more(bridge.step, apart, now, *at), found

    start, nothing = from_float(rows), from_float(0 * rows)
    begin = (start, start, nothing, nothing)
    found = jax.lax.scan(backward, begin, (run.previous, inputs), reverse=True)[1]
    return jax.tree.map(lambda by_step: by_step[::-1], found)


def _one_lag_more(step, apart, now: tuple[Scaled, ...], h, x) -> tuple[Scaled, ...]:
    """Whole, highway, gates and recurrent, pulled back through the step from h."""
    whole, highway, gates, recurrent = now
    through = _pulling(step, (h,), x)

    def onward(matrix: Scaled) -> Scaled:
        return rescale(through(matrix.mantissa)[0], matrix.exponent)

    leaving = _pulling(apart, (h, h, h), x)(highway.mantissa)
    kept, by_gates, by_candidate = (rescale(part, highway.exponent) for part in leaving)
    return (
        onward(whole),
        kept,
        add(onward(gates), by_gates),
        add(onward(recurrent), by_candidate),
    )


def _pulling(step: Callable, states: tuple, x) -> Callable[[Float[Array, "p n"]], tuple]:
    """Matrices times the Jacobian of a step by each of its states, no Jacobian being formed."""
    return jax.vmap(jax.vjp(lambda *states: step(*states, x), *states)[1])


def _defect(whole: Scaled, *parts: Scaled) -> Float[Array, ""]:
    """‖Σ parts − whole‖ over the largest of all their norms; 0 if all of them are 0."""
    matrices = (whole, *parts)
    stacked = Scaled(
        jnp.stack([matrix.mantissa for matrix in matrices]),
        jnp.stack([matrix.exponent for matrix in matrices]),
    )
    aligned = common_exponent(stacked).mantissa.astype(at_least_float32(whole.mantissa.dtype))
    squares = jnp.sum(jnp.square(aligned), axis=(1, 2))
    largest = jnp.sqrt(jnp.max(squares))
    missing = jnp.sqrt(jnp.sum(jnp.square(jnp.sum(aligned[1:], axis=0) - aligned[0])))
    return missing / jnp.where(largest == 0, 1, largest)


def _told_apart(cell, reads: dict[str, str], bridge: CellStep) -> Callable:
    """F(carried, by_gates, by_candidate, x): the cell's own step, a state for each use of it."""
    graphdef, parameters = nnx.split(cell)

    def step(carried, by_gates, by_candidate, x):
        copy = nnx.merge(graphdef, parameters)
        users = {"g": hidden(bridge.unravel(by_gates)), "c": hidden(bridge.unravel(by_candidate))}
        for name, blocks in reads.items():
            setattr(copy, name, _reading(getattr(copy, name), blocks, users))
        return ravel_pytree(copy(bridge.unravel(carried), x)[0])[0]

    return step


def _reading(read: Callable, blocks: str, users: dict[str, PyTree]) -> Callable:
    """A read of the state that gives each block of the terms the state of its own user."""

    def reading(_):
        terms = {user: jnp.split(read(h), len(blocks)) for user, h in users.items()}
        return jnp.concatenate([terms[user][place] for place, user in enumerate(blocks)])

    return reading


def _rows(adjoints, h0: Float[Array, " n"], size: int) -> Float[Array, "p n"]:
    """The adjoints, or the unit vectors of the memory, which is the first of the state."""
    if adjoints is None:
        return jnp.eye(size, len(h0), dtype=h0.dtype)
    if adjoints.ndim != 2 or adjoints.shape[1] != len(h0) or adjoints.dtype != h0.dtype:
        raise ValueError(
            f"adjoints must be (p, {len(h0)}) of {h0.dtype}, not {adjoints.shape} of "
            f"{adjoints.dtype}."
        )
    return adjoints


def check_told_apart(cell: Any) -> None:
    """Refuse a cell of whose state it is not known what reads it.

    Args:
        cell: any.

    Raises:
        ValueError: if it is not one of those that `gradient_paths` names.
    """
    if type(cell) not in _READS:
        known = ", ".join(f"{kind.__module__.split('.')[0]}'s {kind.__name__}" for kind in _READS)
        raise ValueError(
            f"gates and highway are told apart in {known}, not in {type(cell).__name__}."
        )


def _checked(cell, h0, inputs) -> tuple[dict[str, str], CellStep]:
    """How the cell reads its state, and the cell as a step, if the arrays fit it."""
    check_told_apart(cell)
    bridge, d = as_step(cell), cell.in_features
    if h0.shape != bridge.h0.shape or h0.dtype != bridge.h0.dtype:
        raise ValueError(
            f"the state of this cell is {bridge.h0.shape} of {bridge.h0.dtype}, not {h0.shape} of "
            f"{h0.dtype}."
        )
    if inputs.ndim != 2 or inputs.shape[1] != d or inputs.dtype != h0.dtype:
        raise ValueError(
            f"inputs must be (T, {d}) of {h0.dtype}, one sequence (vmap over a batch), not "
            f"{inputs.shape} of {inputs.dtype}."
        )
    if len(inputs) == 0:
        raise ValueError("inputs must have at least 1 step, not 0.")
    return _READS[type(cell)], bridge
