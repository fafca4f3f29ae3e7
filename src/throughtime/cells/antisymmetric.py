"""A network that integrates a stable differential equation in small steps."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import sigmoid, tanh
from throughtime.cells.vector import VectorCell
from throughtime.initializers import Gain, Initializer, gaussian


class AntisymmetricCell(VectorCell):
    """Euler's method for an equation whose flow neither grows nor decays, but for γ.

    M = W − Wᵀ − γ I
    h' = h + ε tanh(M h + W_x x + b)              or, gated,
    h' = h + ε z ∘ tanh(M h + W_x x + b),         z = σ(M h + W_xz x + b_z)

    ``recurrent_scale`` is the gain of W alone: the entries of W − Wᵀ have variance 2 g²/N, and
    g = 0 leaves −γ I. The eigenvalues of M are iω − γ, with |ω| up to 2√2 g for Gaussian W. Where
    tanh' = 1 such a direction is stretched by |1 + ε (iω − γ)| a step, nearly 1 + ε²ω²/2 − εγ: the
    gradient lasts for about 1/(εγ) steps, unless ε²ω²/2 is more and it grows. The paper searches
    for ε in {0.01, 0.1, 1} and for γ; 0.01 for both, and so 10,000 steps, is chosen here.

    Args:
        in_features: d.
        hidden_features: N.
        recurrent_scale: gain of W.
        ensemble: of W; None is Gaussian. Of a symmetric one, such as the identity, nothing is left.
        input_scale: W_x ~ N(0, input_scale²/d), and W_xz.
        step_size: ε > 0.
        damping: γ.
        gated: with z, which reads the state by the same M.
        dtype: of the weights.
        rngs: nnx random streams.

    Raises:
        ValueError: if ε is not positive.

    Attributes:
        skew_kernel: W, ``(N, N)``.
        input_kernel: W_x, and beside it W_xz, ``(d, N)`` or ``(d, 2 N)``.
        bias: b, b_z, zeros ``(N,)`` or ``(2 N,)``.

    References:
        Chang, Chen, Haber, Chi 2019, AntisymmetricRNN, arXiv:1902.09689, section 3.
    """

    def __init__(  # noqa: PLR0913 (its own and those that all cells share)
        self,
        in_features: int,
        hidden_features: int,
        *,
        recurrent_scale: Gain = 1.0,
        ensemble: Initializer | None = None,
        input_scale: float = 1.0,
        step_size: float = 0.01,
        damping: float = 0.01,
        gated: bool = False,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        if not step_size > 0:
            raise ValueError(f"step_size must be > 0, not {step_size}.")
        drawn = gaussian() if ensemble is None else ensemble
        kernel = drawn(rngs.params(), (hidden_features, hidden_features), dtype)
        width = (2 if gated else 1) * hidden_features
        inputs = gaussian(input_scale)(rngs.params(), (in_features, width), dtype)
        self.in_features, self.hidden_features = in_features, hidden_features
        self.dtype = dtype
        self.step_size, self.damping, self.gated = step_size, damping, gated
        self.skew_kernel = nnx.Param(jnp.asarray(recurrent_scale, dtype) * kernel)
        self.input_kernel = nnx.Param(inputs)
        self.bias = nnx.Param(jnp.zeros(width, dtype))

    def terms(self, h: Float[Array, "*B n"], x: Float[Array, "*B d"]) -> list[Float[Array, "*B n"]]:
        """What tanh sees, and the gate if there is one.

        Args:
            h: h_{t−1}, ``(…, N)``.
            x: x_t, ``(…, d)``.

        Returns:
            One or two arrays ``(…, N)``.
        """
        w = self.skew_kernel[...]
        recurrent = h @ (w - w.T) - self.damping * h
        driven = x @ self.input_kernel[...]
        driven = driven + jnp.broadcast_to(self.bias[...], driven.shape)
        return [part + recurrent for part in jnp.split(driven, 2 if self.gated else 1, axis=-1)]

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        seen, *gate = self.terms(carry, inputs)
        change = tanh(seen)
        for terms in gate:
            change = sigmoid(terms) * change
        h = carry + self.step_size * change
        return h, h
