"""Lyapunov spectra that are no plain numbers, and what is made of exponents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from bounds import FUNCTION, factored, gamma, near
from orbits import linear, made, measure

from throughtime import lyapunov as ly
from throughtime.dynamics import rollout
from throughtime.lyapunov.errors import block_length
from throughtime.lyapunov.frames import orthonormalise

# What is not a plain number


def test_dead_rectifiers_lose_their_directions():
    weights = np.random.default_rng(0).normal(size=(6, 6)) / 8
    bias = jnp.array([0.0, -90.0, 0.0, -90.0, 0.0, 0.0])
    step = lambda h, x: jax.nn.relu(jnp.asarray(weights) @ h + bias + 5)  # noqa: E731
    spectrum = ly.lyapunov_spectrum(step, jnp.ones(6), systems.no_inputs(30), transient=1)
    live = np.array([0, 2, 4, 5])
    determinant = np.linalg.slogdet(weights[np.ix_(live, live)])[1]
    assert np.allclose(spectrum.growth[:, :4].sum(axis=1), determinant, atol=1e-12)
    assert np.all(np.isneginf(spectrum.growth[:, 4:]))
    assert np.all(np.isneginf(spectrum.exponents[4:]))
    errors = ly.exponent_errors(spectrum)
    assert np.all(errors.standard_error[4:] == 0)
    assert np.all(np.isneginf(errors.high[4:]))


def test_a_rectifier_dead_for_one_step_loses_a_direction_for_good():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(6, 6)) / 8)
    inputs = jnp.full((30, 6), 5.0).at[7, 2].set(-90.0)
    spectrum = ly.lyapunov_spectrum(lambda h, x: jax.nn.relu(weights @ h + x), jnp.ones(6), inputs)
    assert np.array_equal(np.isneginf(spectrum.growth[:, 5]), np.arange(30) == 7)
    assert np.array_equal(np.isneginf(spectrum.exponents), np.arange(6) == 5)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_low_rank_network_has_the_exponents_of_its_few_dimensions(dtype):
    """h' = tanh(U Vᵀ h) is conjugate to κ' = Vᵀ tanh(U κ) on the range of its Jacobian."""
    rng = np.random.default_rng(4)
    U, V = (jnp.asarray(rng.normal(size=(20, 2)), dtype) for _ in range(2))
    inputs = systems.no_inputs(2000, dtype)
    full = ly.lyapunov_spectrum(
        lambda h, x: jnp.tanh(U @ (V.T @ h)), jnp.ones(20, dtype), inputs, transient=100
    )
    few = ly.lyapunov_spectrum(
        lambda h, x: V.T @ jnp.tanh(U @ h), V.T @ jnp.ones(20, dtype), inputs, transient=100
    )
    assert np.all(np.isneginf(full.exponents[2:]))
    assert np.allclose(full.exponents[:2], few.exponents, atol=1e-4)


def test_growth_on_the_way_to_a_stable_point_is_no_collapse():
    """Of a matrix that is not normal, vectors grow for some steps even where the orbit rests."""
    turning = 0.5 * jnp.array([[0.6, -8.0], [0.08, 0.6]])
    spectrum = ly.lyapunov_spectrum(
        lambda h, x: jnp.where(jnp.abs(h) < 1e-3, 0.0, turning @ h) + 0 * (turning @ h),
        jnp.ones(2),
        systems.no_inputs(400),
    )
    assert spectrum.exponents[0] < 0
    assert ly.status_of(spectrum) != "collapsed"


def test_frame_of_dependent_vectors_is_completed():
    tangents = np.zeros((5, 4))
    tangents[1], tangents[3, 1] = [1.0, 2.0, 3.0, 4.0], 1.0
    frame, r = orthonormalise(jnp.asarray(tangents))
    assert near(frame.T @ frame, np.eye(4), factored(1, 4))
    assert np.all(r >= 0)
    zero, _ = orthonormalise(jnp.zeros((5, 4)))
    assert near(zero.T @ zero, np.eye(4), factored(1, 4))


def test_what_float32_cannot_resolve_is_bounded_from_above_only():
    """A factor of 1e-9 beside 1 is rounding in float32, and the interval says so."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    matrix = q @ np.diag([1.0, 0.5, 0.25, 1e-9]) @ q.T
    truth = np.log([1.0, 0.5, 0.25, 1e-9])
    spectrum = measure(linear(matrix, jnp.float32), 400, transient=100)
    errors = ly.exponent_errors(spectrum)
    assert np.array_equal(np.isneginf(errors.low), [False, False, False, True])
    assert errors.high[3] == float(spectrum.floor) == pytest.approx(np.log(8 * 2.0**-23), abs=1)
    assert np.allclose(spectrum.exponents[:3], truth[:3], atol=1e-5)
    assert abs(float(spectrum.exponents[3]) - truth[3]) > 0.1
    resolved = measure(linear(matrix), 400, transient=100)
    assert np.all(np.isfinite(ly.exponent_errors(resolved).low))
    assert np.allclose(resolved.exponents, truth, atol=1e-6)


