"""Where will the target be at the next scan? Tracks seen by a radar, simulated or the user's own.

The simulated target flies at constant speed v and constant turn rate ω. From its start p0 with
heading φ it has gone, after a time s, along the chord of an arc:

    p(s) = p0 + v s · sinc(ω s / 2) · (cos(φ + ω s / 2), sin(φ + ω s / 2)),    sinc(a) = sin(a) / a,

the closed form of the coordinated turn, on a circle of radius v / |ω|. At ω = 0 it is the straight
flight with no special case, unlike the usual form with a difference of sines over ω.
"""

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key
from scipy.special import sici

from throughtime.tasks.task import (
    Sample,
    Task,
    last_step,
    local_steps,
    mean_squared,
    step_normals,
    zero_padding,
)
from throughtime.tasks.tracks import COLUMNS, squared_error, tracks_task

FIELD_RADIUS = 100e3  # m
NEAREST_START = 5e3  # m
SLOWEST, FASTEST = 100.0, 300.0  # m/s
FASTEST_TURN = math.radians(3.0)  # rad/s, the standard-rate turn of aviation
SCAN_PERIOD = 1.0  # s
RANGE_NOISE = 50.0  # m, standard deviation
BEARING_NOISE = 0.002  # rad, standard deviation
RELATIVE_UNIT = 1e3  # m, of coordinates relative to the mean of the plots
LONGEST_BASELINE = 50  # steps; at more, flights folded back at the border change the noise


class Flight(NamedTuple):
    """A coordinated turn: where it starts, how fast it goes and how fast it turns.

    Attributes:
        start: p0, m from the radar.
        speed: v, m/s.
        heading: φ at the start, rad from the x axis.
        turn_rate: ω, rad/s, positive to the left; 0 is straight.
    """

    start: Float[Array, "2"]
    speed: Float[Array, ""]
    heading: Float[Array, ""]
    turn_rate: Float[Array, ""]


def draw_flight(key: Key[Array, ""], dtype: DTypeLike = jnp.float32) -> Flight:
    """Draw a flight: half of them are straight.

    The start is uniform in area between `NEAREST_START` and `FIELD_RADIUS` from the radar, the
    speed uniform between `SLOWEST` and `FASTEST`, the heading uniform, and the turn rate 0 or,
    with probability ½, uniform between -`FASTEST_TURN` and `FASTEST_TURN`.
    """
    draws = jax.random.uniform(key, (6,), jnp.float32).astype(dtype)
    area, bearing, speed, heading, turn, turns = draws
    distance = jnp.sqrt(NEAREST_START**2 + area * (FIELD_RADIUS**2 - NEAREST_START**2))
    return Flight(
        start=distance * _direction(2 * math.pi * bearing),
        speed=SLOWEST + speed * (FASTEST - SLOWEST),
        heading=2 * math.pi * heading,
        turn_rate=jnp.where(turns < 0.5, FASTEST_TURN * (2 * turn - 1), 0.0),
    )


def positions(flight: Flight, times: Float[Array, " T"]) -> Float[Array, "T 2"]:
    """True positions p(s) in m at the times in s: the chord form at the head of this module.

    Args:
        flight: the coordinated turn.
        times: (T,) s since the start.

    Returns:
        (T, 2) in m from the radar, not folded into the field.

    References:
        Li & Jilkov 2003, "Survey of maneuvering target tracking, part I: dynamic models", IEEE
        Transactions on Aerospace and Electronic Systems 39(4): the coordinated turn.
    """
    half_turn = flight.turn_rate * times / 2
    chord = flight.speed * times * jnp.sinc(half_turn / math.pi)
    return flight.start[None] + chord[:, None] * _direction(flight.heading + half_turn)


def fold(coordinates: Float[Array, "T 2"]) -> Float[Array, "T 2"]:
    """Reflect each coordinate at ±`FIELD_RADIUS`, a triangle wave; within them it is the identity.

    A target that reaches the border comes back, as one on patrol does, so that a sequence of any
    length stays in the square field |x|, |y| <= `FIELD_RADIUS`.
    """
    phase = jnp.mod(coordinates + FIELD_RADIUS, 4 * FIELD_RADIUS)
    return FIELD_RADIUS - jnp.abs(phase - 2 * FIELD_RADIUS)


