"""Cells with a single gate, which both keeps the state and lets the new one in."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import sigmoid, tanh
from throughtime.cells.recurrent import GatedCell
from throughtime.initializers import gaussian


class MGUCell(GatedCell):
    """The minimal gated unit: a GRU whose one gate both resets and updates.

    f = σ(W_xf x + b_f + W_hf h)
    n = tanh(W_xn x + b_n + W_hn (f ∘ h))
    h' = (1 − f) ∘ h + f ∘ n

    As in the paper an open gate replaces the state, and the gate acts before the recurrent
    product. ``update_bias`` is that of the GRU, a positive one keeps: b_f = −update_bias.
    ``recurrent_scale`` is the common gain of W_hf and W_hn. The gate alone keeps a state for about
    1 + e^update_bias steps: two at 0.

    Args:
        in_features: d.
        hidden_features: N.
        update_bias: −b_f.
        chrono_steps: T_max of chrono initialisation, which then sets −b_f; None for none.
        rngs: nnx random streams.
        **weights: recurrent_scale, ensemble, input_scale, layer_norm, dtype, as in `GatedCell`.

    Attributes:
        bias: b_f, b_n, ``(2 N,)``.

    References:
        Zhou, Wu, Zhang, Zhou 2016, Minimal gated unit for recurrent neural networks,
        arXiv:1603.09420, table 1.
    """

    gates = 2

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        update_bias: float = 0.0,
        chrono_steps: int | float | None = None,
        rngs: nnx.Rngs,
        **weights,
    ):
        super().__init__(in_features, hidden_features, rngs=rngs, **weights)
        kept = self.keeping_bias(update_bias, chrono_steps, rngs)
        self.bias[...] = jnp.concatenate([-kept, 0 * kept])

    def gate_terms(
        self, h: Float[Array, "*B n"], x: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """What the gate sees, and the input's part of what the candidate sees.

        Args:
            h: h_{t−1}, ``(…, N)``.
            x: x_t, ``(…, d)``.

        Returns:
            Both ``(…, N)``; f is the logistic function of the first.
        """
        x_f, x_n = jnp.split(self.input_terms(x), 2, axis=-1)
        return x_f + self.recurrent_terms(h, 0, 1), x_n

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        a, x_n = self.gate_terms(carry, inputs)
        f = sigmoid(a)
        n = tanh(x_n + self.recurrent_terms(f * carry, 1))
        h = sigmoid(-a) * carry + f * n
        return h, h


class UGRNNCell(GatedCell):
    """The update gate network: a GRU without reset gate.

    g = σ(W_xg x + b_g + W_hg h)
    n = tanh(W_xn x + b_n + W_hn h)
    h' = g ∘ h + (1 − g) ∘ n

    ``recurrent_scale`` is the common gain of W_hg and W_hn. At ``update_bias`` b_g the gate alone
    keeps a state for about 1 + e^{b_g} steps: two at 0 (the paper searches for b_g, its b^{fg};
    TensorFlow's version has 1).

    Args:
        in_features: d.
        hidden_features: N.
        update_bias: b_g.
        chrono_steps: T_max of chrono initialisation, which then sets b_g; None for none.
        rngs: nnx random streams.
        **weights: recurrent_scale, ensemble, input_scale, layer_norm, dtype, as in `GatedCell`.

    Attributes:
        bias: b_g, b_n, ``(2 N,)``.

    References:
        Collins, Sohl-Dickstein, Sussillo 2017, Capacity and trainability in recurrent neural
        networks, arXiv:1611.09913, section 1.1.
    """

    gates = 2

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        update_bias: float = 0.0,
        chrono_steps: int | float | None = None,
        rngs: nnx.Rngs,
        **weights,
    ):
        super().__init__(in_features, hidden_features, rngs=rngs, **weights)
        kept = self.keeping_bias(update_bias, chrono_steps, rngs)
        self.bias[...] = jnp.concatenate([kept, 0 * kept])

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        terms = self.input_terms(inputs) + self.recurrent_terms(carry)
        g, n = jnp.split(terms, 2, axis=-1)
        h = sigmoid(g) * carry + sigmoid(-g) * tanh(n)
        return h, h


class MinimalRNNCell(GatedCell):
    """The minimalRNN: the state moves towards a code of the input, its weights act in a gate alone.

    z = tanh(W_x x + b)
    u = σ(W_h h + W_z z + b_u)
    h' = u ∘ h + (1 − u) ∘ z

    With the encoder Φ of one tanh layer. The mean field theory of 2018 takes z itself for the
    input, Gaussian; its σ_w is ``recurrent_scale``, the gain of W_h, and its σ_v ``input_scale``,
    which is here the gain of both W_x and W_z: W_z ~ N(0, input_scale²/N). The gate alone keeps a
    state for about 1 + e^{b_u} steps: two at ``update_bias`` 0.

    Args:
        in_features: d.
        hidden_features: N.
        update_bias: b_u.
        chrono_steps: T_max of chrono initialisation, which then sets b_u; None for none.
        input_scale: gain of W_x and W_z.
        rngs: nnx random streams.
        **weights: recurrent_scale, ensemble, layer_norm, dtype, as in `GatedCell`; z @ W_z is not
            normalised.

    Attributes:
        bias: b, ``(N,)``, zeros.
        code_kernel: W_z, ``(N, N)``.
        gate_bias: b_u, ``(N,)``.

    References:
        Chen 2017, MinimalRNN, arXiv:1711.06788, section 2; Chen, Pennington, Schoenholz 2018,
        arXiv:1806.05394, eq. 5.
    """

    gates = 1

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        update_bias: float = 0.0,
        chrono_steps: int | float | None = None,
        input_scale: float = 1.0,
        rngs: nnx.Rngs,
        **weights,
    ):
        super().__init__(
            in_features, hidden_features, input_scale=input_scale, rngs=rngs, **weights
        )
        shape = (hidden_features, hidden_features)
        self.code_kernel = nnx.Param(gaussian(input_scale)(rngs.params(), shape, self.dtype))
        self.gate_bias = nnx.Param(self.keeping_bias(update_bias, chrono_steps, rngs))

    def gate_terms(
        self, h: Float[Array, "*B n"], x: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """What the gate sees, and the code of the input.

        Args:
            h: h_{t−1}, ``(…, N)``.
            x: x_t, ``(…, d)``.

        Returns:
            Both ``(…, N)``; u is the logistic function of the first, the second is z.
        """
        z = tanh(self.input_terms(x))
        terms = self.recurrent_terms(h) + z @ self.code_kernel[...]
        return terms + jnp.broadcast_to(self.gate_bias[...], terms.shape), z

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        u, z = self.gate_terms(carry, inputs)
        h = sigmoid(u) * carry + sigmoid(-u) * z
        return h, h
