"""Linear recurrences with complex coefficients of their own for each unit: the LRU and S5.

A complex unit is two real numbers. The state ``(…, N)`` has the real parts of all N/2 units, then
their imaginary parts; so do the terms of the input.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.weightless import WeightlessCell, draw_steps
from throughtime.scaled import at_least_float32

Pair = tuple[Float[Array, " m"], Float[Array, " m"]]
"""The real and the imaginary parts of complex numbers."""


class ComplexDiagonalCell(WeightlessCell):
    """A linear diagonal recurrence of N/2 complex units.

    h' = g λ ∘ h + β ∘ (W_x x),    E|W_x|² = input_scale²/d, real and imaginary part alike

    ``recurrent_scale`` is g. The state does not enter the Jacobian: N/2 blocks g (Re λ, −Im λ;
    Im λ, Re λ), whose exponents are ln g |λ|, each twice.

    Raises:
        ValueError: if N is odd.
    """

    def __init__(self, in_features: int, hidden_features: int, *, rngs: nnx.Rngs, **weights):
        if hidden_features % 2:
            raise ValueError(
                "a complex unit is two real numbers: hidden_features must be even, not "
                f"{hidden_features}."
            )
        super().__init__(in_features, hidden_features, hidden_features, rngs=rngs, **weights)
        self.input_kernel[...] = self.input_kernel[...] * 0.5**0.5

    def coefficients(self) -> tuple[Pair, Pair]:
        """What multiplies the state and the input, without g; a subclass has them.

        Returns:
            λ and β, each a pair ``(N/2,)``.
        """
        raise NotImplementedError

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step; see the class.

        Args:
            carry: h_{t−1}, ``(…, N)``, real parts before imaginary ones.
            inputs: x_t, ``(…, d)``.

        Returns:
            h_t, twice: as the carry and as the output.
        """
        kept, let_in = self.coefficients()
        driven = _times(let_in, inputs @ self.input_kernel[...])
        h = self.constant_gain() * _times(kept, carry) + driven
        return h, h


def _times(coefficient: Pair, state: Float[Array, "*B n"]) -> Float[Array, "*B n"]:
    """The complex product, unit by unit, computed as the state is."""
    x, y = jnp.split(state, 2, axis=-1)
    re, im = (jnp.broadcast_to(part.astype(x.dtype), x.shape) for part in coefficient)
    return jnp.concatenate([re * x - im * y, re * y + im * x], axis=-1)


def _wide(parameter) -> Float[Array, "*m"]:
    """A parameter in at least float32: exp of a rounded logarithm loses digits twice."""
    return parameter[...].astype(at_least_float32(parameter[...].dtype))


