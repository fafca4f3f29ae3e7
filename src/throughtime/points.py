"""The point: all that a measurement depends on, checked before anything heavy is imported."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from throughtime.names import unknown

DTYPES = ("float32", "float64", "bfloat16", "float16")
LOSS_AT = ("last", "task")
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu")
ENSEMBLES = ("gaussian", "orthogonal", "identity", "uniform", "sparse")
HEADLINES = {"gradient": "log10_gradient_ratio", "spectrum": "leading_exponent"}
"""The diagnostics, and of each the column whose sign says whether gradients vanish or explode."""
OUTSIDE = ("name", "device", "other_records")
"""Keys of a configuration that say where a point runs and is kept, not what it is."""


class InputError(ValueError):
    """The user's input cannot be used; the message is one sentence that says why."""


@contextmanager
def in_one_sentence(path: Path, addition: str = "") -> Iterator[None]:
    """Say in one sentence that something cannot be written, such as on a full disk.

    Args:
        path: what is being written.
        addition: the end of the sentence.

    Yields:
        Nothing.

    Raises:
        InputError: if the system refuses.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror}{addition}.") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement: ``num_seeds`` independent networks on one batch of sequences.

    Attributes:
        cell: name of the cell.
        cell_options: its options, as sorted pairs.
        task: name of the task.
        task_options: its options, as sorted pairs.
        diagnostic: what is measured, a key of `HEADLINES`.
        diagnostic_options: its options, as sorted pairs.
        recurrent_scale: gain of the recurrent weights.
        sequence_length: T, steps.
        hidden_features: N, hidden units.
        num_seeds: how many networks; network i is drawn from seed + i.
        seed: of the first network.
        data_seed: of the batch of sequences, which all networks share.
        batch_size: B, sequences.
        dtype: of weights, states and gradients.
        loss_at: ``last``, the loss of the last step alone; or ``task``, the task's own loss.
    """

    cell: str
    cell_options: tuple[tuple[str, Any], ...] = ()
    task: str
    task_options: tuple[tuple[str, Any], ...] = ()
    diagnostic: str = "gradient"
    diagnostic_options: tuple[tuple[str, Any], ...] = ()
    recurrent_scale: float
    sequence_length: int
    hidden_features: int
    num_seeds: int
    seed: int
    data_seed: int
    batch_size: int
    dtype: str
    loss_at: str

    @functools.cached_property
    def key(self) -> str:
        """A hash of the point, the same whatever order its options were given in."""
        text = json.dumps(self._fields(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _fields(self) -> dict[str, Any]:
        """The fields as they are: dataclasses.asdict copies deeply, at twenty times the cost."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def columns(self) -> dict[str, Any]:
        """The point as columns of a row; options as columns of their own."""
        own = self._fields()
        options = dict(own.pop("cell_options")) | dict(own.pop("diagnostic_options"))
        task_options = {f"task_{name}": value for name, value in own.pop("task_options")}
        return own | {"initializer": None, "activation": None} | options | task_options


def read_point(config: Mapping[str, Any]) -> Point:
    """Check a job's configuration and make it a point.

    Args:
        config: plain containers with the keys of ``conf/sweep.yaml``.

    Returns:
        The point.

    Raises:
        InputError: if a key is unknown or missing, or a value is out of range.
    """
    config = {key: value for key, value in config.items() if key not in OUTSIDE}
    expected = [key for key in known_keys() if key not in OUTSIDE]
    for key in config:
        if key not in expected:
            raise InputError(unknown("key", key, expected))
    for key in expected:
        if key not in config:
            raise InputError(f"{key} is missing; it has no default.")
    cell, cell_options = _named("cell", config.pop("cell"))
    task, task_options = _named("task", config.pop("task"))
    diagnostic, diagnostic_options = _named("diagnostic", config.pop("diagnostic"))
    return Point(
        cell=cell,
        cell_options=cell_options,
        task=task,
        task_options=task_options,
        diagnostic=_choice("diagnostic", diagnostic, tuple(HEADLINES)),
        diagnostic_options=diagnostic_options,
        recurrent_scale=_number("recurrent_scale", config["recurrent_scale"], low=0.0),
        dtype=_choice("dtype", config["dtype"], DTYPES),
        loss_at=_choice("loss_at", config["loss_at"], LOSS_AT),
        **{key: _integer(key, config[key], low) for key, low in _LOWEST.items()},
    )


def known_keys() -> list[str]:
    """The keys that a configuration may have.

    Returns:
        Their names.
    """
    fields = [field.name for field in dataclasses.fields(Point)]
    return [name for name in fields if not name.endswith("_options")] + list(OUTSIDE)


_LOWEST = {
    "sequence_length": 2,
    "hidden_features": 1,
    "num_seeds": 1,
    "seed": 0,
    "data_seed": 0,
    "batch_size": 1,
}

_OPTIONS = {
    "initializer": lambda key, value: _choice(key, value, ENSEMBLES),
    "activation": lambda key, value: _choice(key, value, ACTIVATIONS),
    "by": lambda key, value: _choice(key, value, ("pixel", "row")),
    "input_scale": lambda key, value: _number(key, value, low=0.0),
    "forget_bias": lambda key, value: _number(key, value),
    "update_bias": lambda key, value: _number(key, value),
    "chrono_steps": lambda key, value: _number(key, value, low=2.0),
    "range_noise": lambda key, value: _number(key, value, low=0.0),
    "bearing_noise": lambda key, value: _number(key, value, low=0.0),
    "in_features": lambda key, value: _integer(key, value, 0),
    "tracks": lambda key, value: _text(key, value),
    "file": lambda key, value: _text(key, value),
    "columns": lambda key, value: _names(key, value),
    "num_exponents": lambda key, value: _integer(key, value, 1),
    "transient": lambda key, value: _integer(key, value, 0),
    "start_scale": lambda key, value: _number(key, value, low=0.0),
}
"""The options of cells, tasks and diagnostics, and what they may be; null means the default."""


def known_options() -> list[str]:
    """The options that a cell, a task or a diagnostic may have.

    Returns:
        Their names.
    """
    return list(_OPTIONS)


def _named(kind: str, given: Any) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """The name and the checked options of a cell, a task or a diagnostic."""
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise InputError(f"{kind} must have a name, not {given!r}.")
    options = []
    for key, value in sorted(given.items()):
        if key == "name" or value is None:
            continue
        if key not in _OPTIONS:
            raise InputError(unknown(f"option of {kind}", key, known_options()))
        options.append((key, _OPTIONS[key](f"{kind}.{key}", value)))
    return given["name"], tuple(options)


def _text(key: str, value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise InputError(f"{key} must be a text, not {value!r}.")
    return value


def _names(key: str, value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InputError(f"{key} must be a list of names, not {value!r}.")
    return tuple(value)


def _number(key: str, value: Any, low: float = -math.inf) -> float:
    """A finite number not below a bound."""
    allowed = "a finite number" + (f" >= {low:g}" if low > -math.inf else "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{key} must be {allowed}, not {value!r}.")
    if not (math.isfinite(value) and value >= low):
        raise InputError(f"{key} must be {allowed}, not {value}.")
    # Rounded so that 0.1 + 0.2 and 0.3, as grids produce them, are one point.
    return round(float(value), 12)


def _integer(key: str, value: Any, low: int) -> int:
    """An integer from a bound to 2^31 − 1."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**31:
        raise InputError(f"{key} must be an integer from {low} to {2**31 - 1}, not {value!r}.")
    return value


def _choice(key: str, value: Any, allowed: tuple[str, ...]) -> str:
    """One of the names allowed."""
    if value not in allowed:
        raise InputError(unknown(key, value, allowed))
    return value
