"""Minimal gated cells, whose gates and candidates see the input alone."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import sigmoid
from throughtime.cells.weightless import WeightlessCell
from throughtime.initializers import chrono


class MinimalCell(WeightlessCell):
    """A cell whose gates and candidate are affine in the input, x @ W_x + b, and nothing else.

    Args:
        in_features: d.
        hidden_features: N.
        forget_bias: b_f.
        chrono_steps: T_max of chrono initialisation, which then sets b_f; None for none.
        rngs: nnx random streams.
        **weights: recurrent_scale, input_scale, dtype, as in `WeightlessCell`.

    Attributes:
        bias: of all terms, ``(gates · N,)``.
    """

    gates: int

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        forget_bias: float = 0.0,
        chrono_steps: int | float | None = None,
        rngs: nnx.Rngs,
        **weights,
    ):
        width = self.gates * hidden_features
        super().__init__(in_features, hidden_features, width, rngs=rngs, **weights)
        if chrono_steps is None:
            b_f = jnp.full(hidden_features, forget_bias, self.dtype)
        else:
            b_f = chrono(chrono_steps)(rngs.params(), (hidden_features,), self.dtype)
        biases = self.biases(b_f, chrono_steps is not None)
        self.bias = nnx.Param(jnp.concatenate(biases))

    def biases(self, b_f: Float[Array, " n"], is_chrono: bool) -> list[Float[Array, " n"]]:
        """The biases of all terms at the start; a subclass has them.

        Args:
            b_f: the forget bias, ``(N,)``.
            is_chrono: whether it was drawn by chrono initialisation.

        Returns:
            One ``(N,)`` for each term.
        """
        raise NotImplementedError

    def input_terms(self, x: Float[Array, "*B d"]) -> Float[Array, "*B m"]:
        """The pre-activations of the gates, and the candidate n.

        Args:
            x: inputs ``(…, d)``.

        Returns:
            ``(…, gates · N)``.
        """
        terms = x @ self.input_kernel[...]
        return terms + jnp.broadcast_to(self.bias[...], terms.shape)


class MinGRUCell(MinimalCell):
    """The minimal GRU: a leaky average whose rate is gated by the input.

    z = σ(W_xz x + b_z)        n = W_xn x + b_n        h' = g (1 − z) ∘ h + z ∘ n

    The candidate n is linear, as in the paper's algorithm on plain numbers (that in log-space has
    g(W x), positive everywhere). An open update gate replaces the state, as with Cho; `GRUCell`
    keeps it. ``recurrent_scale`` is g: the Jacobian is diagonal, g (1 − z). The gate is held by
    b_z = −b_f, so that ``forget_bias`` b_f keeps a state for about 1 + e^{b_f} steps at g = 1: two
    at 0.

    Args:
        in_features: d.
        hidden_features: N.
        **options: forget_bias, chrono_steps, rngs and weights, as in `MinimalCell`.

    Attributes:
        bias: b_z = −b_f and b_n, zero at the start, ``(2 N,)``.

    References:
        Feng, Tung, Ahmed, Bengio, Hajimirsadeghi 2024, Were RNNs all we needed?, arXiv:2410.01201,
        sect. 3.1; Tallec, Ollivier 2018, arXiv:1804.11188 (chrono).
    """

    gates = 2

    def biases(self, b_f: Float[Array, " n"], is_chrono: bool) -> list[Float[Array, " n"]]:
        """b_z and b_n at the start.

        Args:
            b_f: the forget bias, ``(N,)``.
            is_chrono: makes no difference.

        Returns:
            −b_f and 0.
        """
        del is_chrono
        return [-b_f, jnp.zeros_like(b_f)]

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        a_z, n = jnp.split(self.input_terms(inputs), 2, axis=-1)
        # 1 − σ(a) = σ(−a), which loses no digits where the gate is open.
        h = self.constant_gain() * sigmoid(-a_z) * carry + sigmoid(a_z) * n
        return h, h


class MinLSTMCell(MinimalCell):
    """The minimal LSTM: a forget and an input gate, normalised to sum to 1.

    i = σ(W_xi x + b_i)        f = σ(W_xf x + b_f)        n = W_xn x + b_n
    h' = g f/(f + i) ∘ h + i/(f + i) ∘ n

    The candidate n is linear, as in the paper's algorithm on plain numbers. ``recurrent_scale`` is
    g: the Jacobian is diagonal, g f/(f + i). At g = 1 and forget bias b_f the state is kept for
    1 + 2 σ(b_f) steps: two at 0, and three at most, as i stays 1/2. Chrono initialisation, b_i =
    −b_f, closes the input gate too, and then it is 1 + e^{b_f}.

    Args:
        in_features: d.
        hidden_features: N.
        **options: forget_bias, chrono_steps, rngs and weights, as in `MinimalCell`.

    Attributes:
        bias: b_i, b_f and b_n, ``(3 N,)``; b_i is zero without chrono initialisation, b_n always.

    References:
        Feng, Tung, Ahmed, Bengio, Hajimirsadeghi 2024, Were RNNs all we needed?, arXiv:2410.01201,
        sect. 3.2; Tallec, Ollivier 2018, arXiv:1804.11188 (chrono).
    """

    gates = 3

    def biases(self, b_f: Float[Array, " n"], is_chrono: bool) -> list[Float[Array, " n"]]:
        """b_i, b_f and b_n at the start.

        Args:
            b_f: the forget bias, ``(N,)``.
            is_chrono: then b_i = −b_f.

        Returns:
            Three ``(N,)``.
        """
        zeros = jnp.zeros_like(b_f)
        return [-b_f if is_chrono else zeros, b_f, zeros]

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        a_i, a_f, n = jnp.split(self.input_terms(inputs), 3, axis=-1)
        # f/(f + i) = σ(ln f − ln i): a ratio of gates that may both be below the float range.
        a = jax.nn.log_sigmoid(a_f) - jax.nn.log_sigmoid(a_i)
        h = self.constant_gain() * sigmoid(a) * carry + sigmoid(-a) * n
        return h, h