def test_overflow_is_named_with_its_step():
    """h' = h² from 2: h_10 = 2^1024 is inf, and that is input number 9."""
    system = systems.System(lambda h, x: h * h, jnp.array([2.0]), 0.0)
    spectrum = measure(system, 20, transient=4)
    exact = (2.0 ** np.arange(4, 9) + 1) * np.log(2)
    assert np.allclose(spectrum.growth[:5, 0], exact, rtol=gamma(FUNCTION), atol=0)
    assert np.all(np.isnan(spectrum.growth[5:]))
    assert np.isnan(spectrum.exponents[0])
    assert ly.status_of(spectrum) == "nonfinite"
    assert spectrum.first_bad_step == 9
    beside = measure(system, 20, measure=ly.perturbed_exponent)
    assert (ly.status_of(beside), beside.first_bad_step) == ("nonfinite", 9)
    assert np.all(np.isnan(ly.exponent_errors(spectrum).standard_error))


def test_an_infinite_state_that_heals_is_still_nonfinite():
    step = lambda h, x: jnp.where(x > 0, jnp.inf, 0.5 * jnp.tanh(h))  # noqa: E731
    spectrum = ly.lyapunov_spectrum(step, jnp.ones(1), jnp.eye(9)[:, 3:4])
    assert (ly.status_of(spectrum), spectrum.first_bad_step) == ("nonfinite", 3)
    assert np.array_equal(np.isnan(spectrum.growth[:, 0]), np.arange(9) >= 3)


@pytest.mark.parametrize("name", ["tent", "doubling"])
@pytest.mark.parametrize("estimate", [ly.lyapunov_spectrum, ly.perturbed_exponent])
def test_orbits_that_rounding_takes_to_a_fixed_point_have_collapsed(name, estimate):
    system = getattr(systems, name)()
    orbit = rollout(system.step, system.h0, systems.no_inputs(60))[:, 0]
    arrived = int(np.argmax(np.asarray(orbit) == 0)) + 1
    spectrum = measure(system, arrived + 1, measure=estimate)
    assert (ly.status_of(spectrum), spectrum.first_bad_step) == ("collapsed", arrived)
    assert ly.status_of(measure(system, arrived, measure=estimate)) == "ok"


def test_orbits_that_fall_onto_an_unstable_cycle_have_collapsed():
    """1, then 2, 4, 8, 2, 4, 8 …: doubled modulo 14, in integers without rounding."""
    step = lambda h, x: jnp.mod(2 * h, 14.0)  # noqa: E731
    spectrum = ly.lyapunov_spectrum(step, jnp.ones(1), systems.no_inputs(40))
    assert ly.status_of(spectrum) == "collapsed"
    around = ly.lyapunov_spectrum(step, jnp.array([2.0]), systems.no_inputs(40))
    assert ly.status_of(around) == "ok"


def test_orbits_that_settle_on_a_cycle_without_any_slope_have_not_collapsed():
    """(1 − h)³ takes 0.9 to the cycle 0, 1, where its slopes are −3 and 0."""
    step = lambda h, x: (1 - h) ** 3  # noqa: E731
    spectrum = ly.lyapunov_spectrum(step, jnp.array([0.9]), systems.no_inputs(60))
    assert (ly.status_of(spectrum), spectrum.exponents[0]) == ("ok", -jnp.inf)


@pytest.mark.parametrize("r", [2.5, 3.2])
def test_orbits_that_settle_on_a_stable_cycle_are_what_they_seem(r):
    system = systems.logistic(r)
    spectrum = measure(system, 3000, transient=1000)
    assert np.allclose(spectrum.exponents, system.exponents, atol=1e-9)
    assert ly.status_of(spectrum) == "ok"


def test_status_and_step_are_data_under_vmap():
    system = systems.logistic()
    starts_at = jnp.array([[0.3], [0.5], [2.0]])
    run = jax.vmap(lambda h0: ly.lyapunov_spectrum(system.step, h0, systems.no_inputs(60)))
    spectra = jax.jit(run)(starts_at)
    assert [ly.STATUSES[code] for code in spectra.status] == ["ok", "collapsed", "nonfinite"]
    assert spectra.first_bad_step[1] == 2


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((jnp.ones(3), 5), {"num_exponents": 4}, "1 to 3 exponents, not 4"),
        ((jnp.ones(3), 5), {"num_exponents": 0}, "1 to 3 exponents, not 0"),
        ((jnp.ones(0), 5), {}, "1 to 0 exponents, not 0"),
        ((jnp.ones(3), 0), {}, "inputs must have at least 1 step, not 0"),
        ((jnp.ones(3), 5), {"transient": 5}, r"transient must be in \[0, 4\] for 5 steps, not 5"),
        ((jnp.ones(3), 5), {"transient": -1}, r"in \[0, 4\] for 5 steps, not -1"),
        (
            (jnp.ones(3, jnp.int32), 5),
            {},
            "h0 must be of .*float64, not int32",
        ),
    ],
)
def test_what_has_no_exponents_is_refused(arguments, options, message):
    h0, length = arguments
    with pytest.raises(ValueError, match=message):
        ly.lyapunov_spectrum(lambda h, x: h, h0, systems.no_inputs(length), **options)


