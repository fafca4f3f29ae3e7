"""What a training run amounts to: the columns of a table, and its course as curves."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from throughtime import statistics
from throughtime.counting import Counts
from throughtime.points import COURSE, Point
from throughtime.results import Result, natural_logs, with_columns
from throughtime.scaled import Scaled
from throughtime.training import TrainInfo
from throughtime.watching import GradientWatch


class Look(NamedTuple):
    """A training run as it is after some updates.

    Attributes:
        numbers: by the names of `COURSE`: train_loss and gradient_norm are means over the updates
            since the last look, ``changed`` counts the gradients that remedies changed.
        saturation: by gate.
        log_norms: ln ‖dL/dh_{T−k}‖ by lag, ``(T,)``, of the first sequences of the validation set.
        diverged_at: the update whose gradient was not finite; 0 if there is none, or if the
            optimiser had left the float range before.
        last_norm: the norm of the last gradient before that.
        first_bad_step: the first step at which a state is not finite; 0 if all are.
        overflowed_at: the update whose gradient was finite, and whose optimiser's moments or new
            parameters were not; 0 if there is none.
    """

    numbers: dict[str, float]
    saturation: dict[str, float]
    log_norms: np.ndarray
    diverged_at: int
    last_norm: float
    first_bad_step: int
    overflowed_at: int = 0

    @classmethod
    def of(
        cls,
        seen: GradientWatch,
        judged,
        counts: Counts,
        info: TrainInfo | None,
        overflowed_at: np.ndarray | np.integer,
    ) -> "Look":
        """What was measured of a run, as NumPy scalars and arrays.

        Args:
            seen: its gradient.
            judged: loss and error on the validation set.
            counts: what happened to its gradients so far.
            info: of its latest updates, their means; None before the first.
            overflowed_at: of the `TrainState`.
        """
        numbers = {
            "updates": counts.updates,
            "train_loss": np.nan if info is None else info.loss,
            "validation_loss": judged[0],
            "error": judged[1],
            "gradient_norm": np.nan if info is None else info.gradient_norm,
            "older_share": seen.older_share,
            "changed": counts.changed,
        }
        return cls(
            numbers={name: float(numbers[name]) for name in COURSE},
            saturation={gate: float(share) for gate, share in seen.saturation.items()},
            log_norms=natural_logs(seen.norms),
            diverged_at=0 if overflowed_at else int(counts.first_nonfinite),
            last_norm=_in_float64(counts.last),
            first_bad_step=int(seen.first_bad_step),
            overflowed_at=int(overflowed_at),
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON takes it."""
        return self._asdict() | {"log_norms": self.log_norms.tolist()}

    @classmethod
    def from_json(cls, look: dict[str, Any]) -> "Look":
        """What `to_json` gave, to the bit.

        Args:
            look: as it was read.
        """
        read: dict[str, Any] = look | {"log_norms": np.array(look["log_norms"], np.float64)}
        return cls(**read)


@dataclasses.dataclass(eq=False)
class Run:
    """One network of a point, being trained.

    Attributes:
        point: the point.
        index: of the network among those of the point.
        looks: the run so far.
        seconds: spent on updates, and on watching gradients.
    """

    point: Point
    index: int
    looks: list[Look] = dataclasses.field(default_factory=list)
    seconds: tuple[float, float] = (0.0, 0.0)

    @property
    def seed(self) -> int:
        """Of the network."""
        return self.point.seed + self.index

    @property
    def options(self) -> dict[str, Any]:
        """Of the training."""
        return dict(self.point.diagnostic_options)

    def is_done(self, solved_below: float | None) -> bool:
        """Whether there is nothing more to do.

        Args:
            solved_below: the error below which the task counts as solved.
        """
        if not self.looks:
            return False
        used = self.looks[-1].numbers["updates"] >= self.options["updates"]
        early = self.options["stop_when_solved"] and self.solved_at(solved_below) is not None
        return used or early or self.status != "ok"

    def solved_at(self, solved_below: float | None) -> int | None:
        """The updates after which the error was first seen below the threshold."""
        if solved_below is None:
            return None
        seen = (look.numbers for look in self.looks)
        return next((int(n["updates"]) for n in seen if n["error"] < solved_below), None)

    @property
    def status(self) -> str:
        """Standing: ``nonfinite`` if a gradient, or the loss on the validation set, was not finite.

        It is ``overflow`` if the optimiser left the float range first.
        """
        last = self.looks[-1]
        if last.overflowed_at:
            return "overflow"
        diverged = last.diverged_at > 0 or not np.isfinite(last.numbers["validation_loss"])
        return "nonfinite" if diverged else "ok"


