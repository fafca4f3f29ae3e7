"""Cells against the equations of their papers in NumPy, and closed forms of weightless ones."""

import bounds
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import recurrences
from flax import nnx

from throughtime.cells import as_step, hidden, make_cell
from throughtime.dynamics import rollout
from throughtime.theory import mingru_exponent, minlstm_exponent

D, N, T, G = 3, 4, 6, 1.3


def build(name, size=N, d=D, dtype=jnp.float64, **options):
    options = {"recurrent_scale": G} | options
    return make_cell(name, d, size, dtype=dtype, rngs=nnx.Rngs(0), **options)


def with_biases(cell):
    """Biases that are not zero, where an error in them would not show."""
    for path, leaf in nnx.iter_graph(cell):
        if isinstance(leaf, nnx.Param) and "bias" in str(path[-1]):
            leaf[...] = leaf[...] + jnp.linspace(-0.5, 0.7, leaf[...].size)
    return cell


def drive(length=T, d=D):
    return jax.random.normal(jax.random.key(1), (length, d), jnp.float64)


def value(found):
    return np.sum(np.sin(found) * np.arange(1, found.size + 1).reshape(found.shape))


def both_by_autodiff(cell, xs):
    """The hidden states, and the gradient of `value` by weights and inputs."""
    graphdef, state = nnx.split(cell)

    def loss(state, xs):
        step, h0, unravel = as_step(nnx.merge(graphdef, state))
        found = jax.vmap(lambda h: hidden(unravel(h)))(rollout(step, h0, xs))
        places = jnp.arange(1.0, found.size + 1).reshape(found.shape)
        return jnp.sum(jnp.sin(found) * places), found

    lowered = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True)).lower(state, xs)
    return lowered.compile({"xla_backend_optimization_level": 1})(state, xs)


def slopes(function, array, step=1e-5):
    """Central differences of fourth order by each number of an array, which is changed in place."""
    found = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        here, at = array[place], {}
        for k in (-2, -1, 1, 2):
            array[place] = here + k * step
            at[k] = function()
        array[place] = here
        found[place] = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
    return found


CASES = {
    "min_gru": {},
    "min_lstm": {},
    "lru": {"r_min": 0.4, "r_max": 0.99},
    "s5": {"dt_max": 0.5},
    "selective": {"channel_size": 2, "dt_max": 0.5},
    "slstm": {},
    "slstm exponential": {"forget_gate": "exponential"},
    "mlstm": {"forget_bias": 1.0},
    "mlstm exponential": {"forget_gate": "exponential", "forget_bias": -0.3},
}


@pytest.mark.parametrize("case", CASES)
def test_states_and_gradients_are_those_of_the_paper(case):
    name, options = case.split()[0], CASES[case]
    cell, xs = with_biases(build(name, **options)), np.array(drive())
    (by_weights, by_inputs), found = both_by_autodiff(cell, drive())
    state = nnx.state(cell)
    w = {key: np.array(state[key][...]) for key in by_weights}
    gain = float(w.get("gain", 1))

    def states():
        return recurrences.STEPS[name](w, xs, gain, **options)

    assert bounds.near(found, states(), bounds.states(len(xs), D + N))
    assert gain == (1 if name == "slstm" else G)
    assert np.allclose(by_inputs, slopes(lambda: value(states()), xs), rtol=1e-8, atol=1e-8)
    for key, gradient in by_weights.items():
        exact = 0 if key == "gain" else slopes(lambda: value(states()), w[key])
        assert np.allclose(gradient[...], exact, rtol=1e-8, atol=1e-8), key


def jacobians(cell, xs):
    """Of the steps at the inputs, whatever the state, which must make no difference."""
    step, h0, _ = as_step(cell)
    compute = jax.jit(lambda h: jax.vmap(jax.jacfwd(step), (None, 0))(h, xs))
    found = np.asarray(compute(h0))
    assert np.array_equal(found, compute(h0 + 0.7))
    return found


def exponents(cell, xs):
    """ln of the coefficients: their means, and the standard errors of these."""
    diagonals = np.diagonal(jacobians(cell, xs), axis1=1, axis2=2)
    logs = np.log(diagonals)
    return logs.mean(axis=0), logs.std(axis=0) / np.sqrt(len(xs))