def measure(
    truth: Float[Array, "T 2"],
    normals: Float[Array, "T 2"],
    range_noise: float,
    bearing_noise: float,
) -> Float[Array, "T 2"]:
    """What the radar at the origin reports: range and bearing with Gaussian errors, as x and y.

        r = ‖p‖ + range_noise · ε_1,    β = atan2(p_y, p_x) + bearing_noise · ε_2

    Args:
        truth: (T, 2) true positions p, m.
        normals: (T, 2) standard normal ε.
        range_noise: standard deviation of r, m.
        bearing_noise: standard deviation of β, rad.

    Returns:
        (T, 2) measured positions r (cos β, sin β), m.
    """
    distance = jnp.hypot(truth[:, 0], truth[:, 1]) + range_noise * normals[:, 0]
    bearing = jnp.arctan2(truth[:, 1], truth[:, 0]) + bearing_noise * normals[:, 1]
    return distance[:, None] * _direction(bearing)


def radar_task(
    max_length: int,
    dtype: DTypeLike,
    *,
    range_noise: float | int | None = None,
    bearing_noise: float | int | None = None,
    tracks: str | os.PathLike | None = None,
    columns: Sequence[str] = COLUMNS,
    relative: bool = False,
) -> Task:
    """Predict the next position of a target after the whole of its track.

    One plot per `SCAN_PERIOD` (1 s). The input of a step is the MEASURED position, the target the
    TRUE position one scan later, both divided by `FIELD_RADIUS` (100 km), so dimensionless and of
    order 1. The loss of a step is ½ ‖output - target‖²; the last step alone counts.

    Everything is drawn in float32 and computed in the dtype or in float32, whichever is the finer:
    runs of every dtype see the same track up to rounding. Beyond half the field neighbouring
    numbers are 49 m apart in float16 and 390 m in bfloat16, which is more than the noise.

    With `relative` the mean of the plots of the sequence is taken from inputs and targets, and both
    are in units of 1 km: what is left to predict is then of order 1, not 0.002.

    The error is ‖output - target‖², twice the loss. The baseline is not blind, as an answer that
    ignores the plots is off by the size of the field: it is the loss of "stay where you are", which
    answers the last plot, see `staying_loss`; there is none for a tracks file.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        range_noise: standard deviation of the measured range in m; None means 50.
        bearing_noise: standard deviation of the measured bearing in rad; None means 0.002.
        tracks: a CSV file with a track of the user's own, see `tracks.read_tracks`. A sequence is
            then a window of `length` + 1 consecutive points from a random start, centred at the
            file's mean and divided by its largest absolute coordinate after that; the inputs are
            the points, the targets the next points.
        columns: names of the time and of the two coordinates in that file.
        relative: coordinates relative to the mean of the plots, in units of 1 km.

    Returns:
        A task with two inputs and two outputs; its longest sequence is one point shorter than the
        user's file, and unlimited without a file.

    Raises:
        ValueError: a noise is negative or not finite; a noise or `relative` is given together with
            `tracks`, whose points are taken as they are; `columns` is given without
            `tracks`; or the file is refused by `read_tracks`.
    """
    if tracks is not None:
        _refuse_noise(range_noise=range_noise, bearing_noise=bearing_noise)
        if relative:
            raise ValueError(
                "relative is True but a tracks file is centred as a whole; leave it out."
            )
        return tracks_task(tracks, columns, max_length, dtype)
    if tuple(columns) != COLUMNS:
        raise ValueError(f"columns is {columns!r} but there is no tracks file to read them from.")
    range_noise = _deviation("range_noise", range_noise, RANGE_NOISE)
    bearing_noise = _deviation("bearing_noise", bearing_noise, BEARING_NOISE)
    unit = RELATIVE_UNIT if relative else FIELD_RADIUS

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        flight_key, noise_key = jax.random.split(key)
        fine = np.promote_types(dtype, np.float32)
        scans = local_steps(max_length + 1, length + 1)
        truth = fold(positions(draw_flight(flight_key, fine), scans.astype(fine) * SCAN_PERIOD))
        normals = step_normals(noise_key, scans[:-1], 2).astype(fine)
        measured = measure(truth[:-1], normals, range_noise, bearing_noise)
        origin = _mean_plot(measured, scans[:-1]) if relative else jnp.zeros(2, fine)
        inputs, targets = (
            zero_padding((points - origin[None]) / unit, scans[:-1]).astype(dtype)
            for points in (measured, truth[1:])
        )
        return Sample(inputs, targets, last_step(max_length, dtype))

    def baseline(length: int) -> float:
        return staying_loss(length, range_noise, bearing_noise) / unit**2

    return Task(sample, squared_error, 2, 2, error=mean_squared, baseline=baseline)


