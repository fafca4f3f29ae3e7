"""Multiruns as they are recorded, without measuring: every number is a function of its network."""

import hashlib
import itertools
import math

import numpy as np

from throughtime import records
from throughtime.ledger import Ledger
from throughtime.points import COURSE, HEADLINES, PATHS, read_point
from throughtime.provenance import provenance
from throughtime.results import Result

ORIGIN = provenance("cpu")
BASE = {
    "cell": {"name": "elman", "activation": "tanh", "initializer": "gaussian", "input_scale": 1.0},
    "task": {"name": "noise"},
    "diagnostic": {"name": "gradient"},
    "mitigation": {},
    "recurrent_scale": 1.0,
    "sequence_length": 6,
    "hidden_features": 4,
    "match": "units",
    "num_seeds": 2,
    "seed": 0,
    "data_seed": 0,
    "batch_size": 2,
    "dtype": "float32",
    "loss_at": "last",
}
TRAINING = {"optimizer": "sgd", "learning_rate": 0.01, "updates": 20, "check_every": 10}
TRAINING |= {"stop_when_solved": True, "name": "training"}
LABEL = "a$\\q|c$ <c_> `d` *e*"
"""All that a figure, Markdown or LaTeX would take for more than text."""

KEYS = {
    "cell": [
        BASE["cell"],
        BASE["cell"] | {"input_scale": 2.0},
        {"name": "elman", "activation": "relu", "initializer": "identity", "label": "irnn"},
        {"name": "gru", "update_bias": 0.0, "initializer": "gaussian", "input_scale": 1.0},
        {"name": "lstm", "forget_bias": 1.0, "label": LABEL},
        {"name": "lstm", "forget_bias": 0.0, "label": LABEL},
        {"name": "flax_gru"},
    ],
    "task": [
        {"name": "noise"},
        {"name": "noise", "in_features": 0},
        {"name": "text", "file": "my|$te_xt$.txt"},
        {"name": "radar", "tracks": "a.csv", "columns": ["time", "x", "y"]},
    ],
    "diagnostic": [
        {"name": "gradient"},
        {"name": "spectrum", "transient": 0},
        {"name": "spectrum", "num_exponents": 1},
        {"name": "paths"},
        TRAINING,
        TRAINING | {"optimizer": "adam"},
    ],
    "mitigation": [{}, {"clip": {"max_norm": 1.0}}, {"clip": {"max_norm": 2.0}, "omega": None}],
    "recurrent_scale": [0.0, 0.5, 1.0, 1.0000001, 2.0],
    "sequence_length": [6, 9, 50],
    "hidden_features": [4, 5],
    "match": ["units", "state"],
    "num_seeds": [1, 2, 3, 6],
    "seed": [0, 1, 2, 7],
    "data_seed": [0, 1],
    "batch_size": [2, 3],
    "dtype": ["float32", "float64", "bfloat16"],
    "loss_at": ["last", "task"],
}
"""What may be swept, and values of it."""


def points(swept):
    """The points of a grid over some keys; a remedy without a training is refused."""
    combinations = itertools.product(*swept.values())
    made = [read_point(BASE | dict(zip(swept, values, strict=True))) for values in combinations]
    return [one for one in made if one.diagnostic == "training" or not one.mitigation]


def networks(point):
    """What each network of a point is: all that its numbers depend on."""
    own = {k: v for k, v in vars(point).items() if k not in ("num_seeds", "seed", "key")}
    return [(str(sorted(own.items())), point.seed + i) for i in range(point.num_seeds)]


def drawn(network):
    """A number in [-1, 1) of a network's own, and its status."""
    digest = hashlib.sha256(repr(network).encode()).digest()
    status = ["ok", "ok", "ok", "ok", "ok", "nonfinite", "collapsed"][digest[7] % 7]
    return int.from_bytes(digest[:4], "big") / 2**31 - 1, status


def result(point):
    """What is recorded of a point."""
    each, curves = MADE[point.diagnostic](point, [drawn(one) for one in networks(point)])
    each = {"seed": [seed for _, seed in networks(point)]} | each
    shared = {"in_features": 2, "units": 4, "state_size": 4, "parameters": 88}
    shared |= {"flops_per_step": 9, "networks_at_once": 16, "seconds": 0.1}
    if point.diagnostic == "training":
        shared |= {"baseline": 1.0, "solved_below": 0.5, "gates": "hidden"}
    own = {name: x for name, x in point.columns().items() if name not in each}
    shared = {name: x for name, x in shared.items() if name not in each}
    return Result(point, own | shared, each, curves)


