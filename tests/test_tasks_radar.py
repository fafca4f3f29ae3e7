"""The radar: flights in closed form, noise with its standard error, and the user's own tracks."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import FUNCTION, gamma
from drawn import batch, made, write

from throughtime.tasks import make_task
from throughtime.tasks.radar import Flight, draw_flight, fold, positions, staying_loss
from throughtime.tasks.tracks import read_tracks

FIELD = 100e3
F64 = jnp.float64


def flights(size, seed=0):
    """The flights behind `batch` of a radar task, in float64."""
    keys = jax.vmap(lambda key: jax.random.split(key)[0])(
        jax.random.split(jax.random.key(seed), size)
    )
    return jax.tree.map(np.asarray, jax.vmap(lambda key: draw_flight(key, F64))(keys))


# Radar: the flight --------------------------------------------------------------------------------


def test_a_straight_flight_is_start_plus_velocity_times_time():
    sample = batch(
        make_task("radar", max_length=24, dtype=F64, range_noise=0, bearing_noise=0), 20, size=32
    )
    tested, rounding = 0, gamma(4 * FUNCTION)  # of a polar angle, its sine, and a flight
    for i, (start, speed, heading, turn_rate) in enumerate(zip(*flights(32), strict=True)):
        velocity = speed * np.array([np.cos(heading), np.sin(heading)])
        track = start + np.arange(21)[:, None] * velocity
        if turn_rate == 0 and np.abs(track).max() < FIELD:
            np.testing.assert_allclose(
                sample.inputs[i, 4:], track[:-1] / FIELD, rtol=0, atol=rounding
            )
            np.testing.assert_allclose(
                sample.targets[i, 4:], track[1:] / FIELD, rtol=0, atol=rounding
            )
            tested += 1
    assert tested >= 8


@pytest.mark.parametrize("turn_rate", [0.05, 0.003, -0.02])
def test_a_coordinated_turn_stays_on_its_circle_at_its_speed(turn_rate):
    start, speed, heading = np.array([3e4, -2e4]), 250.0, 2.0
    flight = Flight(*(jnp.asarray(value, F64) for value in (start, speed, heading, turn_rate)))
    times = jnp.arange(200.0, dtype=F64)
    motion = jax.jvp(lambda s: positions(flight, s), (times,), (jnp.ones_like(times),))
    track, velocity = map(np.asarray, motion)
    radius = speed / turn_rate
    centre = start + radius * np.array([-np.sin(heading), np.cos(heading)])
    course = heading + turn_rate * np.asarray(times)
    np.testing.assert_allclose(np.linalg.norm(track - centre, axis=1), abs(radius), rtol=1e-12)
    unit = np.stack([np.cos(course), np.sin(course)], axis=1)
    np.testing.assert_allclose(velocity, speed * unit, atol=1e-9)
    np.testing.assert_allclose(track[0], start)


def test_the_turn_tends_to_the_straight_flight_as_its_rate_tends_to_zero():
    """The deviation is v s² |ω| / 2 to first order, and the straight flight is the case ω = 0."""

    def at(turn_rate):
        flight = Flight(*(jnp.asarray(value, F64) for value in ([0.0, 0.0], 200.0, 0.3, turn_rate)))
        return positions(flight, jnp.asarray([50.0], F64))[0]

    np.testing.assert_allclose(
        at(0.0), 1e4 * np.array([np.cos(0.3), np.sin(0.3)]), rtol=gamma(2 * FUNCTION)
    )
    for turn_rate in (1e-4, 1e-6, 1e-8):
        deviation = np.linalg.norm(at(turn_rate) - at(0.0))
        np.testing.assert_allclose(deviation, 200 * 50**2 * turn_rate / 2, rtol=1e-4)
    np.testing.assert_array_equal(at(1e-300), at(0.0))


def test_folding_agrees_with_reflection_after_reflection():
    def reflect(x):
        while abs(x) > FIELD:
            x = 2 * FIELD * np.sign(x) - x
        return x

    coordinates = np.linspace(-9.3 * FIELD, 9.7 * FIELD, 402).reshape(-1, 2)
    expected = np.vectorize(reflect)(coordinates)
    np.testing.assert_allclose(fold(jnp.asarray(coordinates)), expected, atol=1e-9)


def test_a_long_flight_stays_in_the_field_and_never_jumps():
    sample = batch(make_task("radar", max_length=2048, dtype=F64), 2048, size=32)
    assert np.abs(sample.targets).max() <= 1
    steps = np.linalg.norm(np.diff(sample.targets, axis=1), axis=2)
    speeds = flights(32).speed / FIELD
    assert (steps <= speeds[:, None] * (1 + 1e-9)).all()
    assert np.abs(sample.targets).max() > 0.99  # some did reach the border


def test_flights_are_drawn_from_the_stated_distributions():
    """Each mean lies within five standard errors of the stated one."""
    size = 4096
    start, speed, heading, turn_rate = flights(size)
    area, turning = np.sum(start**2, axis=1), turn_rate[turn_rate != 0]
    uniform = [
        (area, 5e3**2, FIELD**2),
        (speed, 100.0, 300.0),
        (heading, 0.0, 2 * np.pi),
        (np.arctan2(start[:, 1], start[:, 0]), -np.pi, np.pi),
        (turning, -np.pi / 60, np.pi / 60),
    ]
    for values, low, high in uniform:
        error = 5 / np.sqrt(len(values))
        assert low <= values.min() <= values.max() <= high
        centred = (values - (low + high) / 2) / (high - low) * np.sqrt(12)  # mean 0, variance 1
        assert abs(centred.mean()) < error
        assert abs(np.mean(centred**2) - 1) < error * np.sqrt(0.8)  # fourth moment 9/5
    assert abs(len(turning) / size - 0.5) < 5 * 0.5 / np.sqrt(size)


# Radar: the measurement ---------------------------------------------------------------------------


def test_the_target_is_the_true_position_one_scan_later():
    quiet = make_task("radar", max_length=16, dtype=F64, range_noise=0, bearing_noise=0)
    noisy = make_task("radar", max_length=16, dtype=F64)
    quiet, noisy = batch(quiet, 12), batch(noisy, 12)
    np.testing.assert_allclose(
        quiet.targets[:, 4:-1], quiet.inputs[:, 5:], rtol=0, atol=gamma(4 * FUNCTION)
    )
    np.testing.assert_array_equal(noisy.targets, quiet.targets)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"range_noise": 400.0, "bearing_noise": 0.0005}])
def test_range_and_bearing_noise_have_the_stated_deviations(options):
    """Five standard errors: 1/sqrt(2N) of a standard deviation, 1/sqrt(N) of a mean."""
    measured, truth = (
        batch(make_task("radar", max_length=65, dtype=F64, **each), 64, size=64).inputs[:, 1:]
        for each in (options, {"range_noise": 0, "bearing_noise": 0})
    )
    far = np.linalg.norm(truth, axis=2) > 0.05  # a negative range would be seen behind the radar
    seen, true = (np.ravel(p[far] @ [1, 1j]) for p in (measured, truth))
    errors = [(abs(seen) - abs(true)) * FIELD, np.angle(seen / true)]
    deviations = [options.get("range_noise", 50.0), options.get("bearing_noise", 0.002)]
    normals = [error / deviation for error, deviation in zip(errors, deviations, strict=True)]
    bound = 5 / np.sqrt(len(seen))
    for normal in normals:
        assert abs(normal.mean()) < bound
        assert abs(normal.std() - 1) < bound / np.sqrt(2)
        assert abs(np.mean(normal[1:] * normal[:-1])) < bound
    assert abs(np.mean(normals[0] * normals[1])) < bound


# Radar: relative coordinates, and staying where one is -------------------------------------------


def test_relative_coordinates_are_km_from_the_mean_of_the_plots():
    """At every length, so that the padding is not in the mean; the targets are moved alike."""
    field, relative = (made("radar", **options) for options in ({}, {"relative": True}))
    for length in (3, 20):
        whole, near = (batch(task, length) for task in (field, relative))
        plots, targets = (100 * each[:, -length:] for each in whole[:2])
        mean = plots.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(near.inputs[:, -length:], plots - mean, atol=1e-11)
        np.testing.assert_allclose(near.targets[:, -length:], targets - mean, atol=1e-11)
        assert not near.inputs[:, :-length].any()
        assert not near.targets[:, :-length].any()
        assert relative.baseline(length) == pytest.approx(1e4 * field.baseline(length), rel=1e-12)


def staying_losses(length, range_noise, bearing_noise, size):
    """Half the squared distance of the last plot from the next true position, by NumPy alone."""
    rng = np.random.default_rng(1)
    start = np.sqrt(rng.uniform(5e3**2, FIELD**2, size)) * np.exp(2j * np.pi * rng.random(size))
    speed, heading = rng.uniform(100, 300, size), 2 * np.pi * rng.random(size)
    turn_rate = np.radians(rng.uniform(-3, 3, size)) * (rng.random(size) < 0.5)

    def place(time):
        # The flight as the integral of its velocity, by midpoints of whole seconds.
        instants = np.arange(0.5, time)
        velocity = sum(np.exp(1j * (heading + turn_rate * s)) for s in instants) * speed
        flown = np.stack([(start + velocity).real, (start + velocity).imag])
        folded = np.where(abs(flown) > FIELD, 2 * FIELD * np.sign(flown) - flown, flown)
        return folded[0] + 1j * folded[1]

    now, after = place(length - 1), place(length)
    radius = abs(now) + range_noise * rng.normal(size=size)
    plot = radius * np.exp(1j * (np.angle(now) + bearing_noise * rng.normal(size=size)))
    return abs(plot - after) ** 2 / 2


@pytest.mark.parametrize("noises", [(0, 0), (50.0, 0.002), (0, 0.02)])
def test_the_baseline_is_the_loss_of_staying_where_one_is(noises):
    """Within 1 or 2 % of flights simulated by NumPy, up to the longest with a baseline."""
    for length in (2, 50):
        losses = staying_losses(length, *noises, size=200_000)
        allowed = 0.02 if noises[1] else 0.01
        assert 4 * losses.std() / np.sqrt(len(losses)) < allowed * losses.mean()
        assert staying_loss(length, *noises) == pytest.approx(losses.mean(), rel=allowed)
    assert np.isnan(staying_loss(51, *noises)) == (noises[1] > 0)


def test_the_baseline_is_that_of_a_quadrature_over_speeds_and_turns():
    """A flight that turns at ω has gone v |e^{iωs} - 1| / |ω|; folding is in neither."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    turn_rates, square_speed = np.radians(3) * nodes, weights @ (200 + 100 * nodes) ** 2 / 2

    def gone(time):
        turning = abs(np.exp(1j * turn_rates * time) - 1) ** 2 / turn_rates**2
        return square_speed * (time**2 + weights @ turning / 2) / 2

    for length, range_noise, bearing_noise in [(2, 0, 0), (50, 70.0, 0.01), (9, 0, 0.2)]:
        square_distance = (5e3**2 + FIELD**2) / 2 + gone(length - 1)
        bearing = 2 * square_distance * (1 - np.exp(-(bearing_noise**2) / 2))
        expected = (gone(1) + range_noise**2 + bearing) / 2
        found = staying_loss(length, range_noise, bearing_noise)
        assert found == pytest.approx(expected, rel=1e-9)