@pytest.mark.parametrize("step", [lambda h, x: h[:2], lambda h, x: h.astype(jnp.float32)])
@pytest.mark.parametrize("estimate", [ly.lyapunov_spectrum, ly.perturbed_exponent])
def test_a_step_that_changes_the_kind_of_state_is_refused(step, estimate):
    with pytest.raises(ValueError, match=r"state float64\[3\] into float(64\[2\]|32\[3\])"):
        estimate(step, jnp.ones(3), systems.no_inputs(5))


def test_a_perturbation_without_size_is_refused():
    with pytest.raises(ValueError, match="must be positive, not 0"):
        ly.perturbed_exponent(lambda h, x: h, jnp.ones(2), systems.no_inputs(5), size=0)


# Statistical errors


def autoregression(phi, length, seed):
    """x_t = φ x_{t−1} + ξ_t from its stationary law: the mean has variance 1/(T (1−φ)²)."""
    noise = np.random.default_rng(seed).normal(size=length)
    noise[0] /= np.sqrt(1 - phi**2)
    for t in range(1, length):
        noise[t] += phi * noise[t - 1]
    return noise


@pytest.mark.parametrize("phi", [0.0, 0.7, -0.5])
def test_intervals_cover_the_mean_of_a_correlated_series(phi):
    length, seeds = 1000, 120
    errors = [
        ly.exponent_errors(made(autoregression(phi, length, s)[:, None]), resamples=400)
        for s in range(seeds)
    ]
    exact = 1 / np.sqrt(length) / (1 - phi)
    typical = np.mean([e.standard_error[0] for e in errors])
    covered = np.mean([e.low[0] < 0 < e.high[0] for e in errors])
    assert typical == pytest.approx(exact, rel=0.15)
    assert 0.89 < covered < 0.99


def test_block_length_of_an_autoregression():
    """With R(k) ∝ φ^|k|: G/g = 2φ/((1−φ)(1+φ)), b = (G/g)^(2/3) T^(1/3)."""
    phi, length = 0.5, 20_000
    exact = (2 * phi / (1 - phi**2)) ** (2 / 3) * length ** (1 / 3)
    lengths = [block_length(autoregression(phi, length, s)) for s in range(20)]
    assert np.mean(lengths) == pytest.approx(exact, rel=0.15)
    assert block_length(np.ones(100)) == 1.0


def test_drift_is_told_from_chance():
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.normal(size=(1000, 8))
    ramp = np.zeros((1000, 8))
    ramp[:, 3] = np.linspace(-0.1, 0.1, 1000)
    assert ly.status_of(made(noise)) == "ok"
    assert ly.status_of(made(noise + ramp)) == "not_converged"
    assert np.array_equal(ly.exponent_errors(made(noise + ramp)).converged, np.arange(8) != 3)
    assert ly.status_of(made(noise + ramp), tolerance=0.2) == "ok"
    jump = 0.01 * rng.normal(size=(20, 1)) + np.repeat([0.0, 0.1], 10)[:, None]
    assert ly.status_of(made(jump)) == "not_converged"
    alarms = [ly.status_of(made(rng.normal(size=(200, 8)))) != "ok" for _ in range(100)]
    assert np.mean(alarms) < 0.04
    assert ly.status_of(made(noise[:19])) == "not_converged"


# Dimension and entropy


def test_kaplan_yorke_dimension_is_where_the_sum_crosses_zero():
    dimension = ly.kaplan_yorke_dimension
    assert dimension(np.array([-1.0, -2.0]), 2) == (0.0, False)
    assert dimension(np.array([0.5, -0.25, -1.0]), 3) == (2.25, False)
    assert dimension(np.array([-1.0, 0.5, -0.25]), 3) == (2.25, False)
    assert dimension(np.array([0.5, -0.25]), 5) == (2.0, True)
    assert dimension(np.array([1.0, -1.0]), 2) == (2.0, False)
    assert dimension(np.array([0.5, -np.inf]), 2) == (1.0, False)
    assert np.isnan(dimension(np.array([0.5, np.nan]), 2).value)
    with pytest.raises(ValueError, match="1 to 2 exponents, not 3"):
        dimension(np.zeros(3), 2)


def test_entropy_rate_is_the_sum_of_the_positive_exponents():
    assert ly.entropy_rate(np.array([0.5, 0.25, -1.0]), 5) == (0.75, False)
    assert ly.entropy_rate(np.array([0.5, 0.25]), 5) == (0.75, True)
    assert ly.entropy_rate(np.array([0.5, 0.25]), 2) == (0.75, False)
    assert ly.entropy_rate(np.array([-0.5]), 2) == (0.0, False)
    assert np.isnan(ly.entropy_rate(np.array([np.nan, 0.5]), 2).value)
    with pytest.raises(ValueError, match="1 to 2 exponents, not 0"):
        ly.entropy_rate(np.zeros(0), 2)
