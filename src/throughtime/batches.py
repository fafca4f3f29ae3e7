"""Sequences that other people bring: one sentence for what cannot be measured."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from throughtime.cells import check_cell, initial_carry
from throughtime.cells.foreign import warn
from throughtime.scaled import check_floats


def checked_batch(
    cell: Any, inputs: Any, lengths: Any = None, *, fewest: int = 1, may_be_one: bool = False
) -> tuple[Float[Array, "B T d"], Int[Array, " B"] | None]:
    """A batch of sequences for a cell, if it is one.

    Values are looked at where they are known, outside of jit.

    Args:
        cell: that is to read them.
        inputs: x_1 … x_T of each sequence, ``(B, T, d)``.
        lengths: of each sequence, ``(B,)``; None: T.
        fewest: the fewest steps of a sequence.
        may_be_one: whether one sequence ``(T, d)`` will do, a batch of 1.

    Returns:
        Both, as JAX arrays.

    Raises:
        TypeError: if the cell is none, or the inputs or lengths are no arrays.
        ValueError: if the inputs have another shape or dtype, or are not finite; or the lengths are
            not B integers from ``fewest`` to T.
    """
    check_cell(cell)
    check_floats("inputs", inputs)
    size = getattr(cell, "in_features", inputs.shape[-1] if inputs.ndim else 0)
    batch = inputs[None] if may_be_one and inputs.ndim == 2 else inputs
    enough = batch.ndim == 3 and len(batch) > 0 and batch.shape[1] >= fewest
    if not enough or batch.shape[2] != size:
        form = f"(T, {size}) or " * may_be_one + f"(B, T, {size})"
        steps = f"{fewest} step{'s' * (fewest > 1)}"
        raise ValueError(f"inputs must be {form} with at least {steps}, not {tuple(inputs.shape)}.")
    inputs = batch
    lengths = None if lengths is None else _checked_lengths(lengths, inputs.shape, fewest)
    given, inputs = inputs.dtype, jnp.asarray(inputs)
    if inputs.dtype != given:
        warn(f"inputs of {given} are measured in {inputs.dtype}: jax_enable_x64 is not set.")
    if not isinstance(inputs, Tracer) and not isinstance(lengths, Tracer):
        _check_values(np.asarray(inputs), None if lengths is None else np.asarray(lengths))
    return inputs, lengths


def _checked_lengths(lengths: Any, shape: tuple[int, ...], fewest: int) -> Int[Array, " B"]:
    """The lengths, if they are those of such a batch."""
    sentence = f"lengths must be {shape[0]} integers from {fewest} to {shape[1]}, "
    try:
        found = jnp.asarray(lengths)
    except (TypeError, ValueError):
        raise TypeError(f"{sentence}not {lengths!r}.") from None
    if found.shape != shape[:1] or not jnp.issubdtype(found.dtype, jnp.integer):
        raise ValueError(f"{sentence}not {found.dtype}{list(found.shape)}.")
    if not isinstance(found, Tracer):
        for length in np.asarray(found):
            if not fewest <= length <= shape[1]:
                raise ValueError(f"{sentence}not {length}.")
    return found.astype(jnp.int32)


def _check_values(inputs: np.ndarray, lengths: np.ndarray | None) -> None:
    """Refuse numbers that are not finite; say where a sequence looks padded."""
    ends = np.full(len(inputs), inputs.shape[1]) if lengths is None else lengths
    own = np.arange(inputs.shape[1]) < ends[:, None]
    bad = np.argwhere(own & ~np.isfinite(inputs.astype(np.float64)).all(axis=2))
    if len(bad):
        sequence, step = bad[0]
        raise ValueError(
            f"inputs must be finite, and sequence {sequence} is not at step {step} (from 0); if "
            "that is padding, pass lengths=…."
        )
    if lengths is not None:
        return
    silent = (inputs == 0).all(axis=2)
    tails = np.where(silent.all(axis=1), 0, np.cumprod(silent[:, ::-1], axis=1).sum(axis=1))
    if tails.max() > 1:
        sequence = int(tails.argmax())
        warn(
            f"sequence {sequence} ends in {tails[sequence]} steps of zeros; if that is padding, "
            "pass lengths=…, or lags are counted from its end."
        )


def carry_of(cell: Any, inputs: Float[Array, "*B d"]) -> PyTree:
    """The carry of one sequence before its first input.

    Args:
        cell: any recurrent cell; it need not say how many numbers it reads.
        inputs: from which that is seen.

    Returns:
        Its own initial carry.
    """
    return initial_carry(cell, inputs.shape[-1])
