"""What a training refuses before anything runs, its data, and remedies in other diagnostics."""

import dataclasses

import jax
import numpy as np
import pytest
from made_results import rows
from trained import BASE, OPTIONS, point, train

from throughtime import programs, sweeps
from throughtime.options import mitigation
from throughtime.points import InputError, read_point
from throughtime.tasks import make_task

CLIP = (("clip", (("max_norm", 1.0),)),)


def why_not(one):
    """The reason that a point is refused for; the sweep is told before anything is compiled."""
    (key,) = sweeps.group([one])
    (failure,) = sweeps.refused(key, [one])
    assert "\n" not in failure.reason
    return failure.reason


def without(option):
    options = tuple(pair for pair in BASE.diagnostic_options if pair[0] != option)
    return dataclasses.replace(BASE, diagnostic_options=options)


REFUSED = {
    "not of the cell": (
        point(mitigation=(("chrono", (("steps", 10),)),)),
        "mitigation 'chrono' does not apply to cell 'elman': it has no option 'chrono_steps'.",
    ),
    "unknown": (point(mitigation=(("clipp", ()),)), "unknown mitigation 'clipp'; did you mean "),
    "unknown option": (
        point(mitigation=(("clip", (("max_nrm", 1.0),)),)),
        "unknown option of mitigation 'clip' 'max_nrm'; did you mean 'max_norm'?",
    ),
    "out of range": (
        point(mitigation=(("dropout", (("rate", 1.5),)),)),
        "mitigation 'dropout': rate",
    ),
    "without training": (
        dataclasses.replace(BASE, diagnostic="gradient", diagnostic_options=(), mitigation=CLIP),
        "mitigation [clip] acts on training, and diagnostic 'gradient' trains nothing",
    ),
    "no whole looks": (
        point(updates=7),
        "diagnostic.updates must be a multiple of check_every=2, not 7.",
    ),
    "too short": (
        point(task="temporal_order", sequence_length=5),
        "sequence_length must be at least 10 for task 'temporal_order', not 5.",
    ),
    "missing": (without("check_every"), "diagnostic.check_every is missing; a training needs it."),
    "no rate": (without("learning_rate"), "diagnostic.learning_rate is missing"),
    "no master weights": (without("master_weights"), "diagnostic.master_weights is missing"),
    "a rate beyond float32": (
        point(learning_rate=1e39, dtype="bfloat16"),
        "diagnostic.learning_rate must be at most 3.4e+38 in float32, not 1e+39.",
    ),
    "another's option": (
        dataclasses.replace(BASE, diagnostic_options=(*BASE.diagnostic_options, ("transient", 1))),
        "unknown option of diagnostic 'training' 'transient'",
    ),
    "too much training": (
        point(task="digits", task_options=(("train_size", 10**6),), sequence_length=64),
        "train_size is 1000000; the train part holds",
    ),
}


