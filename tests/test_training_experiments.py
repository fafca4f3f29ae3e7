"""Trainings of every configuration: each remedy, each task and each experiment, at tiny size."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from made_results import rows
from omegaconf import OmegaConf
from test_experiments import CONF, TINY, measure, names

from throughtime import crews, sweeps
from throughtime.cells import SYSTEMS
from throughtime.points import COURSE, read_point
from throughtime.programs import draw_network, program_key

REMEDIES = names("mitigation")
MOMENTUM = ["diagnostic.optimizer=momentum"]  # Optax's Adam is not strict about dtypes
TRAINED = ["diagnostic.updates=2", "diagnostic.check_every=1", "diagnostic.validation_size=4"]
TOGETHER = {
    "elman": (
        "clip,clip_value,adaptive_clip,weight_decay,gradient_noise,spectral_norm,identity,flossing",
    ),
    "gru": ("omega,orthogonality,orthogonal,layer_norm,forget_bias,truncate,dropout,leaky,skip",),
    "lstm": ("chrono",),
}
"""All remedies, in as few programs as they can share: every program takes seconds."""


@pytest.fixture(autouse=True)
def hydra():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def trained(*overrides):
    """A tiny training of the configuration of ``experiments/train.py``."""
    return measure("sequence_length=12", *TRAINED, *overrides, primary="train")


SETS = [(cell, one) for cell, several in TOGETHER.items() for one in several]


def test_every_remedy_is_among_those_that_are_tried():
    assert sorted(name for _, one in SETS for name in one.split(",")) == sorted(
        set(REMEDIES) - {"flossing_75"}
    )


@pytest.mark.parametrize(
    ("cell", "remedies"),
    [pytest.param(*one, marks=pytest.mark.slow) for one in SETS],
)
def test_every_remedy_configuration_trains(cell, remedies):
    tiny = ["mitigation.flossing.steps=2", "mitigation.flossing.exponents=2"]
    options = tiny if "flossing" in remedies else []
    # Flossing trains with Optax's Adam, in a thread of the sweep.
    jax.config.update("jax_numpy_dtype_promotion", "standard" if options else "strict")
    try:
        result = trained(f"mitigation=[{remedies}]", f"cell={cell}", *options, *MOMENTUM)
    finally:
        jax.config.update("jax_numpy_dtype_promotion", "strict")
    assert {row["status"] for row in rows(result)} == {"ok"}
    assert result.shared["mitigation"] == remedies.replace(",", " + ")
    assert all(row["updates_made"] == 2 for row in rows(result))
    losses = result.curves[:, :, COURSE.index("validation_loss")]
    # Every network is another, and learns.
    assert np.isfinite(losses).all()
    assert len(np.unique(losses)) == losses.size


@pytest.mark.parametrize("task", names("task"))
def test_every_task_configuration_is_traced_as_a_training(task):
    overrides = [*TINY, *TRAINED, *MOMENTUM, f"task={task}", "sequence_length=30"]
    point = read_point(OmegaConf.to_container(compose("train", overrides), resolve=True))
    key = program_key(point)
    assert sweeps.refused(key, [point]) == []
    program = crews.training_program(key)
    keys = jax.random.split(jax.random.key(0), 1)
    network = jax.eval_shape(partial(draw_network, key), jnp.uint32(0), jnp.float32(1))
    lane = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), network)
    state = jax.eval_shape(program.start, lane, jnp.zeros(1, jnp.float32), keys, keys)
    same, infos = jax.eval_shape(program.advance, state, keys)
    assert jax.tree.map(lambda leaf: leaf.dtype, same) == jax.tree.map(lambda x: x.dtype, state)
    loss, error = jax.eval_shape(program.evaluate, state, keys)
    assert loss.shape == error.shape == infos.loss.shape == (1,)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", names("experiment"))
def test_every_experiment_runs_a_tiny_point(experiment):
    one = [f"+experiment={experiment}"]
    config = compose("sweep", one)
    size = len(SYSTEMS[config.cell.name].start) if config.cell.name in SYSTEMS else 3
    tiny = ["num_seeds=1", "batch_size=1", f"hidden_features={size}"]
    options = config.diagnostic
    longest = 60 if options.name != "training" else min(30, config.sequence_length)
    tiny += [f"sequence_length={longest}"]
    tiny += [*TRAINED, *MOMENTUM] if options.name == "training" else []
    tiny += ["diagnostic.num_exponents=2"] if options.get("num_exponents") == 75 else []
    tiny += ["diagnostic.transient=20"] if options.get("transient") else []
    result = measure(*one, *tiny)
    assert {row["status"] for row in rows(result)} <= {"ok", "not_converged"}