def test_the_baseline_is_the_loss_of_the_last_plot_in_the_samples():
    """Within five standard errors."""
    for length in (2, 20):
        sample = batch(made("radar"), length, size=4096)
        losses = np.sum((sample.inputs[:, -1] - sample.targets[:, -1]) ** 2, axis=1) / 2
        error = 5 * losses.std() / np.sqrt(len(losses))
        assert abs(losses.mean() - made("radar").baseline(length)) < error
        assert error < 0.1 * losses.mean()


# Radar: the user's own tracks ---------------------------------------------------------------------

POINTS = np.array([[3.0, 1.0], [4.0, 2.5], [6.0, 2.0], [9.0, -1.0], [8.0, -7.0], [2.0, -3.0]])
LINES = "".join(f"{x},{i / 2},{y},r{i}\n" for i, (x, y) in enumerate(POINTS))


def test_windows_of_a_track_are_rows_of_the_file(tmp_path):
    path = write(tmp_path / "track.csv", "\ufeffeast, seconds,north,note\n\n" + LINES)
    columns = ("seconds", "east", "north")
    np.testing.assert_array_equal(read_tracks(path, columns), POINTS)
    task = make_task("radar", max_length=8, dtype=F64, tracks=str(path), columns=columns)
    centred = POINTS - POINTS.mean(axis=0)
    rows = centred / np.abs(centred).max()
    sample = batch(task, 3, size=64)
    starts = [int(np.argmin(np.abs(rows - first).sum(axis=1))) for first in sample.inputs[:, 5]]
    for start, inputs, targets in zip(starts, sample.inputs, sample.targets, strict=True):
        np.testing.assert_allclose(
            inputs[5:], rows[start : start + 3], rtol=0, atol=gamma(FUNCTION)
        )
        np.testing.assert_allclose(
            targets[5:], rows[start + 1 : start + 4], rtol=0, atol=gamma(FUNCTION)
        )
    assert set(starts) == {0, 1, 2}
    assert task.longest == 5
    np.testing.assert_allclose(
        batch(task, 5, size=1).targets[0, 3:], rows[1:], rtol=0, atol=gamma(FUNCTION)
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty; a header line is needed"),
        ("Time,x,y\n0,1,2\n", ": unknown column 'time'; did you mean 'Time'? known: Time, x, y."),
        ("time,X,y\n0,1,2\n", ": unknown column 'x'; did you mean 'X'? known: time, X, y."),
        ("time,x,y,x\n0,1,2,3\n", "has 2 columns named 'x'; one is needed"),
        ("time,x,y\n0,1,2\n\n1,abc,2\n", "line 4: x is 'abc', which is not a finite number"),
        ("time,x,y\n0,1,2\n1,2,nan\n", "line 3: y is 'nan', which is not a finite number"),
        ("time,x,y\n0,1,2\n1,,2\n", "line 3: x is '', which is not a finite number"),
        ("time,x,y\n0,1,2\n1,2\n", "line 3: 2 cells where the header names 3"),
        ("time,x,y\n0,1,2\n1,2,3\n.5,3,4\n", "line 4: the time 0.5 does not come after 1, the"),
        ("time,x,y\n0,1,2\n0,2,3\n1,3,4\n", "line 3: the time 0 does not come after 0, the"),
        ("time,x,y\n0,1,2\n1,2,3\n", "holds 2 points; at least 3 are needed"),
        ("time,x,y\n0,1,2\n1,1,2\n2,1,2\n", "holds 3 points that are all the same"),
    ],
)
def test_a_bad_track_is_refused_in_a_sentence(tmp_path, text, sentence):
    path = write(tmp_path / "track.csv", text)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}.*{re.escape(sentence)}"):
        make_task("radar", max_length=8, tracks=path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tracks": "nowhere.csv"}, "the tracks file nowhere.csv does not exist"),
        ({"tracks": "nowhere.csv", "range_noise": 50.0}, "range_noise is 50.0 but noise is not"),
        ({"tracks": "nowhere.csv", "bearing_noise": 0.0}, "bearing_noise is 0.0 but noise is not"),
        ({"tracks": "nowhere.csv", "relative": True}, "relative is True but a tracks file is"),
        ({"columns": ("t", "x", "y")}, "but there is no tracks file"),
        ({"range_noise": -1.0}, "range_noise is -1.0; a standard deviation is finite and not"),
        ({"bearing_noise": float("nan")}, "bearing_noise is nan; a standard deviation is finite"),
    ],
)
def test_bad_radar_options_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_task("radar", max_length=8, **options)


@pytest.mark.parametrize("columns", ["xyz", ("time", "x"), ("time", "x", "x")])
def test_columns_that_are_not_three_names_are_refused(tmp_path, columns):
    path = write(tmp_path / "track.csv", "time,x,y\n" + "0,1,2\n")
    with pytest.raises(ValueError, match="three different names are needed"):
        read_tracks(path, columns)


def test_files_that_are_not_utf8_are_refused(tmp_path):
    path = tmp_path / "latin"
    path.write_bytes(b"time,x,y\n0,1,2\xe9\n")
    with pytest.raises(ValueError, match="is not a UTF-8 CSV file"):
        read_tracks(path)
    with pytest.raises(ValueError, match="is not UTF-8"):
        make_task("text", max_length=8, file=path)
