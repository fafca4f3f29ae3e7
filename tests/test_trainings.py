"""Trainings as a sweep runs them: resumed to the same bits, beside others, diverged, solved."""

import json
from concurrent.futures import Future
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_results import rows
from trained import BASE, OPTIONS, begin, bits, point, train

from throughtime import checkpoints, crews, programs, sweeps, trainings
from throughtime.learned import Look, Run, training_result
from throughtime.objectives import Network, Recipe
from throughtime.points import COURSE, InputError
from throughtime.training import start_training, train_step

UPDATES, ERROR = COURSE.index("updates"), COURSE.index("error")


@pytest.fixture(scope="module")
def whole():
    """The point, trained without a break."""
    (result,) = train(BASE)
    return result


def test_the_course_of_a_training_is_what_its_rows_say(whole):
    assert whole.curves.shape == (2, 4, len(COURSE) + len(whole.shared["gates"].split()) + 6)
    assert np.array_equal(whole.curves[:, :, UPDATES], [[0, 2, 4, 6]] * 2)
    for row, course in zip(rows(whole), whole.curves, strict=True):
        assert row["status"] == "ok"
        assert row["updates_made"] == 6
        assert row["error"] == course[-1, ERROR]
        assert row["best_validation_loss"] == course[:, 2].min()
        assert row["changed_share"] == course[-1, 6] / 6
        # Nothing was updated before the first look; adding is judged by its loss.
        assert np.isnan(course[0, [1, 4]]).all()
        assert np.isfinite(course[1:]).all()
        assert np.array_equal(course[:, 2], course[:, ERROR])
    assert whole.shared["baseline"] == pytest.approx(1 / 6)


@pytest.mark.parametrize("num_chunks", [1, 3, 6])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, whole, num_chunks):
    # A network takes four chunks, the first of which looks alone: after six of them one network of
    # the point is finished and the other is not.
    assert begin(num_chunks, BASE, folder=tmp_path) == []
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []
    assert len(list(tmp_path.iterdir())) == (2 if num_chunks == 6 else 1)
    (again,) = train(BASE, folder=tmp_path)
    assert bits(again) == bits(whole)
    assert list(tmp_path.iterdir()) == []


class AtOnce:
    """Threads that have done their work before anybody looks."""

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def submit(self, work):
        future = Future()
        future.set_result(work())
        return future


def test_a_run_that_ends_while_the_one_before_is_counted_counts_once(monkeypatch, whole):
    monkeypatch.setattr(trainings, "ThreadPoolExecutor", AtOnce)
    said = []
    (key,) = sweeps.group([BASE])
    ((result,),) = [found for found in sweeps.run_group(key, [BASE], None, said.append) if found]
    assert bits(result) == bits(whole)
    assert len(said) == 8
    assert ["2/2 networks" in line for line in said] == [False] * 7 + [True]


