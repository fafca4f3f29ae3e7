"""What a remedy against vanishing and exploding gradients is, and what its options may be."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import optax
from jaxtyping import Array, Float, Key, PyTree

Penalty = Callable[[Any, Float[Array, "B T d"], Callable], Float[Array, ""]]
"""``penalty(cell, inputs, loss)``: a scalar that is added to the loss.

The caller differentiates it by the cell's parameters. ``inputs`` are ``(B, T, d)``, every step
live; ``loss`` maps the outputs ``(B, T, m)``, the hidden state after each step, to a scalar.
"""

Projection = Callable[[PyTree], PyTree]
"""The parameters of a cell, a pytree whose keys are its attributes, to the like."""


class Preparation(NamedTuple):
    """What is minimised, by Adam, before training begins.

    Attributes:
        penalty: the objective; the task's loss has no part in it.
        steps: how many updates.
        learning_rate: of Adam.
    """

    penalty: Penalty
    steps: int
    learning_rate: float


class Mitigation(NamedTuple):
    """What a remedy changes; what it leaves alone is None or empty.

    Attributes:
        cell_options: how the cell is built or initialised, options of `make_cell`.
        gradient: from a key to what is done to the gradients before the optimiser sees them.
        penalty: what is added to the loss.
        project: what is done to the cell's parameters after every update.
        prepare: what is minimised before training.
        window: (k1, k2) of truncated BPTT: every k1 steps, k2 steps back.
        dropout: the rate at which outputs are left out before the read-out, one mask for all
            steps of a sequence.

    References:
        Williams, Peng 1990, Neural Computation 2, 490 (truncated BPTT); Gal, Ghahramani 2016,
        arXiv:1512.05287 (one mask per sequence).
    """

    cell_options: Mapping[str, Any] = MappingProxyType({})
    gradient: Callable[[Key[Array, ""]], optax.GradientTransformation] | None = None
    penalty: Penalty | None = None
    project: Projection | None = None
    prepare: Preparation | None = None
    window: tuple[int, int] | None = None
    dropout: float = 0.0


def number(
    option: str, value: Any, low: int | float = -math.inf, *, above: int | float = -math.inf
) -> float:
    """A finite number within bounds.

    Args:
        option: its name, for the sentence.
        value: what was given.
        low: the least it may be.
        above: what it must be greater than.

    Returns:
        The number.

    Raises:
        ValueError: if it is anything else.
    """
    bounds = f" >= {low:g}" if low > -math.inf else f" > {above:g}" if above > -math.inf else ""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not (real and math.isfinite(value) and value >= low and value > above):
        raise ValueError(f"{option} must be a finite number{bounds}, not {value!r}.")
    return float(value)


def integer(option: str, value: Any, low: int) -> int:
    """An integer not below a bound.

    Args:
        option: its name, for the sentence.
        value: what was given.
        low: the least it may be.

    Returns:
        The integer.

    Raises:
        ValueError: if it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{option} must be an integer >= {low}, not {value!r}.")
    return value
