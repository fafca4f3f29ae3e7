"""Gated cells: time constants of biases, the Jacobian at rest, and exponents of minimal cells."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from throughtime.theory.averages import gaussian_mean
from throughtime.theory.domain import finite, not_negative, positive


class ChronoRange(NamedTuple):
    """Where chrono biases of a forget gate lie; those of the input gate are their negatives.

    Attributes:
        low: the smallest bias, 0.
        high: the largest bias, ln(T_max - 1).
        shortest: the time constant at `low`, 2 steps.
        longest: the time constant at `high`, T_max steps.
    """

    low: float
    high: float
    shortest: float
    longest: float


class PerCell(NamedTuple):
    """One number for each of three cells."""

    tanh: float | complex
    gru: float | complex
    lstm: float | complex


def time_constant(bias: float) -> float:
    """The first-order time constant of a gate held at its bias: τ = 1/(1 - σ(b)) = 1 + e^b.

    Each step loses the share 1/τ of the state. The exact e-folding time is `decay_time`, shorter by
    ½ + 1/(12τ) + O(1/τ²) steps: they agree for long memories only.

    Args:
        bias: b, with zero input to the gate besides.

    Returns:
        Steps; inf where e^b is beyond the float range.

    Raises:
        ValueError: if the bias is not finite.

    References:
        Tallec, Ollivier 2018, arXiv:1804.11188.
    """
    finite("bias", bias)
    with np.errstate(over="ignore"):
        return float(1 + np.exp(bias))


def decay_time(bias: float) -> float:
    """The exact time in which a gate held at its bias lets its state fall to 1/e.

        σ(b)^k = e^(-k/τ),   τ = -1/ln σ(b) = 1/softplus(-b)

    Args:
        bias: b, with zero input to the gate besides.

    Returns:
        Steps; below 1 for a gate more shut than 1/e, inf where it is beyond the float range.

    Raises:
        ValueError: if the bias is not finite.

    References:
        Tallec, Ollivier 2018, arXiv:1804.11188 (its first order, 1 + e^b).
    """
    finite("bias", bias)
    with np.errstate(over="ignore", divide="ignore"):
        return float(1 / _softplus(-bias))


def chrono_range(longest: float) -> ChronoRange:
    """The biases that chrono initialisation draws: b_f = ln u, u ~ U[1, T_max - 1], b_i = -b_f.

    The first-order time constants 1 + u are then uniform on [2, T_max].

    Args:
        longest: T_max, at least 2 steps.

    Returns:
        The ends of the range, and their time constants.

    Raises:
        ValueError: if T_max is below 2 or not finite.

    References:
        Tallec, Ollivier 2018, arXiv:1804.11188, eq. 16.
    """
    if not 2 <= longest < np.inf:
        raise ValueError(f"longest must be at least 2 steps and finite, got {longest}.")
    return ChronoRange(0.0, float(np.log(longest - 1)), 2.0, float(longest))


def rest_multipliers(
    weight: float | complex,
    *,
    update_bias: float = 0.0,
    forget_bias: float = 0.0,
    input_bias: float = 0.0,
    output_bias: float = 0.0,
) -> PerCell:
    """What a step does to a small state of a tanh, GRU or LSTM cell at rest, exact.

        tanh    μ = ω                           h' = tanh(W h)
        GRU     μ = z + (1 - z) ω/2             z = σ(b_z) the share kept, reset gate ½
        LSTM    μ = σ(b_f) + σ(b_i) σ(b_o) ω    σ(b_f) + ω/4 with b_i = b_o = 0

    Eigenvalues of the Jacobian at zero state, zero input and zero candidate bias, one per
    eigenvalue ω of the candidate kernel W; no other kernel contributes there. The LSTM's whole
    state (h, c) has n more, all 0. Away from rest the gates move, and μ says nothing.

    Args:
        weight: ω, real or complex.
        update_bias: b_z of the GRU; positive keeps the state.
        forget_bias: b_f of the LSTM.
        input_bias: b_i of the LSTM; chrono initialisation has -b_f.
        output_bias: b_o of the LSTM.

    Returns:
        μ of each cell, per step.

    Raises:
        ValueError: if a bias is not finite.

    References:
        By differentiation. The cells: Cho et al. 2014, arXiv:1406.1078; Gers, Schmidhuber, Cummins
        2000, Neural Comput. 12, 2451.
    """
    keep = _gate("update_bias", update_bias)
    coupling = _gate("input_bias", input_bias) * _gate("output_bias", output_bias)
    lstm = _gate("forget_bias", forget_bias) + coupling * weight
    return PerCell(weight, keep + (1 - keep) * weight / 2, lstm)


def critical_scales(
    spectral_radius: float = 1.0,
    *,
    forget_bias: float = 0.0,
    input_bias: float = 0.0,
    output_bias: float = 0.0,
) -> PerCell:
    """The scales of the candidate kernel at which tanh, GRU and LSTM cells leave rest: |μ| = 1.

        tanh 1/ρ,   GRU 2/ρ whatever its update bias,   LSTM (1 - σ(b_f))/(σ(b_i) σ(b_o) ρ)

    The LSTM's is 4(1 - σ(b_f))/ρ with b_i = b_o = 0: a forget bias keeps memory and lowers the
    scale at which the cell explodes. Exact where an eigenvalue of largest magnitude is real and
    positive (identity; large random matrices, whose eigenvalues fill a disc), else a lower bound.

    Args:
        spectral_radius: ρ > 0 of the candidate kernel at scale 1.
        forget_bias: b_f of the LSTM.
        input_bias: b_i of the LSTM.
        output_bias: b_o of the LSTM.

    Returns:
        One scale per cell.

    Raises:
        ValueError: if ρ is not positive or a bias is not finite.

    References:
        |μ| = 1 in `rest_multipliers`.
    """
    positive("spectral_radius", spectral_radius)
    coupling = _gate("input_bias", input_bias) * _gate("output_bias", output_bias)
    lost = 1 - _gate("forget_bias", forget_bias)
    return PerCell(1 / spectral_radius, 2 / spectral_radius, lost / (coupling * spectral_radius))


def mingru_exponent(mean: float, std: float) -> float:
    """The Lyapunov exponent of a minGRU unit: λ = E ln(1 - σ(a)) = -E softplus(a), a ~ N(m, s²).

    h' = (1 - z) h + z n with z = σ(a) a function of the input alone: exact for inputs that make the
    update pre-activation Gaussian, stationary and ergodic. Always negative.

    Args:
        mean: m of a.
        std: s of a, not negative.

    Returns:
        Nats per step.

    Raises:
        ValueError: if the mean is not finite or the deviation is negative.

    References:
        Feng et al. 2024, arXiv:2410.01201 (the cell).
    """
    finite("mean", mean)
    not_negative("std", std)
    return -gaussian_mean(_softplus, mean, std)


def minlstm_exponent(
    forget_mean: float, forget_std: float, input_mean: float, input_std: float
) -> float:
    """The Lyapunov exponent of a minLSTM unit: λ = E ln f/(f + i), f = σ(a_f), i = σ(a_i).

    h' = (f h + i n)/(f + i), with independent Gaussian pre-activations, functions of the input
    alone. Exact then, computed to about 1e-12 (for deviations up to 20, the largest tried).

    Args:
        forget_mean: of a_f.
        forget_std: of a_f, not negative.
        input_mean: of a_i.
        input_std: of a_i, not negative.

    Returns:
        Nats per step.

    Raises:
        ValueError: if a mean is not finite or a deviation is negative.

    References:
        Feng et al. 2024, arXiv:2410.01201 (the cell).
    """
    for name, mean, std in (("forget", forget_mean, forget_std), ("input", input_mean, input_std)):
        finite(f"{name}_mean", mean)
        not_negative(f"{name}_std", std)

    def given_forget(a_f: float) -> float:
        # ln(1 + i/f), with -ln σ(a) = softplus(-a).
        return gaussian_mean(
            lambda a_i: _softplus(_softplus(-a_f) - _softplus(-a_i)), input_mean, input_std
        )

    return -gaussian_mean(np.vectorize(given_forget, otypes=[float]), forget_mean, forget_std)


def _gate(name: str, bias: float) -> float:
    """The gate σ(b) held open by its bias alone."""
    finite(name, bias)
    return float(expit(bias))


def _softplus(x):
    """The softplus ln(1 + e^x)."""
    return np.logaddexp(0.0, x)
