"""The point: all that a measurement depends on, checked before anything heavy is imported."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from throughtime.files import DataFile, own_data
from throughtime.names import unknown
from throughtime.options import (
    DTYPES,
    LOSS_AT,
    MATCHES,
    InputError,
    choice,
    integer,
    known_options,
    label,
    mitigation,
    named,
    number,
)

__all__ = [
    "COURSE",
    "HEADLINES",
    "InputError",
    "Point",
    "in_one_sentence",
    "known_keys",
    "known_options",
    "read_point",
]

HEADLINES = {
    "gradient": "log10_gradient_ratio",
    "spectrum": "leading_exponent",
    "paths": "log10_gradient_ratio",
    "training": "error",
}
"""The diagnostics, and of each the number of a point that its job returns."""

COURSE = (
    "updates",
    "train_loss",
    "validation_loss",
    "error",
    "gradient_norm",
    "older_share",
    "changed",
)
"""What a training records at every look; see `learned.Look`."""

PATHS = ("whole", "highway", "gates", "recurrent")
"""What is recorded of a gradient by the way it takes; see `paths.GradientPaths`."""

OUTSIDE = ("name", "device", "other_records")
"""Keys of a configuration that say where a point runs and is kept, not what it is."""


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
        label: what tables and figures call it, if not by its name.
        cell_options: its options, as sorted pairs.
        task: name of the task.
        task_options: its options, as sorted pairs; a file by its content.
        task_data: the file of the task's own data, if it reads one.
        diagnostic: what is measured, a key of `HEADLINES`.
        diagnostic_options: its options, as sorted pairs.
        mitigation: names of remedies, each with its options as sorted pairs, in the order given.
        recurrent_scale: gain of the recurrent weights.
        sequence_length: T, steps.
        hidden_features: N, hidden units of a plain network.
        match: what every other cell has as much of as that: ``units``, ``state`` (numbers of state)
            or ``parameters``.
        num_seeds: how many networks; network i is drawn from seed + i.
        seed: of the first network.
        data_seed: of the batch of sequences, which all networks share.
        batch_size: B, sequences.
        dtype: of weights, states and gradients.
        loss_at: ``last``, the loss of the last step alone; or ``task``, the task's own loss.
    """

    cell: str
    label: str | None = None
    cell_options: tuple[tuple[str, Any], ...] = ()
    task: str
    task_options: tuple[tuple[str, Any], ...] = ()
    task_data: DataFile | None = None
    diagnostic: str = "gradient"
    diagnostic_options: tuple[tuple[str, Any], ...] = ()
    mitigation: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    recurrent_scale: float
    sequence_length: int
    hidden_features: int
    match: str = "units"
    num_seeds: int
    seed: int
    data_seed: int
    batch_size: int
    dtype: str
    loss_at: str

    @functools.cached_property
    def key(self) -> str:
        """A hash of the point, whatever order its options were given in and where files lie."""
        fields = self._fields()
        if self.task_data is None:  # the key of what reads no file is what it always was
            del fields["task_data"]
        text = json.dumps(fields, sort_keys=True, allow_nan=False, default=DataFile.content)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _fields(self) -> dict[str, Any]:
        """The fields as they are: dataclasses.asdict copies deeply, at twenty times the cost."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def columns(self) -> dict[str, Any]:
        """The point as columns of a row; options as columns of their own."""
        own = self._fields()
        options = dict(own.pop("cell_options")) | dict(own.pop("diagnostic_options"))
        task_options = _task_columns(own.pop("task_options"), own.pop("task_data"))
        remedies = own.pop("mitigation")
        own |= {"kind": own["cell"], "cell": own.pop("label") or own["cell"]}
        own["mitigation"] = " + ".join(name for name, _ in remedies) or "none"
        own["mitigation_options"] = ", ".join(
            f"{name}.{option}={value}" for name, pairs in remedies for option, value in pairs
        )
        return own | {"initializer": None, "activation": None} | options | task_options


def _task_columns(options: tuple[tuple[str, Any], ...], data: DataFile | None) -> dict[str, Any]:
    """The options of a task as columns; a file is its name, its size and its hash."""
    columns: dict[str, Any] = {}
    for name, value in (*options, *([] if data is None else [("data", data)])):
        is_file = isinstance(value, DataFile)
        columns |= value.columns(f"task_{name}") if is_file else {f"task_{name}": value}
    return columns


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
    config.setdefault("mitigation", {})  # a group of which none was chosen leaves no key
    expected = [key for key in known_keys() if key not in OUTSIDE]
    for key in config:
        if key not in expected:
            raise InputError(unknown("key", key, expected))
    for key in expected:
        if key not in config:
            raise InputError(f"{key} is missing; it has no default.")
    given = config.pop("cell")
    called = given.get("label") if isinstance(given, Mapping) else None
    cell, cell_options = named("cell", given)
    task, task_options = named("task", config.pop("task"))
    diagnostic, diagnostic_options = named("diagnostic", config.pop("diagnostic"))
    return Point(
        cell=cell,
        label=label(called, cell_options),
        cell_options=cell_options,
        task=task,
        task_options=task_options,
        task_data=own_data(task, task_options),
        diagnostic=choice("diagnostic", diagnostic, tuple(HEADLINES)),
        diagnostic_options=diagnostic_options,
        mitigation=mitigation(config["mitigation"]),
        recurrent_scale=number("recurrent_scale", config["recurrent_scale"], low=0.0),
        match=choice("match", config["match"], MATCHES),
        dtype=choice("dtype", config["dtype"], DTYPES),
        loss_at=choice("loss_at", config["loss_at"], LOSS_AT),
        **{key: integer(key, config[key], low) for key, low in _LOWEST.items()},
    )


def known_keys() -> list[str]:
    """The keys that a configuration may have.

    Returns:
        Their names.
    """
    fields = [field.name for field in dataclasses.fields(Point)]
    derived = ("label", "task_data")
    own = [name for name in fields if name not in derived and not name.endswith("_options")]
    return own + list(OUTSIDE)


_LOWEST = {
    "sequence_length": 2,
    "hidden_features": 1,
    "num_seeds": 1,
    "seed": 0,
    "data_seed": 0,
    "batch_size": 1,
}
