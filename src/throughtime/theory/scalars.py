"""One unit: the scalar map, the range of a float, Pascanu's threshold and cliff."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, xlogy

from throughtime.names import known
from throughtime.theory.domain import at_least_one, finite, not_negative

# Bits of exponent and of fraction, the binary formats' definition.
_FORMATS = {"bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}

_STEEPEST = {"tanh": 1.0, "sigmoid": 0.25}

_START, _TARGET = 0.5, 0.7


class Cliff(NamedTuple):
    """The unit x_{t+1} = w σ(x_t) + b on the curve where it rests at x_0.

    Attributes:
        bias: b* = x_0 - w σ(x_0).
        multiplier: a = w σ'(x_0), what one step does to a gradient.
        loss: E = (σ(x_0) - 0.7)², the same all along the curve.
        by_start: dE/dx_0.
        by_weight: dE/dw.
        by_bias: dE/db.
    """

    bias: float
    multiplier: float
    loss: float
    by_start: float
    by_weight: float
    by_bias: float


def scalar_log_gradient(
    weight: float, lag: int | Int[np.ndarray, "*lags"]
) -> float | Float[np.ndarray, "*lags"]:
    """The gradient of the scalar map h' = w h at a lag, exact: k ln|w|.

        dh_T/dh_{T-k} = w^k

    Args:
        weight: w.
        lag: k, not negative.

    Returns:
        ln |w^k|, nats, which no lag takes out of the float range; -inf for w = 0 and k > 0.

    Raises:
        ValueError: if the weight is not finite or a lag is negative.
    """
    finite("weight", weight)
    not_negative("lag", lag)
    return xlogy(lag, abs(weight))


def scalar_log_first_input(weight: float, num_inputs: int) -> float:
    """How much the last state of h' = w h + x feels the first of N inputs, exact: (N-1) ln|w|.

        dh_N/dx_1 = w^(N-1),   not w^N: the first input enters after its own step's weight

    Args:
        weight: w.
        num_inputs: N, at least 1.

    Returns:
        ln |w^(N-1)|, nats.

    Raises:
        ValueError: if the weight is not finite or there is no input.
    """
    at_least_one("num_inputs", num_inputs)
    finite("weight", weight)
    return float(xlogy(num_inputs - 1, abs(weight)))


def dtype_horizon(rate: float, dtype: str = "float32") -> float:
    """The lag beyond which a gradient e^(λk), 1 at lag 0, leaves the normal numbers of a format.

        k = ln(tiny)/λ  for λ < 0,   ln(max)/λ  for λ > 0

    Subnormals count as zero, as XLA on a CPU flushes them; a device that keeps them holds on for
    up to m ln 2/|λ| lags more (m bits of fraction), at falling precision. It is the number itself
    that is followed: a norm that squares first halves the horizon.

    Args:
        rate: λ, nats per step.
        dtype: bfloat16, float32 or float64.

    Returns:
        Lags: at a whole lag above this the gradient is exactly 0, or inf; inf for λ = 0.

    Raises:
        ValueError: if the rate is not finite or the dtype is not one of the three.
    """
    finite("rate", rate)
    exponent_bits, fraction_bits = _FORMATS[known("dtype", dtype, _FORMATS)]
    if rate == 0:
        return float("inf")
    bias = 2 ** (exponent_bits - 1) - 1
    # tiny = 2^(1-bias); max = (2 - 2^-m) 2^bias, whose log2 in float64 may round up to bias + 1.
    limit = 1 - bias if rate < 0 else bias + np.log2(2 - 2.0**-fraction_bits)
    limit = min(limit, np.nextafter(bias + 1.0, 0.0))
    return float(limit / (rate / np.log(2)))


def pascanu_threshold(activation: str) -> float:
    """The largest singular value 1/γ that Pascanu's bounds turn on, γ = max|φ'|.

    σ_max(W) < 1/γ is sufficient for gradients to vanish, since ‖J_t‖ ≤ γ σ_max; σ_max > 1/γ is
    necessary for them to explode, and not sufficient. True as bounds for every input, and far from
    the edge of a random network: σ_max ≈ 2g for Gaussian weights, whose edge is g = 1 or above.

    Args:
        activation: tanh (γ = 1) or sigmoid (γ = 1/4).

    Returns:
        1/γ.

    Raises:
        ValueError: if the activation is not one of the two.

    References:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, section 2.1.
    """
    return 1 / _STEEPEST[known("activation", activation, _STEEPEST)]


def cliff(weight: float, steps: int = 50) -> Cliff:
    """The exact gradient of Pascanu's one-unit example along a curve in its (w, b) plane.

        x_{t+1} = w σ(x_t) + b,   x_0 = 0.5,   E = (σ(x_T) - 0.7)²

        b = b*:  x_t = x_0 for all t,   dE/dx_0 = e a^T,   dE/db = e Σ_{j<T} a^j,
        dE/dw = σ(x_0) dE/db   with   a = w σ'(x_0),   e = 2 (σ(x_0) - 0.7) σ'(x_0)

    Args:
        weight: w.
        steps: T, at least 1.

    Returns:
        The point on the curve, its loss and its gradient; exact until a^T leaves float64.

    Raises:
        ValueError: if the weight is not finite or there is no step.

    References:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063 (the example of the cliff).
    """
    finite("weight", weight)
    at_least_one("steps", steps)
    level = float(expit(_START))
    slope = level * (1 - level)
    a, error = weight * slope, 2 * (level - _TARGET) * slope
    by_bias = error * float(np.sum(a ** np.arange(steps)))
    return Cliff(
        bias=_START - weight * level,
        multiplier=a,
        loss=(level - _TARGET) ** 2,
        by_start=error * a**steps,
        by_weight=level * by_bias,
        by_bias=by_bias,
    )


def cliff_saddle_nodes(weight: float) -> tuple[float, float]:
    """The two biases at which x' = w σ(x) + b gains or loses a pair of fixed points, exact.

        w σ'(x) = 1:   σ± = (1 ± √(1 - 4/w))/2,   b± = ln(σ±/(1 - σ±)) - w σ±

    Between them there are three fixed points, two of them stable: crossing one of the two biases
    makes the state leap, and the error with it. At w = 4 they meet in a cusp.

    Args:
        weight: w, at least 4; below there is one fixed point for every b.

    Returns:
        (b+, b-), ascending.

    Raises:
        ValueError: if the weight is below 4 or not finite.

    References:
        Doya 1993, Bifurcations of recurrent neural networks in gradient descent learning; Pascanu,
        Mikolov, Bengio 2013, arXiv:1211.5063.
    """
    finite("weight", weight)
    if weight < 4:
        raise ValueError(f"weight must be at least 4 for saddle-nodes to exist, got {weight}.")
    # σ- = (1/w)/σ+, without the cancellation.
    upper = (1 + np.sqrt(1 - 4 / weight)) / 2
    lower = 1 / (weight * upper)
    fold = np.log(upper / lower)
    return float(fold - weight * upper), float(-fold - weight * lower)