def staying_loss(length: int, range_noise: float | int, bearing_noise: float | int) -> float:
    """The loss of answering the last plot, in m²: half the mean square of the next step and noise.

        ½ (E[v²] (1 + E[sinc²(ω/2)]) / 2 + range_noise² + 2 E‖p‖² (1 - e^{-bearing_noise²/2})),

        E[v²] = (v_1² + v_1 v_2 + v_2²) / 3,
        E‖p‖² = (r_1² + r_2²) / 2 + E[v²] s² (1 + E[sinc²(ω s/2)]) / 2,    s = length - 1,

    with v uniform in [v_1, v_2] (`SLOWEST`, `FASTEST`), the start uniform in area between r_1 and
    r_2, and half of the flights straight. Flights that are folded back at the border are neglected:
    simulation gives the same within 0.2 % without noise of the bearing up to 2,000 steps, and
    within 0.6 % with any noise of it up to `LONGEST_BASELINE`.

    Args:
        length: steps of the sequence.
        range_noise: standard deviation of the range, m.
        bearing_noise: standard deviation of the bearing, rad.

    Returns:
        m²; NaN beyond `LONGEST_BASELINE` where the bearing has noise.
    """
    square_speed = (SLOWEST**2 + SLOWEST * FASTEST + FASTEST**2) / 3
    step, gone = (
        square_speed * time**2 * (1 + _mean_square_sinc(FASTEST_TURN * time / 2)) / 2
        for time in (SCAN_PERIOD, (length - 1) * SCAN_PERIOD)
    )
    if not bearing_noise:
        return (step + range_noise**2) / 2
    if length > LONGEST_BASELINE:
        return math.nan
    square_distance = (NEAREST_START**2 + FIELD_RADIUS**2) / 2 + gone
    return (step + range_noise**2 - 2 * square_distance * math.expm1(-(bearing_noise**2) / 2)) / 2


def _mean_square_sinc(largest: float) -> float:
    """The mean of sin²(a) / a² over |a| <= A, (Si(2 A) - sin²(A) / A) / A."""
    return float(sici(2 * largest)[0] - math.sin(largest) ** 2 / largest) / largest


def _mean_plot(plots: Float[Array, "T 2"], steps: Int[Array, " T"]) -> Float[Array, "2"]:
    """The mean of the plots of the real steps."""
    return zero_padding(plots, steps).sum(axis=0) / (steps >= 0).sum().astype(plots.dtype)


def _direction(angle: Float[Array, "*shape"]) -> Float[Array, "*shape 2"]:
    """The unit vector at an angle from the x axis."""
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def _deviation(name: str, value: float | int | None, default: float) -> float:
    """A standard deviation: finite and not negative."""
    value = default if value is None else float(value)
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}; a standard deviation is finite and not negative.")
    return value


def _refuse_noise(**noises: float | int | None) -> None:
    """Recorded points are taken as they are: a noise beside them would be ignored."""
    for name, value in noises.items():
        if value is not None:
            raise ValueError(
                f"{name} is {value} but noise is not added to a tracks file; leave it out."
            )
