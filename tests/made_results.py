"""Results as a sweep makes them, without measuring anything."""

import numpy as np

from throughtime.frames import rows_of
from throughtime.points import Point
from throughtime.results import Result

CURVES = np.array([[0.0, -1e-17, -np.inf], [np.pi, 1e300, 0.1]])


def point(scale=1.0, **changes):
    own = {
        "cell": "elman",
        "task": "noise",
        "recurrent_scale": scale,
        "sequence_length": 3,
        "hidden_features": 4,
        "num_seeds": 2,
        "seed": 0,
        "data_seed": 0,
        "batch_size": 1,
        "dtype": "float32",
        "loss_at": "last",
    }
    return Point(**(own | changes))


def result(scale=1.0, ratio=1.0, status="ok"):
    each = {
        "seed": [0, 1],
        "log10_gradient_ratio": [ratio, ratio + 2],
        "first_zero_lag": [None, None],
        "first_inf_lag": [2, None],
        "first_bad_step": [None, None],
        "status": ["ok", status],
    }
    own = {name: value for name, value in point(scale).columns().items() if name != "seed"}
    return Result(point(scale), own, each, CURVES)


def rows(measured):
    """One dict for each network of a result."""
    return rows_of(measured.shared, measured.each)