def test_exponents_of_the_minimal_cells_are_those_of_theory():
    """λ = ln g − E softplus(a) of the minGRU, ln g + E ln f/(f + i) of the minLSTM."""
    xs = drive(length=20_000, d=2)
    cell = build("min_gru", size=2, d=2, forget_bias=0.4)
    mean, error = exponents(cell, xs)
    for unit, kernel in enumerate(np.asarray(cell.input_kernel[...]).T[:2]):
        exact = np.log(G) + mingru_exponent(-0.4, float(np.linalg.norm(kernel)))
        assert abs(mean[unit] - exact) < 4 * error[unit]
    cell = build("min_lstm", size=2, d=2, forget_bias=0.4)
    # Unit 1: i sees the first input, f the second, so that the two are independent.
    cell.input_kernel[...] = cell.input_kernel[...].at[:, :4].set(np.eye(2)[:, [0, 1, 1, 0]] * 1.5)
    mean, error = exponents(cell, xs)
    exact = np.log(G) + minlstm_exponent(0.4, 1.5, 0.0, 1.5)
    assert np.all(np.abs(mean - exact) < 4 * error)
    assert np.all(error < 0.01)


def test_time_constants_at_the_biases_at_the_start():
    """A number kept by the factor f each step decays as (1 − 1/τ)^k."""
    silence = jnp.zeros((1, D))
    for name, options, tau in (
        ("min_gru", {}, 2),
        ("min_gru", {"forget_bias": 2.0}, 1 + np.exp(2.0)),
        ("min_lstm", {}, 2),
        ("min_lstm", {"forget_bias": 2.0}, 1 + 2 * recurrences.sig(2.0)),
    ):
        kept = jacobians(build(name, recurrent_scale=1.0, **options), silence)[0]
        assert bounds.near(kept, (1 - 1 / tau) * np.eye(N), bounds.states(1, D))
    for name, place in (("min_gru", 0), ("min_lstm", 1)):
        cell = build(name, size=500, recurrent_scale=1.0, chrono_steps=100)
        kept = np.diagonal(jacobians(cell, silence)[0])
        times = 1 / (1 - kept)
        assert np.allclose(times, 1 + np.exp(np.abs(cell.bias[...].reshape(-1, 500)[place])))
        assert 2 <= times.min() < 4
        assert 96 < times.max() <= 100


def test_a_ratio_of_gates_below_the_float_range_is_right():
    """f/(f + i) = 1/(1 + e^{200 − 200.5}) though both gates are 0 in float32."""
    cell = build("min_lstm", dtype=jnp.float32, recurrent_scale=1.0)
    cell.bias[...] = jnp.repeat(jnp.array([-200.5, -200.0, 1.0], jnp.float32), N)
    h, _ = cell(jnp.full(N, 2, jnp.float32), jnp.zeros(D, jnp.float32))
    kept = recurrences.sig(0.5)
    assert np.allclose(h, 2 * kept + (1 - kept), rtol=1e-5)


def modulus(cell):
    (re, im), _ = cell.coefficients()
    return np.hypot(re, im)


def test_the_ring_of_the_lru_gives_a_power_law():
    """E|λ|^{2k} = (r_max^{2k+2} − r_min^{2k+2})/((k + 1)(r_max² − r_min²)): 1/(k + 1) of a disc."""
    for low, high in ((0.0, 1.0), (0.5, 0.9)):
        cell = build("lru", size=40_000, r_min=low, r_max=high, max_phase=0.3)
        radius = modulus(cell)
        for k in (1, 4, 20):
            exact = (high ** (2 * k + 2) - low ** (2 * k + 2)) / ((k + 1) * (high**2 - low**2))
            powers = radius ** (2 * k)
            assert abs(powers.mean() - exact) < 4 * powers.std() / np.sqrt(powers.size)
        assert low <= radius.min() < radius.max() < high
        phases = np.exp(np.asarray(cell.log_phase[...]))
        assert 0 < phases.min() < phases.max() <= 0.3
        assert abs(phases.mean() - 0.15) < 4 * 0.3 / np.sqrt(12 * 20_000)
        assert np.allclose(np.exp(2 * cell.log_input_gain[...]), 1 - radius**2, rtol=1e-9)
        kernel = np.asarray(cell.input_kernel[...])
        assert abs(D * np.sum(kernel**2) / (D * 20_000) - 1) < 4 * np.sqrt(1 / (D * 20_000))


def test_a_narrow_or_tiny_ring_is_not_rounded_away():
    for low, high in ((1 - 1e-9, 1.0), (0.0, 1e-5)):
        cell = build("lru", size=64, r_min=low, r_max=high, dtype=jnp.float32)
        decay = np.exp(np.asarray(cell.log_decay[...], float))
        assert -np.log(high) < decay.min()
        assert decay.max() < (2e-9 if low else 25)
        assert np.all(np.isfinite(cell.log_input_gain[...]))


