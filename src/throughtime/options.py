"""What the options of cells, tasks, diagnostics and remedies may be, checked one by one."""

import math
from collections.abc import Mapping
from typing import Any

from throughtime.files import DataFile
from throughtime.names import shown, unknown

DTYPES = ("float32", "float64", "bfloat16", "float16")
LOSS_AT = ("last", "task")
MATCHES = ("units", "state", "parameters")
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu")
FORGET_GATES = ("sigmoid", "exponential")
OPTIMIZERS = ("sgd", "momentum", "rmsprop", "adam")
PARTS = ("all", "train", "validation")
MITIGATIONS = (
    "clip",
    "clip_value",
    "adaptive_clip",
    "omega",
    "flossing",
    "orthogonal",
    "identity",
    "orthogonality",
    "spectral_norm",
    "forget_bias",
    "chrono",
    "leaky",
    "skip",
    "layer_norm",
    "gradient_noise",
    "truncate",
    "weight_decay",
    "dropout",
)
LABELS = {
    "irnn": {"activation": "relu", "initializer": "identity"},
    "gru_open": {"update_bias": 1.0},
    "lstm_open": {"forget_bias": 1.0},
    "lstm_chrono": {"chrono_steps": 200.0},
    "lstm_layer_norm": {"layer_norm": True},
}
"""What well-known variants of cells are called, and the options that make them such."""

LONGEST_LABEL = 60
"""Characters."""

ENSEMBLES = ("gaussian", "orthogonal", "identity", "uniform", "sparse")


class InputError(ValueError):
    """The user's input cannot be used; the message is one sentence that says why."""


_OPTIONS = {
    "initializer": lambda key, value: choice(key, value, ENSEMBLES),
    "activation": lambda key, value: choice(key, value, ACTIVATIONS),
    "by": lambda key, value: choice(key, value, ("pixel", "row")),
    "input_scale": lambda key, value: number(key, value, low=0.0),
    "forget_bias": lambda key, value: number(key, value),
    "update_bias": lambda key, value: number(key, value),
    "chrono_steps": lambda key, value: number(key, value, low=2.0),
    "step_size": lambda key, value: number(key, value, low=0.0),
    "frequency": lambda key, value: number(key, value, low=0.0),
    "damping": lambda key, value: number(key, value, low=0.0),
    "gated": lambda key, value: _flag(key, value),
    "map": lambda key, value: choice(key, value, ("exp", "cayley")),
    "forget_gate": lambda key, value: choice(key, value, FORGET_GATES),
    "r_min": lambda key, value: number(key, value, low=0.0),
    "r_max": lambda key, value: number(key, value, low=0.0),
    "max_phase": lambda key, value: number(key, value, low=0.0),
    "channel_size": lambda key, value: integer(key, value, 1),
    "dt_min": lambda key, value: number(key, value, low=0.0),
    "dt_max": lambda key, value: number(key, value, low=0.0),
    "layers": lambda key, value: integer(key, value, 1),
    "slow_every": lambda key, value: integer(key, value, 1),
    "layer_norm": lambda key, value: _flag(key, value),
    "leak": lambda key, value: number(key, value, low=0.0),
    "skip": lambda key, value: integer(key, value, 2),
    "range_noise": lambda key, value: number(key, value, low=0.0),
    "bearing_noise": lambda key, value: number(key, value, low=0.0),
    "in_features": lambda key, value: integer(key, value, 0),
    "tracks": lambda key, value: _file(key, value),
    "file": lambda key, value: _file(key, value),
    "columns": lambda key, value: _names(key, value),
    "relative": lambda key, value: _flag(key, value),
    "part": lambda key, value: choice(key, value, PARTS),
    "train_size": lambda key, value: integer(key, value, 1),
    "symbols": lambda key, value: integer(key, value, 1),
    "alphabet": lambda key, value: integer(key, value, 2),
    "noise": lambda key, value: number(key, value, low=0.0),
    "delay": lambda key, value: integer(key, value, 1),
    "num_exponents": lambda key, value: integer(key, value, 1),
    "transient": lambda key, value: integer(key, value, 0),
    "start_scale": lambda key, value: number(key, value, low=0.0),
    "optimizer": lambda key, value: choice(key, value, OPTIMIZERS),
    "learning_rate": lambda key, value: number(key, value, low=0.0),
    "updates": lambda key, value: integer(key, value, 1),
    "check_every": lambda key, value: integer(key, value, 1),
    "validation_size": lambda key, value: integer(key, value, 1),
    "older_than": lambda key, value: integer(key, value, 1),
    "master_weights": lambda key, value: _flag(key, value),
    "stop_when_solved": lambda key, value: _flag(key, value),
}
"""The options of cells, tasks and diagnostics, and what they may be; null means the default."""