def headline(point, network):
    """The number of a network that tables show; None where it has none."""
    rate, status = drawn(network)
    if status != "ok":
        return None
    steps = point.sequence_length - 1
    is_ratio = HEADLINES[point.diagnostic] == "log10_gradient_ratio"
    return rate * steps / math.log(10) if is_ratio else rate


def record(folder, made, run_id="run"):
    """The ledger of a run, and the run."""
    book = Ledger(folder)
    book.append([result(point) for point in made], ORIGIN, run_id)
    book.close()
    records.note_run(folder / run_id, [point.key for point in made], ORIGIN, "refuse")


def _common(point, found):
    """Standing and verdict of each network."""
    is_ok = [status == "ok" for _, status in found]
    return {
        "verdict": ["stable" if ok else "undefined" for ok in is_ok],
        "first_bad_step": [None if ok else 1 for ok in is_ok],
        "status": [status for _, status in found],
    }


def _curves(point, found):
    """Straight lines of the networks' own slope; NaN of those that have no numbers."""
    slopes = np.array([rate if status == "ok" else math.nan for rate, status in found])
    return slopes[:, None] * np.arange(point.sequence_length)


def _ratios(point):
    """The headline of gradients, of each network; NaN where it has none."""
    values = [headline(point, one) for one in networks(point)]
    return [math.nan if value is None else value for value in values]


def _gradient(point, found):
    count = len(found)
    own = {
        "log10_gradient_ratio": _ratios(point),
        "rate": [rate for rate, _ in found],
        "horizon": [3] * count,
        "horizon_is_bound": [False] * count,
        "first_zero_lag": [None] * count,
        "first_inf_lag": [2] * count,
        "loss": [0.5] * count,
    }
    return own | _common(point, found), _curves(point, found)


def _spectrum(point, found):
    count, num = len(found), dict(point.diagnostic_options).get("num_exponents", 4)
    rates = _ratios(point)
    own = {"leading_exponent": rates, "exponent_sum": [None] * count}
    own |= {f"leading_exponent_{end}": rates for end in ("low", "high")}
    for name in ("kaplan_yorke", "entropy"):
        own[f"{name}_is_bound"] = [False] * count
    own |= {name: [0.5] * count for name in ("kaplan_yorke_dimension", "entropy_rate")}
    own |= {"exponent_floor": [-9.0] * count}
    return own | _common(point, found), np.subtract.outer(rates, np.arange(num))


def _paths(point, found):
    own = {"log10_gradient_ratio": _ratios(point), "defect": [1e-9] * len(found)}
    own |= {f"rate_{name}": [rate for rate, _ in found] for name in PATHS}
    return own | _common(point, found), np.stack([_curves(point, found)] * len(PATHS), axis=-1)


def _training(point, found):
    solved = [rate > 0 and status == "ok" for rate, status in found]
    count = len(found)
    own = {
        "solved": solved,
        "updates_to_solve": [10 if each else None for each in solved],
        "updates_made": [20] * count,
        "error": _ratios(point),
        "validation_loss": _ratios(point),
        "train_loss": _ratios(point),
        "best_validation_loss": _ratios(point),
        "diverged_at": [None if status == "ok" else 10 for _, status in found],
        "overflowed_at": [None] * count,
        "status_at_start": ["ok"] * count,
        "status_at_end": ["ok"] * count,
        "last_gradient_norm": [1.0] * count,
        "changed_share": [0.5] * count,
        "seconds": [1.0] * count,
        "seconds_watching": [0.5] * count,
    }
    for name in ("horizon", "rate", "log10_ratio", "older_share"):
        own |= {f"{name}_at_{when}": [1.0] * count for when in ("start", "end")}
    looks = np.ones((count, 2, len(COURSE) + 1 + point.sequence_length))
    looks[:, :, 0] = [0, 10]
    return own | _common(point, found), looks


MADE = {"gradient": _gradient, "spectrum": _spectrum, "paths": _paths, "training": _training}