@pytest.mark.parametrize("name", ["lru", "s5"])
def test_the_jacobian_of_a_complex_unit_is_a_scaled_rotation(name):
    cell = build(name)
    jacobian = jacobians(cell, drive(length=1))[0]
    sizes = G * np.tile(modulus(cell), 2)
    rounding = bounds.states(1, D + N)
    assert bounds.near(jacobian.T @ jacobian, np.diag(sizes**2), rounding)
    assert np.linalg.slogdet(jacobian)[0] == 1
    h = as_step(cell).h0 + jnp.linspace(-1, 1, N)
    turned = recurrences.paired(jacobian @ h)
    (re, im), _ = cell.coefficients()
    factor = G * (np.asarray(re) + 1j * np.asarray(im))
    assert bounds.near(turned, factor * recurrences.paired(h), rounding)


def test_a_held_input_gives_s5_the_exact_solution_at_any_step():
    """h(t) = (e^{t a} − 1)/a · (W_x x) at t = T Δ, with a = −1/2 + i π j: no error of a step."""
    cell = build("s5", size=8, recurrent_scale=1.0, dt_min=0.01, dt_max=0.3)
    a, x = -0.5 + 1j * np.pi * np.arange(4), np.array([0.3, -1.0, 2.0])
    step, h0, _ = as_step(cell)
    found = rollout(step, h0, jnp.tile(jnp.asarray(x), (50, 1)))[-1]
    time = 50 * np.exp(np.asarray(cell.log_step[...]))
    exact = (np.exp(time * a) - 1) / a * (x @ recurrences.paired(cell.input_kernel[...]))
    assert bounds.near(recurrences.paired(found), exact, bounds.states(50, D + 2))


def test_a_tiny_step_loses_no_digits():
    """(e^{Δ a} − 1)/a = Δ (1 + Δ a/2 + …), in float32."""
    cell = build("s5", dtype=jnp.float32, dt_min=1e-7, dt_max=1e-7)
    _, (re, im) = cell.coefficients()
    # As a complex number, whose imaginary part is below the rounding of its real one. The step is
    # exp of its logarithm, which is −16.1 up to ε / 2 of it.
    exact = 1e-7 * (1 + 1e-7 * (-0.5 + 1j * np.pi * np.arange(2)) / 2)
    rounding = bounds.gamma(16 + bounds.FUNCTION, jnp.float32)
    assert bounds.near(np.asarray(re) + 1j * np.asarray(im), exact, rounding)


def test_steps_are_log_uniform():
    s5, selective = build("s5", size=4000), build("selective", size=4000, channel_size=2)
    at_rest = np.logaddexp(0, selective.step_bias[...])
    for steps in (np.exp(np.asarray(s5.log_step[...])), at_rest):
        assert 0.001 <= steps.min() * (1 + 1e-12) < steps.max() <= 0.1
        assert abs(np.log(steps).mean() - np.log(0.01)) < 4 * np.log(100) / np.sqrt(12 * 2000)
        assert np.isclose(np.log(steps).std(), np.log(100) / np.sqrt(12), rtol=0.05)


def test_a_selective_unit_of_one_number_is_gated_by_a_sigmoid():
    """Theorem 1 of the paper: exp(−softplus(a)) = 1 − σ(a); of more, the j-th decays j-fold."""
    cell, xs = build("selective"), drive()
    a = np.asarray(xs @ cell.input_kernel[...])[:, :N] + np.asarray(cell.step_bias[...])
    exact = G * np.eye(N) * recurrences.sig(-a)[:, None]
    assert bounds.near(jacobians(cell, xs), exact, bounds.states(1, D))
    logs = np.log(np.asarray(build("selective", channel_size=4).kept(xs)))
    # The logarithm of what is near 1: its rounding is relative to 1, and not to the logarithm.
    assert bounds.near(logs, logs[:, :1] * np.arange(1, 5), bounds.states(1, D) / -logs.max())


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("lru", {"size": 5}, "hidden_features must be even, not 5"),
        ("s5", {"size": 3}, "hidden_features must be even, not 3"),
        ("lru", {"r_max": 1.1}, "r_max <= 1, .*not 0.0 and 1.1"),
        ("lru", {"r_min": 1.0}, "r_min < 1 .*not 1.0 and 1.0"),
        ("lru", {"r_min": 0.5, "r_max": 0.4}, "not 0.5 and 0.4"),
        ("lru", {"max_phase": 0.0}, "max_phase must be > 0 and finite, not 0.0"),
        ("s5", {"dt_min": 0.0}, "0 < dt_min <= dt_max, not 0.0 and 0.1"),
        ("selective", {"dt_max": 1e-4}, "0 < dt_min <= dt_max, not 0.001 and 0.0001"),
        ("selective", {"channel_size": 3}, "must divide hidden_features=4, not be 3"),
        ("slstm", {"forget_gate": "sigmoind"}, "did you mean 'sigmoid'"),
        ("mlstm", {"initializer": "gaussian"}, "draws no recurrent weights"),
    ],
)
def test_what_a_cell_cannot_be_is_said_in_one_sentence(name, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build(name, **options)