def known_options() -> list[str]:
    """The options that a cell, a task or a diagnostic may have.

    Returns:
        Their names.
    """
    return list(_OPTIONS)


def named(kind: str, given: Any) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """The name and the checked options of a cell, a task or a diagnostic.

    Args:
        kind: which of them.
        given: the configuration's value.

    Returns:
        The name, and the options as sorted pairs; those that are null are left out.

    Raises:
        InputError: if there is no name, or an option is unknown or out of range.
    """
    name = given.get("name") if isinstance(given, Mapping) else given
    if not isinstance(given, Mapping) or not isinstance(name, str):
        raise InputError(f"{kind} must have a name, not {shown(name)}.")
    options = []
    for key, value in sorted(given.items()):
        if key in ("name", "label") or value is None:
            continue
        if key not in _OPTIONS:
            raise InputError(unknown(f"option of {kind}", key, known_options()))
        options.append((key, _OPTIONS[key](f"{kind}.{key}", value)))
    return name, tuple(options)


def label(given: Any, options: tuple[tuple[str, Any], ...]) -> str | None:
    """What tables and figures call a cell, if not by its name.

    Args:
        given: the configuration's value.
        options: of the cell, as `named` returns them.

    Returns:
        The label; None where there is none, or where it is one of `LABELS` and the options are not
        what that says.

    Raises:
        InputError: if it is no text that names a series: names of settings follow it after a comma.
    """
    if given is None:
        return None
    text = _text("cell.label", given)
    is_name = text[:1].isalnum() and text.isprintable() and text[-1] != " " and "," not in text
    if not is_name:
        raise InputError(
            "cell.label must begin with a letter or a digit, end without a blank, be printable and "
            f"have no comma, not {text!r}."
        )
    if len(text) > LONGEST_LABEL:
        raise InputError(f"cell.label must have at most {LONGEST_LABEL} characters, not {text!r}.")
    meant = LABELS.get(text, {})
    return given if meant.items() <= dict(options).items() else None


def mitigation(given: Any) -> tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]:
    """The names of remedies, each with its options, which the remedy itself checks.

    Args:
        given: the configuration's value, options by name.

    Returns:
        Pairs of a name and sorted pairs, in the order given.

    Raises:
        InputError: if it is no mapping.
    """
    if not isinstance(given, Mapping):
        raise InputError(
            f"mitigation must be a list of names such as [clip,omega], not {shown(given)}."
        )
    return tuple((str(name), _pairs(name, options)) for name, options in given.items())


def _pairs(name: str, options: Any) -> tuple[tuple[str, Any], ...]:
    """The options of a remedy, sorted; numbers to twelve digits, as they may be tiny."""
    if not isinstance(options or {}, Mapping):
        raise InputError(f"mitigation.{name} must hold options by name, not {shown(options)}.")
    pairs = sorted((str(key), value) for key, value in (options or {}).items())
    return tuple(
        (key, float(f"{value:.12g}") if isinstance(value, float) else value)
        for key, value in pairs
        if value is not None
    )


def _flag(key: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise InputError(f"{key} must be true or false, not {shown(value)}.")
    return value


def _text(key: str, value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise InputError(f"{key} must be a text, not {shown(value)}.")
    return value


def _file(key: str, value: Any) -> DataFile:
    """A file, which its task reads."""
    return DataFile.at(_text(key, value))


def _names(key: str, value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InputError(f"{key} must be a list of names, not {shown(value)}.")
    return tuple(value)


def number(key: str, value: Any, low: float = -math.inf) -> float:
    """A finite number not below a bound.

    Args:
        key: for the sentence.
        value: what was given.
        low: the bound.

    Returns:
        The number to twelve decimals, so that 0.1 + 0.2 and 0.3, as grids have them, are one point.

    Raises:
        InputError: if it is anything else.
    """
    allowed = "a finite number" + (f" >= {low:g}" if low > -math.inf else "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{key} must be {allowed}, not {shown(value)}.")
    if not (math.isfinite(value) and value >= low):
        raise InputError(f"{key} must be {allowed}, not {value}.")
    return round(float(value), 12)


def integer(key: str, value: Any, low: int) -> int:
    """An integer from a bound to 2^31 − 1.

    Args:
        key: for the sentence.
        value: what was given.
        low: the bound.

    Returns:
        The integer.

    Raises:
        InputError: if it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**31:
        raise InputError(f"{key} must be an integer from {low} to {2**31 - 1}, not {shown(value)}.")
    return value


def choice(key: str, value: Any, allowed: tuple[str, ...]) -> str:
    """One of the names allowed.

    Args:
        key: for the sentence.
        value: what was given.
        allowed: the names.

    Returns:
        The name.

    Raises:
        InputError: if it is none of them; the nearest is named.
    """
    if value not in allowed:
        raise InputError(unknown(key, value, allowed))
    return value
