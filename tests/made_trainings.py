"""Rows and records of trainings as a sweep makes them, with numbers that are known."""

import math

import numpy as np
import pandas as pd

from throughtime.points import COURSE


def rows_of(updates_to_solve, *, errors=0.5, diverged_at=None, **point):
    """Rows of one point: a network for every number of updates, None where it never solved."""
    count = len(updates_to_solve)
    solved = [updates is not None for updates in updates_to_solve]
    own = {
        "key": "k",
        "cell": "elman",
        "recurrent_scale": 1.0,
        "sequence_length": 20,
        "diagnostic": "training",
        "task": "temporal_order",
        "mitigation": "none",
        "mitigation_options": "",
        "updates": 4000,
        "baseline": 1.0,
        "solved_below": 0.01,
        "gates": "hidden",
    } | point
    diverged = diverged_at or [None] * count
    measured = {
        "seed": range(count),
        "error": errors,
        "validation_loss": 0.7,
        "train_loss": 0.6,
        "best_validation_loss": 0.65,
        "solved": solved,
        "updates_to_solve": pd.array(updates_to_solve, "float64"),
        "updates_made": [4000.0 if updates is None else updates for updates in updates_to_solve],
        "status_at_start": "ok",
        "status_at_end": "ok",
        "diverged_at": pd.array(diverged, "float64"),
        "overflowed_at": None,
        "last_gradient_norm": 1.0,
        "changed_share": 0.25,
        "seconds": 5.0,
        "seconds_watching": 1.0,
        "first_bad_step": pd.array([None] * count, "Int64"),
        "verdict": "vanishing",
        "status": ["ok" if update is None else "nonfinite" for update in diverged],
    }
    for when, horizon in (("start", 4), ("end", 19)):
        measured |= {f"horizon_at_{when}": horizon, f"rate_at_{when}": -0.5}
        measured |= {f"log10_ratio_at_{when}": -2.0, f"older_share_at_{when}": 0.1}
    frame = pd.DataFrame(own | measured, index=range(count))
    return frame.assign(error=frame["error"].where(frame["status"] == "ok"))


def record(curves, gates=("hidden",), **shared):
    """A record: curves are (networks, looks, columns), as `learned.training_result` makes them."""
    count = len(curves)
    own = {
        "cell": "elman",
        "recurrent_scale": 1.0,
        "sequence_length": curves.shape[2] - len(COURSE) - len(gates),
        "baseline": 1.5,
        "gates": " ".join(gates),
    }
    return {
        "key": "k",
        "run_id": "r",
        "created": "now",
        "origin": {},
        "shared": own | shared,
        "each": {"seed": list(range(count)), "status": ["ok"] * count},
        "curves": curves,
    }


def course(num_looks, log_norms, ended=None):
    """The looks of a network at 0, 100, 200, … updates; NaN after it ended."""
    looks = np.full((num_looks, len(COURSE) + 1 + len(log_norms)), math.nan)
    for place in range(num_looks if ended is None else ended):
        numbers = [100.0 * place, 0.9 - 0.1 * place, 0.8 - 0.1 * place, 0.5, 2.0, 0.1, 7.0 * place]
        looks[place] = [*numbers, 0.25, *(np.asarray(log_norms) / (1 + place))]
    looks[0, [1, 4]] = math.nan
    return looks
