"""One cell in one call: closed forms, and the numbers of a sweep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import factored, gamma
from flax import nnx

from throughtime import measure
from throughtime.adjoints import adjoint_log_norms
from throughtime.cells import as_step, make_cell

T, D = 40, 3
INPUTS = jax.random.normal(jax.random.key(1), (2, T, D), jnp.float64)


def cell(name, scale, **options):
    options = {"dtype": jnp.float64, "rngs": nnx.Rngs(0)} | options
    return make_cell(name, D, 6, recurrent_scale=scale, **options)


@pytest.mark.parametrize(("gain", "verdict"), [(0.5, "vanishing"), (1.0, "stable")])
def test_an_orthogonal_network_changes_by_its_gain(gain, verdict):
    linear = {"activation": "identity", "initializer": "orthogonal"}
    found = measure(cell("elman", gain, **linear), INPUTS)
    lags = np.arange(T)
    growth = found.log_norms - found.log_norms[0]
    assert growth == pytest.approx(lags * np.log(gain), abs=factored(T, 6))
    assert found.rate == pytest.approx(np.log(gain), abs=factored(T, 6))
    assert found.log10_ratio == pytest.approx((T - 1) * np.log10(gain), abs=factored(T, 6))
    assert found.horizon == ((6, False) if gain < 1 else (T - 1, True))  # 2^-6 > 1% > 2^-7
    assert found.verdict == verdict
    assert (found.first_zero_lag, found.first_inf_lag, found.first_bad_step) == (None, None, None)


def test_flaxs_lstm_over_the_adjoints_of_its_whole_carry():
    own = nnx.LSTMCell(D, 6, dtype=None, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    step, h0, unravel = as_step(own)

    def last(direction):
        return lambda states: unravel(states[-1])[1] @ direction

    found = measure(own, INPUTS[0])
    weights = jax.random.normal(jax.random.key(0), (6, 1), jnp.float32)[:, 0] / 6**0.5
    expected = adjoint_log_norms(last(weights.astype(jnp.float64)), step, h0, INPUTS[0])
    assert found.log_norms == pytest.approx(np.asarray(expected)[::-1], abs=gamma(4, jnp.float32))


def test_plain_floats_lose_what_is_measured():
    inputs = jnp.zeros((200, D), jnp.float32)
    half = cell("elman", 0.5, activation="identity", initializer="identity", dtype=jnp.float32)
    found = measure(half, inputs)
    assert found.log_norms[-1] - found.log_norms[0] == pytest.approx(-199 * np.log(2), rel=1e-6)
    assert found.first_zero_lag == pytest.approx(127, abs=4)  # of weights of about 1


@pytest.mark.parametrize("shape", [(T,), (1, D), (T, D + 1), (1, 1, T, D)])
def test_bad_inputs_are_named(shape):
    with pytest.raises(ValueError, match=rf"or \(B, T, {D}\) with at least 2 steps, not \("):
        measure(cell("elman", 1.0), jnp.zeros(shape))