@pytest.mark.slow
def test_a_crew_goes_on_with_a_run_that_was_begun_beside_one_that_was_not(tmp_path, monkeypatch):
    begin(3, BASE, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setitem(trainings.LANES, "cpu", 2)
    (mixed,), (together,) = train(BASE, folder=tmp_path), train(BASE)
    assert mixed.shared["networks_at_once"] == together.shared["networks_at_once"] == 2
    assert np.array_equal(mixed.curves[:, :, UPDATES], together.curves[:, :, UPDATES])
    assert np.array_equal(mixed.curves[1], together.curves[1], equal_nan=True)
    # Two updates of network 0 were made alone, in a program that may round otherwise.
    assert np.allclose(mixed.curves[0], together.curves[0], rtol=1e-4, atol=1e-6, equal_nan=True)


def test_what_was_recorded_when_a_sweep_was_stopped_is_forgotten_by_the_next(tmp_path):
    first, second = BASE, point(seed=7)
    (done,) = begin(8, first, second, folder=tmp_path)
    assert done.point == first
    left = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    assert first.key in left
    checkpoints.forget(tmp_path, {first.key})
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == left - {first.key}


def test_the_same_bits_alone_and_beside_others(whole):
    others = [point(seed=5), point(learning_rate=0.1), point(recurrent_scale=2.0)]
    together = train(others[0], BASE, *others[1:])
    assert bits(together[1]) == bits(whole)
    assert len({bits(result) for result in together}) == 4
    (shifted,) = train(point(seed=1))
    # Network 1 of the one is network 0 of the other.
    assert np.array_equal(shifted.curves[0], whole.curves[1], equal_nan=True)


def test_learning_rates_share_a_program_and_what_acts_on_gradients_does_not():
    key = programs.program_key(BASE)
    same = [{"learning_rate": 0.5}, {"seed": 3}, {"data_seed": 3}, {"recurrent_scale": 0.5}]
    assert all(programs.program_key(point(**change)) == key for change in same)
    others = [{"mitigation": ()}, {"mitigation": BASE.mitigation[:1]}, {"optimizer": "sgd"}]
    others += [{"sequence_length": 7}, {"mitigation": (("clip", (("max_norm", 0.6),)),)}]
    assert len({programs.program_key(point(**change)) for change in others} | {key}) == 6
    before = crews.num_programs()
    train(BASE, point(learning_rate=0.5))
    assert crews.num_programs() - before <= 1


STEP = jax.jit(train_step, compiler_options=crews.QUICKLY)


def plain_loop(one, num_updates):
    """The norms of gradients, update by update, without any of the machinery of a sweep."""
    key = programs.program_key(one)
    options, task = dict(one.diagnostic_options), programs.task_of(key)
    recipe = Recipe(programs.structure_of(key), task.loss, options["optimizer"])
    cell, kernel = programs.draw_network(key, jnp.uint32(one.seed), jnp.float64(1.0))
    data_key = jax.random.fold_in(jax.random.key(one.data_seed), one.seed)
    network = Network(cell, kernel, jnp.zeros(1, jnp.float32))
    rate = jnp.float32(options["learning_rate"])
    state = start_training(recipe, network, rate, jax.random.key(0))
    norms = []
    for number in range(num_updates):
        state, info = STEP(state, batch(task, data_key, number, one))
        norms.append(float(info.gradient_norm))
    return norms


def batch(task, data_key, number, one):
    keys = jax.random.split(jax.random.fold_in(data_key, number), one.batch_size)
    return jax.vmap(lambda key: task.sample(key, one.sequence_length))(keys)


@pytest.mark.slow
def test_a_diverging_run_says_when_and_stops_no_other():
    own = {"optimizer": "sgd", "mitigation": (), "num_seeds": 1}
    wild = [point(learning_rate=rate, **own) for rate in (1e6, 1e7)]
    tame, wilder = (point(learning_rate=rate, **own) for rate in (0.01, 1e11))
    *diverged, fine, last = train(*wild, tame, wilder)
    for one, result, when in zip(wild, diverged, (4, 4), strict=True):
        norms = plain_loop(one, 6)
        assert when == 1 + next(i for i, norm in enumerate(norms) if not np.isfinite(norm))
        (row,) = rows(result)
        assert row["status"] == "nonfinite"
        assert row["diverged_at"] == row["updates_made"] == when
        assert row["last_gradient_norm"] == pytest.approx(norms[when - 2], rel=1e-5)
        assert not row["solved"]
        assert row["updates_to_solve"] is None
        assert np.isfinite(row["best_validation_loss"])
        assert not np.isfinite(row["validation_loss"])
    # Here the loss on the validation set is the first to leave the floats.
    (row,), norms = rows(last), plain_loop(wilder, 3)
    assert np.isfinite(norms).tolist() == [True, True, False]
    assert (row["status"], row["diverged_at"], row["updates_made"]) == ("nonfinite", 2, 2)
    (other,), calm = rows(fine), plain_loop(tame, 6)
    assert (other["status"], other["diverged_at"]) == ("ok", None)
    assert other["last_gradient_norm"] == pytest.approx(calm[-1], rel=1e-5)
    assert fine.curves[0, 1:, 4] == pytest.approx(np.reshape(calm, (3, 2)).mean(1), rel=1e-5)


def test_a_solved_run_ends_at_the_look_that_found_it_solved(whole, monkeypatch):
    errors = whole.curves[:, :, ERROR]
    bound = np.sort(errors.min(axis=1)).mean()  # one network gets below, the other does not
    task = programs.task_of(programs.program_key(BASE))._replace(solved_below=float(bound))
    for module in (crews, trainings):
        monkeypatch.setattr(module, "task_of", lambda key: task)
    (result,) = train(BASE)
    for row, course, all_errors in zip(rows(result), result.curves, errors, strict=True):
        below = np.flatnonzero(all_errors < bound)
        assert row["solved"] == bool(below.size)
        assert row["updates_to_solve"] == (2 * below[0] if below.size else None)
        assert row["updates_made"] == (2 * below[0] if below.size else 6)
        made = row["updates_made"] // 2 + 1
        assert np.array_equal(course[:made, ERROR], all_errors[:made])
        assert np.isnan(course[made:]).all()
    assert {row["solved"] for row in rows(result)} == {True, False}


def look(updates, error, *, loss=0.5, diverged_at=0):
    numbers = dict.fromkeys(COURSE, 0.0) | {
        "updates": float(updates),
        "error": error,
        "validation_loss": loss,
    }
    return Look(numbers, {"hidden": 0.25}, np.array([0.0, -1.0]), diverged_at, 3.0, 0)


def test_a_run_goes_on_after_it_was_solved_where_that_is_asked_for():
    looks = [look(0, 0.5), look(2, 0.05, loss=0.1), look(4, 0.2)]
    early, on = Run(BASE, 0, looks[:2]), Run(point(stop_when_solved=False), 0, looks[:2])
    assert early.is_done(0.1)
    assert not on.is_done(0.1)
    assert not early.is_done(None)
    on.looks.append(looks[2])
    assert not on.is_done(0.1)
    on.looks.append(look(6, 0.3))
    assert on.is_done(0.1)
    assert on.solved_at(0.1) == 2
    shared = {"solved_below": 0.1, "baseline": None}
    result = training_result(point(num_seeds=1, sequence_length=2), [on], shared)
    (row,) = rows(result)
    assert (row["solved"], row["updates_to_solve"], row["updates_made"]) == (True, 2, 6)
    assert (row["error"], row["best_validation_loss"]) == (0.3, 0.1)


def test_a_loss_that_is_not_finite_ends_a_run_whose_gradients_are():
    run = Run(BASE, 0, [look(0, 0.5), look(2, np.nan, loss=np.inf)])
    assert run.is_done(0.1)
    shared = {"solved_below": 0.1, "baseline": None}
    (row,) = rows(training_result(point(num_seeds=1, sequence_length=2), [run], shared))
    assert (row["status"], row["diverged_at"], row["solved"]) == ("nonfinite", 2, False)
    assert np.isnan(row["error"])
    assert row["best_validation_loss"] == 0.5
    run.looks[1] = look(4, np.nan, loss=np.nan, diverged_at=3)
    (row,) = rows(training_result(point(num_seeds=1, sequence_length=2), [run], shared))
    assert (row["status"], row["diverged_at"], row["updates_made"]) == ("nonfinite", 3, 4)


@pytest.mark.parametrize(("rounded", "standing"), [(True, "collapsed"), (False, "ok")])
def test_a_gradient_of_zero_at_a_look_has_a_status_of_its_own(rounded, standing):
    lost = look(2, 0.05)._replace(log_norms=np.array([0.0, -np.inf]))
    run, shared = Run(BASE, 0, [look(0, 0.5), lost]), {"solved_below": 0.1, "baseline": None}
    one = point(num_seeds=1, sequence_length=2)
    (row,) = rows(training_result(one, [run], shared, lambda: rounded))
    found = (row["status"], row["solved"], row["status_at_start"], row["status_at_end"])
    assert found == ("ok", True, "ok", standing)


def test_a_look_comes_back_from_json_to_the_bit():
    one = look(2, np.nan, loss=np.inf)._replace(log_norms=np.array([np.pi, -np.inf, 1e-300]))
    back = Look.from_json(json.loads(json.dumps(one.to_json())))
    assert back.log_norms.tobytes() == one.log_norms.tobytes()
    assert repr(back._replace(log_norms=None)) == repr(one._replace(log_norms=None))


def test_the_validation_set_is_the_same_for_all_networks_and_apart_from_their_batches(monkeypatch):
    seen = []

    def note(self, *arguments):
        seen.append((np.asarray(jax.random.key_data(self.data_keys)), self.validation_keys))
        raise InputError("enough")

    monkeypatch.setattr(crews.Crew, "_restored", note)
    train(BASE, point(seed=4))
    data = {tuple(key.ravel().tolist()) for key, _ in seen}
    judged = {tuple(np.asarray(jax.random.key_data(key)).ravel().tolist()) for _, key in seen}
    assert len(seen) == len(data) == 2
    assert len(judged) == 1


def test_a_say_of_how_far_a_training_is():
    said = []
    (key,) = sweeps.group([BASE])
    list(sweeps.run_group(key, [BASE], None, said.append))
    label = "elman, clip, gradient_noise, dropout, training, 6 steps"
    assert said[0] == f"{label}: 0/2 networks, seed 0, 0/6 updates"
    assert said[5] == f"{label}: 1/2 networks, seed 1, 2/6 updates"
    assert len(said) == 8
    assert said[-1] == f"{label}: 2/2 networks, seed 1, 6/6 updates"


def test_a_crew_that_fails_is_named_with_its_kind(monkeypatch):
    def broken(self):
        raise FloatingPointError("no such network\nand here is why")

    monkeypatch.setattr(crews.Crew, "_begin", broken)
    failures = train(BASE, point(seed=9))
    assert {one.reason for one in failures} == {"FloatingPointError: no such network"}
    assert [one.point.seed for one in failures] == [0, 9]


def test_options_of_the_tiny_point_are_those_of_the_configuration():
    assert set(OPTIONS) == set(programs.DIAGNOSTICS["training"].options)
    assert SimpleNamespace(**dict(BASE.diagnostic_options)).updates == 6
