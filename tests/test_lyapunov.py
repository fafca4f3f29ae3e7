"""Lyapunov spectra against closed forms, and identities true of any cell and orbit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from bounds import FUNCTION, factored, gamma, states
from cell_steps import STEPS
from flax import nnx
from orbits import linear, measure
from scipy.special import digamma, polygamma

from throughtime import lyapunov as ly
from throughtime.adjoints import starts
from throughtime.cells import CELLS, SYSTEMS, as_step, make_cell
from throughtime.dynamics import rollout

# Closed forms


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
def test_diagonal_matrix_has_its_logarithms_largest_first(dtype):
    diagonal = np.array([0.5, 2.0**-60, 2.0, 0.125])
    spectrum = measure(linear(np.diag(diagonal), dtype), 300, transient=200)
    exact = np.sort(np.log(diagonal))[::-1]
    rounding = gamma(8 * FUNCTION, spectrum.growth.dtype)  # of QR, of logarithms and of their mean
    assert np.allclose(spectrum.exponents, exact, rtol=rounding, atol=0)
    leading = measure(linear(np.diag(diagonal), dtype), 300, num_exponents=1, transient=200)
    assert np.allclose(leading.exponents, np.log(2), rtol=rounding, atol=0)


@pytest.mark.parametrize("gain", [0.3, 1.0, 1.7])
def test_orthogonal_matrix_stretches_every_direction_by_its_gain(gain):
    system = systems.orthogonal(gain)
    spectrum = measure(system._replace(h0=system.h0 * 0), 500)
    assert np.allclose(spectrum.growth, np.log(gain), rtol=0, atol=factored(1, 8))
    assert ly.status_of(spectrum) == "ok"


def test_jordan_block_approaches_its_rate_as_log_t_over_t():
    rho, length = 0.95, 2000
    growth = measure(linear(systems.jordan(rho)), 2 * length).growth
    gained = growth[length:].sum(axis=0) - length * np.log(rho)
    assert np.allclose(gained, [np.log(2), -np.log(2)], atol=3 * 20 / length)
    condition = np.linalg.cond(np.asarray(systems.jordan(rho)))
    assert np.allclose(growth.sum(axis=1), 2 * np.log(rho), rtol=0, atol=condition * factored(1, 2))
    assert ly.status_of(measure(linear(systems.jordan(rho)), 400)) == "not_converged"


@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_products_of_gaussian_matrices_have_newmans_exponents(n):
    """ln r_i = ½ ln(χ²_{n−i+1}/n), independent in time: mean and variance are known exactly."""
    length, gain = 3000, 1.3
    weights = gain * np.random.default_rng(n).normal(size=(length, n * n)) / np.sqrt(n)
    step = lambda h, x: x.reshape(n, n) @ h  # noqa: E731
    run = jax.jit(lambda x: ly.lyapunov_spectrum(step, jnp.zeros(n), x))
    spectrum = run(jnp.asarray(weights))
    freedom = (n - np.arange(n)) / 2
    exact = np.log(gain) + (np.log(2 / n) + digamma(freedom)) / 2
    standard_error = np.sqrt(polygamma(1, freedom) / 4 / length)
    assert np.all(np.abs(spectrum.exponents - exact) < 3 * standard_error)
    errors = ly.exponent_errors(spectrum)
    assert np.allclose(errors.standard_error, standard_error, rtol=0.25)
    assert ly.status_of(spectrum) == "ok"


def test_henon_map():
    spectrum = measure(systems.henon(), 20_000, transient=100)
    errors, truth = ly.exponent_errors(spectrum), np.array(systems.henon().exponents)
    # Another rounding is another orbit: one in 20 is outside of a 95 % interval, 1 in 10^4 of this.
    assert np.all(np.abs(spectrum.exponents - truth) < 4 * errors.standard_error)
    assert np.all(errors.standard_error < 0.004)
    assert np.allclose(errors.high - errors.low, 2 * 1.96 * errors.standard_error, rtol=0.2)
    assert np.allclose(spectrum.growth.sum(axis=1), np.log(0.3), atol=1e-12)
    dimension = ly.kaplan_yorke_dimension(np.asarray(spectrum.exponents), 2)
    # D = 1 + λ_1 / (λ_1 − ln 0.3), whose slope by λ_1 is 0.46.
    assert dimension == (pytest.approx(1.258, abs=2 * errors.standard_error[0]), False)


def test_logistic_map():
    exponents = measure(systems.logistic(), 100_000, transient=100).exponents
    # The sum is T ln 2 + ½ ln(h_T (1 − h_T) / (h_0 (1 − h_0))), beyond 20 nats once in 10^9 orbits.
    assert np.allclose(exponents, np.log(2), rtol=0, atol=20 / 100_000)


def test_cat_map():
    exponents = measure(systems.cat(), 2000, transient=50).exponents
    # 1950 means of logarithms near 1; the frame at the end of the transient is as near as ε.
    assert np.allclose(exponents, systems.cat().exponents, rtol=0, atol=10 * factored(1, 2))


def test_ikeda_map_contracts_by_its_loss():
    spectrum = measure(systems.ikeda(), 5000)
    assert np.allclose(spectrum.growth.sum(axis=1), 2 * np.log(0.9), atol=1e-12)
    assert spectrum.exponents[0] > 0.4


def test_lorenz_attractor_within_its_own_error():
    dt, system = 0.01, systems.lorenz()
    spectrum = measure(system, 400_000, transient=2000)
    standard_error = ly.exponent_errors(spectrum).standard_error
    assert np.all(np.abs(spectrum.exponents - np.array(system.exponents)) < 4 * standard_error)
    assert np.all(standard_error / dt < 0.01)
    assert spectrum.exponents.sum() / dt == pytest.approx(-41 / 3, abs=3e-4)
    dimension = ly.kaplan_yorke_dimension(np.asarray(spectrum.exponents), 3)
    assert dimension.value == pytest.approx(2.062, abs=0.002)


# Identities true of any cell and orbit


# Flax's gated cells take long to compile; ours and `flax_simple` run through the same identities.
# The derivatives of the cells of `cell_steps` are tested with their equations.
LONG = ("flax_gru", "flax_lstm", "flax_optimized_lstm", "slstm", "mlstm", *STEPS)
SLOW = pytest.mark.slow


def every_cell(dtype=jnp.float64):
    # Blind to order: no state of order_blind comes back, its Jacobian is singular at every step; so
    # are those of the xLSTM, wherever the stabiliser forgets what it was.
    singular = ("order_blind", "slstm", "mlstm")
    for name in (name for name in CELLS if name not in (*SYSTEMS, *singular)):
        hidden = {"scalar": 1, "lru": 6, "s5": 6}.get(name, 5)
        cell = make_cell(
            name, 3, hidden, recurrent_scale=1.4, dtype=jnp.dtype(dtype), rngs=nnx.Rngs(1)
        )
        marks = SLOW if name in LONG else ()
        yield pytest.param(as_step(cell), id=name, marks=marks)


def inputs_for(length, dtype=jnp.float64):
    return jax.random.normal(jax.random.key(3), (length, 3), dtype)


@pytest.mark.parametrize("cell", [*every_cell()])
def test_identities_of_every_cell(cell):
    """Σ_i ln r_i(t) = ln |det J_t|; the first of all are the leading ones; a second orbit agrees.

    A Jacobian taken one state late would fail the first at every step, a part of the state the
    second estimate, which shares only the orbit: no derivative, and another direction at first.
    """
    step, h0, _ = cell
    inputs, few = inputs_for(400), (h0.size + 1) // 2

    @jax.jit
    def measured():
        previous = starts(h0, rollout(step, h0, inputs))
        return (
            ly.lyapunov_spectrum(step, h0, inputs),
            ly.lyapunov_spectrum(step, h0, inputs, few, transient=100),
            ly.perturbed_exponent(step, h0, inputs, transient=100),
            jax.vmap(jax.jacfwd(step))(previous, inputs),
        )

    spectrum, leading, beside, jacobians = measured()
    log_determinants = np.linalg.slogdet(np.asarray(jacobians))[1]
    rounding = 20 * np.finfo(float).eps * np.linalg.cond(np.asarray(jacobians))
    assert np.all(np.abs(spectrum.growth.sum(axis=1) - log_determinants) < rounding)
    assert np.allclose(leading.growth, spectrum.growth[100:, :few], rtol=1e-9, atol=1e-9)
    assert np.allclose(beside.exponents, leading.exponents[0], atol=5e-6)


@pytest.mark.parametrize("name", ["henon", "logistic", "lorenz", "ikeda"])
def test_a_second_chaotic_orbit_grows_at_the_same_rate(name):
    system = getattr(systems, name)()
    tangent = measure(system, 5000, num_exponents=1, transient=100)
    beside = measure(system, 5000, measure=ly.perturbed_exponent, transient=100)
    # Where two programs round unlike, they follow two orbits of one attractor.
    error = np.sqrt(2) * ly.exponent_errors(tangent).standard_error
    assert np.allclose(tangent.exponents, beside.exponents, rtol=0, atol=4 * error + 2e-6)


def test_transient_is_left_out_and_passed_through():
    """On a cycle of two points, which grow unlike: 31 steps left out would exchange them."""
    spectrum = measure(systems.logistic(3.2), 200)
    rest = measure(systems.logistic(3.2), 200, transient=30)
    assert abs(spectrum.growth[30, 0] - spectrum.growth[31, 0]) > 1
    # Two programs: on a cycle that attracts, the roundings of some ten steps are left of the orbit.
    growth = spectrum.growth[30:]
    assert np.allclose(rest.growth, growth, rtol=0, atol=states(10, 2))
    # A mean of 170 numbers, whose sum cancels in part.
    largest = np.abs(spectrum.growth).max()
    mean = np.mean(spectrum.growth[30:], axis=0)
    assert np.allclose(rest.exponents, mean, rtol=0, atol=gamma(170) * largest)
