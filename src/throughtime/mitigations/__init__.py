"""Remedies against vanishing and exploding gradients, each from its paper, by name."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from throughtime.cells import options_of
from throughtime.mitigations import cells, gradients, penalties, projections
from throughtime.mitigations.mitigation import Mitigation, Penalty, Preparation, Projection
from throughtime.names import known, sentence
from throughtime.scaled import at_least_float32

__all__ = [
    "MITIGATIONS",
    "Mitigation",
    "Penalty",
    "Preparation",
    "Projection",
    "combine",
    "make_mitigation",
]

MITIGATIONS: dict[str, Callable[..., Mitigation]] = {
    "clip": gradients.clip,
    "clip_value": gradients.clip_value,
    "adaptive_clip": gradients.adaptive_clip,
    "omega": penalties.omega,
    "flossing": penalties.flossing,
    "orthogonal": cells.orthogonal,
    "identity": cells.identity,
    "orthogonality": penalties.orthogonality,
    "spectral_norm": projections.spectral_norm,
    "forget_bias": cells.forget_bias,
    "chrono": cells.chrono,
    "leaky": cells.leaky,
    "skip": cells.skip,
    "layer_norm": cells.layer_norm,
    "gradient_noise": gradients.gradient_noise,
    "truncate": gradients.truncate,
    "weight_decay": gradients.weight_decay,
    "dropout": gradients.dropout,
}
"""The remedies by name."""


def make_mitigation(name: str, **options: Any) -> Mitigation:
    """Make a remedy by its name.

    Args:
        name: a key of `MITIGATIONS`.
        **options: the keyword arguments of the remedy's own function in `MITIGATIONS`.

    Returns:
        The mitigation.

    Raises:
        ValueError: an unknown name or option, one that is missing, or a value that the remedy
            refuses.
    """
    parameters = inspect.signature(MITIGATIONS[known("mitigation", name, MITIGATIONS)]).parameters
    for option in options:
        if not parameters:
            raise ValueError(f"mitigation {name!r} has no options, not even {option!r}.")
        known(f"option of mitigation {name!r}", option, parameters)
    for option, parameter in parameters.items():
        if option not in options and parameter.default is parameter.empty:
            raise ValueError(f"mitigation {name!r} needs {option!r}, which has no default.")
    try:
        return MITIGATIONS[name](**options)
    except ValueError as error:
        raise ValueError(f"mitigation {name!r}: {sentence(str(error))}") from error


def combine(mitigations: Sequence[tuple[str, Mapping[str, Any]]], cell: str) -> Mitigation:
    """Make one remedy of several for a cell.

    What is done to gradients and parameters is done in the order given; penalties add up.

    Args:
        mitigations: names and options.
        cell: the name of the cell.

    Returns:
        The mitigation.

    Raises:
        ValueError: if one cannot be made, is given twice, does not apply to the cell, or sets what
            another sets.
    """
    parts: dict[str, Mitigation] = {}
    for name, options in mitigations:
        if name in parts:
            raise ValueError(f"mitigation {name!r} is given twice.")
        made = make_mitigation(name, **options)
        parts[name] = made._replace(cell_options=_spelled(name, made.cell_options, cell))
    _refuse_two_of_a_kind(parts)
    each = parts.values()
    return Mitigation(
        cell_options={option: v for part in each for option, v in part.cell_options.items()},
        gradient=_chained([part.gradient for part in each if part.gradient]),
        penalty=_summed([part.penalty for part in each if part.penalty]),
        project=_composed([part.project for part in each if part.project]),
        prepare=next((part.prepare for part in each if part.prepare), None),
        window=next((part.window for part in each if part.window), None),
        dropout=next((part.dropout for part in each if part.dropout), 0.0),
    )


def _spelled(name: str, options: Mapping[str, Any], cell: str) -> dict[str, Any]:
    """The cell options of a remedy by the names that this cell has for them."""
    allowed = ["initializer" if each == "ensemble" else each for each in options_of(cell)]
    called = {"forget_bias": "update_bias"} if "update_bias" in allowed else {}
    for option in options:
        if called.get(option, option) not in allowed:
            raise ValueError(
                f"mitigation {name!r} does not apply to cell {cell!r}: it has no option {option!r}."
            )
    return {called.get(option, option): value for option, value in options.items()}


_SAME = {"forget_bias": "gate bias", "update_bias": "gate bias", "chrono_steps": "gate bias"}
"""Options of a cell that set the same thing by different names."""


def _refuse_two_of_a_kind(parts: Mapping[str, Mitigation]) -> None:
    """Refuse two remedies that set the same thing."""
    set_by: dict[str, str] = {}
    for name, part in parts.items():
        things = [_SAME.get(option, option) for option in part.cell_options]
        for thing in things:
            if thing in set_by:
                raise ValueError(
                    f"mitigations {set_by[thing]!r} and {name!r} both set the cell's {thing}."
                )
            set_by[thing] = name


def _chained(makers: list[Callable]) -> Callable | None:
    """One transformation after the other, each with a key of its own."""
    if not makers:
        return None

    def chained(key) -> optax.GradientTransformation:
        keys = jax.random.split(key, len(makers))
        return optax.chain(*[make(k) for make, k in zip(makers, keys, strict=True)])

    return chained


def _summed(penalties: list[Penalty]) -> Penalty | None:
    """The sum of the penalties."""
    if not penalties:
        return None

    def summed(cell, inputs, loss):
        values = [each(cell, inputs, loss) for each in penalties]
        wide = functools.reduce(np.promote_types, [at_least_float32(v.dtype) for v in values])
        return jnp.sum(jnp.stack([value.astype(wide) for value in values]))

    return summed


def _composed(projections: list[Projection]) -> Projection | None:
    """One projection after the other."""
    if not projections:
        return None

    def composed(parameters):
        for project in projections:
            parameters = project(parameters)
        return parameters

    return composed
