"""The gated recurrent unit."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import sigmoid, tanh
from throughtime.cells.recurrent import GatedCell


class GRUCell(GatedCell):
    """The gated recurrent unit, in the form of PyTorch, cuDNN and Flax.

    r = σ(W_xr x + b_r + W_hr h)
    z = σ(W_xz x + b_z + W_hz h)
    n = tanh(W_xn x + b_n + r ∘ (W_hn h + c_n))
    h' = (1 − z) ∘ n + z ∘ h

    The reset gate acts after the recurrent product (Cho's first version: before), and an open
    update gate keeps the state (Cho: replaces it). ``recurrent_scale`` is the common gain of W_hr,
    W_hz and W_hn. At ``update_bias`` b_z the gate alone keeps a state for about 1 + e^{b_z} steps.

    Args:
        in_features: d.
        hidden_features: N.
        update_bias: b_z.
        chrono_steps: T_max of chrono initialisation, which then sets b_z; None for none.
        rngs: nnx random streams.
        **weights: recurrent_scale, ensemble, input_scale, layer_norm, dtype, as in `GatedCell`.

    Attributes:
        bias: b_r, b_z, b_n, ``(3 N,)``.
        candidate_bias: c_n, ``(N,)``.

    References:
        Cho et al. 2014, arXiv:1406.1078; Tallec, Ollivier 2018, arXiv:1804.11188.
    """

    gates = 3

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
        bias, update = self.bias[...], self.keeping_bias(update_bias, chrono_steps, rngs)
        self.bias[...] = bias.at[hidden_features : 2 * hidden_features].set(update)
        self.candidate_bias = nnx.Param(jnp.zeros(hidden_features, bias.dtype))

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        x_r, x_z, x_n = jnp.split(self.input_terms(inputs), 3, axis=-1)
        h_r, h_z, h_n = jnp.split(self.recurrent_terms(carry), 3, axis=-1)
        r = sigmoid(x_r + h_r)
        z = sigmoid(x_z + h_z)
        n = tanh(x_n + r * (h_n + jnp.broadcast_to(self.candidate_bias[...], h_n.shape)))
        h = (1 - z) * n + z * carry
        return h, h