@pytest.mark.parametrize(("one", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_training_that_cannot_run_is_refused_in_one_sentence(one, sentence):
    assert sentence in why_not(one)


def test_a_remedy_that_is_no_mapping_is_refused():
    with pytest.raises(InputError, match=r"mitigation must be a list of names such as \[clip"):
        mitigation("clip")
    with pytest.raises(InputError, match=r"mitigation\.clip must hold options by name, not 3\."):
        mitigation({"clip": 3})
    # A number is kept to twelve significant digits, however small; order is that of the user.
    assert mitigation({"omega": {"bound": 1.23456789012345e-20}, "clip": None}) == (
        ("omega", (("bound", 1.23456789012e-20),)),
        ("clip", ()),
    )


def test_a_point_of_a_configuration_has_its_remedies_in_columns():
    config = {"cell": {"name": "elman"}, "task": {"name": "adding"}, "loss_at": "task"}
    config |= {"match": "units"}
    config |= {"diagnostic": {"name": "training"} | OPTIONS, "dtype": "float32"}
    sizes = ("sequence_length", "hidden_features", "num_seeds", "seed", "data_seed", "batch_size")
    config |= dict.fromkeys(sizes, 4) | {"recurrent_scale": 1.0}
    config["mitigation"] = {"clip": {"max_norm": 1.0}, "leaky": {"alpha": 0.5}}
    columns = read_point(config).columns()
    assert columns["mitigation"] == "clip + leaky"
    assert columns["mitigation_options"] == "clip.max_norm=1.0, leaky.alpha=0.5"
    assert columns["learning_rate"] == 0.01
    # A group of which nothing was chosen leaves no key.
    del config["mitigation"]
    assert read_point(config).columns()["mitigation"] == "none"


def items(task, num_draws, length):
    """What a task draws from: the distinct steps of many sequences."""
    keys = jax.random.split(jax.random.key(0), num_draws)
    drawn = jax.jit(jax.vmap(lambda key: task.sample(key, length)))(keys)
    return {np.asarray(one).tobytes() for one in drawn.inputs}


@pytest.mark.slow
def test_images_to_train_on_are_never_those_to_validate_on():
    own = point(task="digits", task_options=(("by", "pixel"), ("train_size", 20)))
    key = programs.program_key(dataclasses.replace(own, sequence_length=64))
    train_part, validation = programs.task_of(key), programs.validation_task_of(key)
    seen, judged = items(train_part, 400, 64), items(validation, 400, 64)
    assert len(seen) == 20
    assert len(judged) > 100
    assert not seen & judged
    # A gradient is measured on all of it.
    gradient = dataclasses.replace(own, diagnostic="gradient", diagnostic_options=())
    gradient = dataclasses.replace(gradient, task_options=(("by", "pixel"),))
    whole = programs.task_of(programs.program_key(gradient))
    same = make_task("digits", max_length=64, dtype="float32", by="pixel")
    sample = jax.random.key(5)
    assert np.array_equal(whole.sample(sample, 64).inputs, same.sample(sample, 64).inputs)


def test_text_to_train_on_ends_before_that_to_validate_on():
    own = point(task="text", sequence_length=30)
    key = programs.program_key(own)
    for made, part in (
        (programs.task_of(key), "train"),
        (programs.validation_task_of(key), "validation"),
    ):
        other = make_task("text", max_length=30, dtype="float32", part=part)
        for seed in range(3):
            ours, theirs = (one.sample(jax.random.key(seed), 30) for one in (made, other))
            assert np.array_equal(ours.targets, theirs.targets)
            assert np.array_equal(ours.inputs, theirs.inputs)


def measured(**changes):
    own = {"diagnostic_options": (), "mitigation": (), "batch_size": 2, "num_seeds": 1}
    (result,) = train(dataclasses.replace(BASE, **(own | changes)))
    return result


@pytest.mark.slow
def test_an_orthogonal_remedy_is_the_initializer_of_that_name_to_the_bit():
    remedied = measured(diagnostic="gradient", mitigation=(("orthogonal", ()),))
    drawn = (("activation", "tanh"), ("initializer", "orthogonal"))
    assert np.array_equal(
        remedied.curves, measured(diagnostic="gradient", cell_options=drawn).curves
    )
    assert not np.array_equal(remedied.curves, measured(diagnostic="gradient").curves)


@pytest.mark.slow
def test_flossing_brings_the_exponents_of_a_spectrum_closer_to_zero():
    options = {"exponents": 2, "targets": 0.0, "steps": 100, "learning_rate": 0.02}
    options = tuple(sorted((options | {"weight": 0.0, "sequences": 1}).items()))
    own = {"diagnostic": "spectrum", "sequence_length": 30, "recurrent_scale": 0.4}
    with jax.numpy_dtype_promotion("standard"):  # Adam of Optax adds integers to floats
        (before,), (after,) = (
            rows(measured(**own, mitigation=remedy)) for remedy in ((), (("flossing", options),))
        )
    assert before["leading_exponent"] < -0.5
    assert abs(after["leading_exponent"]) < abs(before["leading_exponent"]) / 4