def training_result(
    point: Point,
    runs: Sequence[Run],
    shared: dict[str, Any],
    may_be_rounded: Callable[[], bool] = lambda: True,
) -> Result:
    """The columns of a point whose networks have been trained.

    Args:
        point: the point.
        runs: of its networks, in their order.
        shared: the columns that they have in common, ``solved_below`` among them.
        may_be_rounded: whether a gradient of 0 may be one that is only too small.

    Returns:
        The result; its curves are ``(num_seeds, looks, columns)``, the columns `COURSE`, then the
        gates named in the shared column ``gates``, then the lags. A run that ended early has NaN.
    """
    rows = [_row(run, shared["solved_below"], may_be_rounded) for run in runs]
    each = {name: [row[name] for row in rows] for name in rows[0]}
    gates = list(runs[0].looks[0].saturation)
    width = len(COURSE) + len(gates) + point.sequence_length
    course = np.full((len(runs), max(len(run.looks) for run in runs), width), np.nan)
    for place, run in zip(course, runs, strict=True):
        for line, look in zip(place, run.looks, strict=False):
            numbers = [look.numbers[name] for name in COURSE]
            line[:] = np.concatenate([numbers, [look.saturation[g] for g in gates], look.log_norms])
    return with_columns(point, shared | {"gates": " ".join(gates)}, each, course)


def _row(
    run: Run, solved_below: float | None, may_be_rounded: Callable[[], bool]
) -> dict[str, Any]:
    """The columns of one network."""
    first, last = run.looks[0], run.looks[-1]
    begun, ended = (
        statistics.status(look.log_norms, look.first_bad_step or None, may_be_rounded)
        for look in (first, last)
    )
    solved_at = run.solved_at(solved_below)
    losses = [look.numbers["validation_loss"] for look in run.looks]
    finite = [loss for loss in losses if np.isfinite(loss)]
    updates = int(last.numbers["updates"])
    training, watching = run.seconds
    return {
        "seed": run.seed,
        "solved": solved_at is not None,
        "updates_to_solve": solved_at,
        "updates_made": updates,
        **{name: last.numbers[name] for name in ("train_loss", "validation_loss", "error")},
        "best_validation_loss": min(finite) if finite else None,
        "diverged_at": _diverged_at(run),
        "overflowed_at": last.overflowed_at or None,
        "last_gradient_norm": last.last_norm,
        "changed_share": last.numbers["changed"] / updates if updates else None,
        **_gradient(first, "at_start"),
        **_gradient(last, "at_end"),
        "status_at_start": begun,
        "status_at_end": ended,
        "verdict": statistics.verdict(first.log_norms) if begun == "ok" else "undefined",
        "first_bad_step": last.first_bad_step or None,
        "seconds": training + watching,
        "seconds_watching": watching,
        "status": run.status,
    }


def _diverged_at(run: Run) -> int | None:
    """The update at which the run diverged: of its gradient, or the last, of the loss alone."""
    if run.status != "nonfinite":
        return None
    last = run.looks[-1]
    return last.diverged_at or int(last.numbers["updates"])


def _in_float64(number: Scaled) -> float:
    """A scaled number in float64, exact; inf where it is beyond 1.8e308."""
    with np.errstate(over="ignore"):
        return float(np.ldexp(np.float64(number.mantissa), number.exponent))


def _gradient(look: Look, when: str) -> dict[str, Any]:
    """How far the gradient reaches at some moment."""
    horizon = statistics.horizon(look.log_norms)
    return {
        f"horizon_{when}": horizon.lag,
        f"rate_{when}": statistics.rate(look.log_norms),
        f"log10_ratio_{when}": statistics.log10_ratio(look.log_norms),
        f"older_share_{when}": look.numbers["older_share"],
    }