class LRUCell(ComplexDiagonalCell):
    """The linear recurrent unit: stable coefficients drawn evenly from a ring of the complex plane.

    h' = g λ ∘ h + exp(γ) ∘ (W_x x),    λ = exp(−exp(ν) + i exp(θ)),    γ = ½ ln(1 − |λ|²)

    |λ|² ~ U(r_min², r_max²) and arg λ ~ U(0, max_phase) at the start; exp(γ) gives the state the
    variance of W_x x for white inputs, at g = 1. ν, θ and γ are trained each by itself, |λ| < 1
    always. ``recurrent_scale`` is g. A unit keeps a state for −1/ln|λ| steps; with the default
    ring, the whole disc, for a median of 2.9.

    Over many units E|λ|^{2k} = (r_max^{2k+2} − r_min^{2k+2})/((k + 1)(r_max² − r_min²)): with
    r_max = 1 a power law of the lag k, and no exponential.

    Args:
        in_features: d.
        hidden_features: N, even.
        r_min: from 0, the paper's default (its long sequences have 0.9 and more).
        r_max: from r_min to 1; the ring is neither 0 nor the unit circle.
        max_phase: of arg λ, radians; 2 π is the paper's default.
        rngs: nnx random streams.
        **weights: recurrent_scale, input_scale, dtype, as in `WeightlessCell`.

    Attributes:
        log_decay: ν, ``(N/2,)``.
        log_phase: θ, ``(N/2,)``.
        log_input_gain: γ, ``(N/2,)``.

    Raises:
        ValueError: if N is odd or the ring is none.

    References:
        Orvieto et al. 2023, Resurrecting recurrent neural networks for long sequences,
        arXiv:2303.06349, sect. 3.3, 3.4 and the code of its appendix A.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        r_min: int | float = 0.0,
        r_max: int | float = 1.0,
        max_phase: int | float = 2 * math.pi,
        rngs: nnx.Rngs,
        **weights,
    ):
        super().__init__(in_features, hidden_features, rngs=rngs, **weights)
        if not (0 <= r_min <= r_max <= 1 and r_max > 0 and r_min < 1):
            raise ValueError(
                "a ring needs 0 <= r_min <= r_max <= 1, r_min < 1 and r_max > 0, not "
                f"{r_min} and {r_max}."
            )
        if not 0 < max_phase < math.inf:
            raise ValueError(f"max_phase must be > 0 and finite, not {max_phase}.")
        units, wide = (hidden_features // 2,), at_least_float32(self.dtype)
        # Never 0, of which there is no logarithm; drawn in float32 for all dtypes.
        draws = [
            jax.random.uniform(rngs.params(), units, jnp.float32, minval=2.0**-24).astype(wide)
            for _ in range(2)
        ]
        # |λ|² and 1 − |λ|², each a sum, so that neither is rounded to 0 by a difference.
        square = r_min**2 + (1 - draws[0]) * (r_max**2 - r_min**2)
        lost = (1 - r_max**2) + draws[0] * (r_max**2 - r_min**2)
        doubled = -jnp.where(lost < 0.5, jnp.log1p(-lost), jnp.log(square))
        self.log_decay = nnx.Param(jnp.log(doubled / 2).astype(self.dtype))
        self.log_phase = nnx.Param(jnp.log(max_phase * draws[1]).astype(self.dtype))
        self.log_input_gain = nnx.Param((0.5 * jnp.log(lost)).astype(self.dtype))

    def coefficients(self) -> tuple[Pair, Pair]:
        """What multiplies the state and the input, without g.

        Returns:
            λ and exp(γ), each a pair ``(N/2,)``.
        """
        modulus = jnp.exp(-jnp.exp(_wide(self.log_decay)))
        angle = jnp.exp(_wide(self.log_phase))
        let_in = jnp.exp(_wide(self.log_input_gain))
        return (
            (modulus * jnp.cos(angle), modulus * jnp.sin(angle)),
            (let_in, jnp.zeros_like(let_in)),
        )


class S5Cell(ComplexDiagonalCell):
    """A diagonal state space (S5), held between samples: oscillators that all decay alike in time.

    h' = g exp(Δ a) ∘ h + (exp(Δ a) − 1)/a ∘ (W_x x),    a_j = −exp(ν_j) + i ω_j

    ν = ln ½ and ω_j = π j, j = 0 … N/2 − 1, at the start (S4D-Lin, nearly the eigenvalues of
    HiPPO-LegS in its normal form), and Δ is drawn for each unit, log-uniform in [dt_min, dt_max].
    Where the paper has V^{−1} B, with V the eigenvectors, W_x is drawn. ``recurrent_scale`` is g. A
    unit keeps a state for 2/Δ steps: 20 to 2000 with the defaults, on a logarithmic scale.

    Args:
        in_features: d.
        hidden_features: N, even.
        dt_min: of Δ; 0.001 is the paper's default.
        dt_max: of Δ; 0.1 is the paper's default.
        rngs: nnx random streams.
        **weights: recurrent_scale, input_scale, dtype, as in `WeightlessCell`.

    Attributes:
        log_decay: ν, ``(N/2,)``.
        frequency: ω, ``(N/2,)``, radians per unit of time.
        log_step: ln Δ, ``(N/2,)``.

    Raises:
        ValueError: if N is odd or the range of Δ is none.

    References:
        Smith, Warrington, Linderman 2023, Simplified state space layers for sequence modeling,
        arXiv:2208.04933, sect. 3; Gu, Gupta, Goel, Ré 2022, On the parameterization
        and initialization of diagonal state space models, arXiv:2206.11893 (S4D-Lin).
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        dt_min: int | float = 0.001,
        dt_max: int | float = 0.1,
        rngs: nnx.Rngs,
        **weights,
    ):
        super().__init__(in_features, hidden_features, rngs=rngs, **weights)
        units = hidden_features // 2
        steps = draw_steps(rngs.params(), units, dt_min, dt_max, self.dtype)
        self.log_decay = nnx.Param(jnp.full(units, math.log(0.5), self.dtype))
        self.frequency = nnx.Param(
            (math.pi * jnp.arange(units, dtype=steps.dtype)).astype(self.dtype)
        )
        self.log_step = nnx.Param(steps.astype(self.dtype))

    def coefficients(self) -> tuple[Pair, Pair]:
        """What multiplies the state and the input, without g.

        Returns:
            exp(Δ a) and (exp(Δ a) − 1)/a, each a pair ``(N/2,)``.
        """
        step, decay = jnp.exp(_wide(self.log_step)), jnp.exp(_wide(self.log_decay))
        frequency = _wide(self.frequency)
        modulus, angle = jnp.exp(-step * decay), step * frequency
        re, im = modulus * jnp.cos(angle), modulus * jnp.sin(angle)
        # exp(Δ a) − 1 without its difference of nearly equal numbers.
        less = jnp.expm1(-step * decay) * jnp.cos(angle) - 2 * jnp.square(jnp.sin(angle / 2))
        square = jnp.square(decay) + jnp.square(frequency)
        return (re, im), (
            (im * frequency - less * decay) / square,
            -(im * decay + less * frequency) / square,
        )
