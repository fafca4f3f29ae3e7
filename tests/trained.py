"""Trainings that are tiny, and what became of them, for the tests of trainings."""

import dataclasses

from made_results import rows

from throughtime import sweeps
from throughtime.points import Point

OPTIONS = {
    "optimizer": "momentum",  # Adam of Optax adds integers to floats, which strict JAX refuses
    "learning_rate": 0.01,
    "updates": 6,
    "check_every": 2,
    "validation_size": 5,
    "older_than": 3,
    "master_weights": True,
    "stop_when_solved": True,
}
RANDOM = (
    ("clip", (("max_norm", 0.5),)),
    ("gradient_noise", (("eta", 0.01), ("gamma", 0.55))),
    ("dropout", (("rate", 0.25),)),
)
"""A remedy that changes gradients, and two that are random in every update."""

BASE = Point(
    cell="elman",
    cell_options=(("activation", "tanh"), ("initializer", "gaussian")),
    task="adding",
    diagnostic="training",
    diagnostic_options=tuple(sorted(OPTIONS.items())),
    mitigation=RANDOM,
    recurrent_scale=1.0,
    sequence_length=6,
    hidden_features=4,
    num_seeds=2,
    seed=0,
    data_seed=0,
    batch_size=3,
    dtype="float32",
    loss_at="task",
)
OF_THE_CLOCK = ("seconds", "seconds_watching")


def point(**changes):
    """The tiny point, with other fields, or other options of its training."""
    options = OPTIONS | {name: changes.pop(name) for name in OPTIONS if name in changes}
    changes["diagnostic_options"] = tuple(sorted(options.items()))
    return dataclasses.replace(BASE, **changes)


def train(*points, folder=None):
    """Results and failures in the order of the points."""
    found = {}
    for key, members in sweeps.group(points).items():
        for batch in sweeps.run_group(key, members, folder):
            found |= {one.point: one for one in batch}
    return [found[one] for one in points]


def begin(num_chunks, *points, folder):
    """Train for some chunks of updates, then stop; what was finished by then."""
    (key,) = sweeps.group(points)
    running = sweeps.run_group(key, points, folder)
    done = [one for _ in range(num_chunks) for one in next(running)]
    running.close()
    return done


def bits(result):
    """All of a result that must not depend on anything but the point; NaN equals NaN."""
    each = [{k: v for k, v in row.items() if k not in OF_THE_CLOCK} for row in rows(result)]
    return repr(each), result.curves.shape, result.curves.tobytes()
