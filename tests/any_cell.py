"""Cells such as other people write, drawn at random, and a plain loop that differentiates them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

D, N, M = 2, 3, 2
"""Inputs, units, and outputs of a projection."""

CARRIES = ("h", "h, c", "c, h", "dict", "clock", "count", "nested")
OUTPUTS = ("h", "projection", "squashed", "late", "residual", "skip")
GATES = (nnx.sigmoid, jax.nn.hard_sigmoid, lambda a: jnp.clip(a + 0.5, 0, 1))


class Kind(NamedTuple):
    """How a cell is built: what it carries, what it returns, its gate, and whether it has noise."""

    carry: str
    output: str
    gate: int
    noisy: bool


class AnyCell(nnx.Module):
    """A cell with one gate: m = z m' + (1 − z) tanh(x W + h U + b) for a memory m, h = o tanh m."""

    num_feature_axes = 1

    def __init__(self, kind, dtype, rngs):
        self.kind, self.in_features = kind, D
        self.inner = nnx.Linear(D + N, 3 * N, dtype=dtype, param_dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(N, M, dtype=dtype, param_dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs) if kind.noisy else None
        self.dtype = dtype

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        start = jnp.full((*input_shape[:-1], N), 0.1, self.dtype)
        return self.wrap(start, 2 * start, None)

    def wrap(self, h, c, before):
        """The carry of this kind that holds h and c."""
        carry = self.kind.carry
        if carry == "clock":
            return c, h, jnp.zeros((), self.dtype) if before is None else before[2] + 1
        if carry == "count":
            return h, jnp.int32(0) if before is None else before[1] + 1, c
        forms = {"h": h, "h, c": (h, c), "c, h": (c, h), "dict": {"a": h, "b": c}}
        return {**forms, "nested": ((c,), {"h": [h]})}[carry]

    def unwrap(self, carry):
        """The h and the c that a carry holds; without a c, h is the memory, too."""
        form = self.kind.carry
        if form == "h":
            return carry, carry
        if form in ("clock", "c, h"):
            return carry[1], carry[0]
        if form == "dict":
            return carry["a"], carry["b"]
        if form == "nested":
            return carry[1]["h"][0], carry[0][0]
        return carry[0], carry[-1]

    def advance(self, carry, x):
        """The next carry."""
        h, c = self.unwrap(carry)
        z, o, n = jnp.split(self.inner(jnp.concatenate([x, h], axis=-1)), 3, axis=-1)
        gate = GATES[self.kind.gate]
        c = gate(z) * c + (1 - gate(z)) * jnp.tanh(n)
        h = gate(o) * jnp.tanh(c) if self.kind.carry != "h" else c
        return self.wrap(h if self.dropout is None else self.dropout(h), c, carry)

    def emit(self, before, after, x):
        """The output of a step, of the carries around it."""
        (old, _), (h, _) = self.unwrap(before), self.unwrap(after)
        return {
            "h": lambda: h,
            "projection": lambda: self.out(h),
            "squashed": lambda: 0.1 * jnp.tanh(self.out(h)),
            "late": lambda: self.out(old),
            "residual": lambda: h + 0.5 * old,
            "skip": lambda: self.out(h) + jnp.sum(x, axis=-1, keepdims=True),
        }[self.kind.output]()

    def __call__(self, carry, x):
        new = self.advance(carry, x)
        return new, self.emit(carry, new, x)


def floats(carry):
    """The parts of a carry that have a gradient, in order."""
    return [leaf for leaf in jax.tree.leaves(carry) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def moved(carry, move):
    """A carry with something added to each of its floats."""
    leaves, tree = jax.tree.flatten(carry)
    moves = iter(move)
    new = [
        leaf + next(moves) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf for leaf in leaves
    ]
    return jax.tree.unflatten(tree, new)


def unrolled(cells, inputs, moves, nudges):
    """The outputs of one sequence by a plain loop, step t by its own copy of the cell.

    To the floats of the carry after step t moves[t] is added, to its output nudges[t]: dL/dh_t and
    the gradient by an output alone are the derivatives by these.
    """
    carry, outputs = cells[0].initialize_carry((D,)), []
    for cell, x, move, nudge in zip(cells, inputs, moves, nudges, strict=True):
        new = moved(cell.advance(carry, x), move)
        outputs.append(cell.emit(carry, new, x) + nudge)
        carry = new
    return jnp.stack(outputs)
