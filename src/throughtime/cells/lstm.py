"""The long short-term memory."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import sigmoid, tanh
from throughtime.cells.recurrent import GatedCell


class LSTMCell(GatedCell):
    """The long short-term memory with forget gate; its state is (c, h), both of them.

    i = σ(W_xi x + b_i + W_hi h)        f = σ(W_xf x + b_f + W_hf h)
    g = tanh(W_xg x + b_g + W_hg h)     o = σ(W_xo x + b_o + W_ho h)
    c' = f ∘ c + i ∘ g                  h' = o ∘ tanh(c')

    ``recurrent_scale`` is the common gain of W_hi, W_hf, W_hg and W_ho. Along the cell path the
    gradient is multiplied by f, so at forget bias b_f it lasts for about 1 + e^{b_f} steps: two at
    0, Flax's default (PyTorch draws small biases around 0).

    Args:
        in_features: d.
        hidden_features: N; the state has 2 N numbers.
        forget_bias: b_f.
        chrono_steps: T_max of chrono initialisation, which then sets b_f and b_i = −b_f; None for
            none.
        rngs: nnx random streams.
        **weights: recurrent_scale, ensemble, input_scale, layer_norm, dtype, as in `GatedCell`.

    Attributes:
        bias: b_i, b_f, b_g, b_o, ``(4 N,)``.
        blocks: the names of the gates, in the order in which they lie in kernels and bias.

    References:
        Hochreiter, Schmidhuber 1997; Gers, Schmidhuber, Cummins 2000, Learning to forget;
        Jozefowicz, Zaremba, Sutskever 2015 (forget bias 1); Tallec, Ollivier 2018,
        arXiv:1804.11188 (chrono).
    """

    gates = 4
    blocks = "ifgo"

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
        super().__init__(in_features, hidden_features, rngs=rngs, **weights)
        b_f = self.keeping_bias(forget_bias, chrono_steps, rngs)
        biases = {"f": b_f} if chrono_steps is None else {"f": b_f, "i": -b_f}
        self.bias[...] = jnp.concatenate([biases.get(one, 0 * b_f) for one in self.blocks])

    def __call__(
        self,
        carry: tuple[Float[Array, "*B n"], Float[Array, "*B n"]],
        inputs: Float[Array, "*B d"],
    ) -> tuple[tuple[Float[Array, "*B n"], Float[Array, "*B n"]], Float[Array, "*B n"]]:
        """One step; see the class.

        Args:
            carry: (c_{t−1}, h_{t−1}), each ``(…, N)``, in Flax's order.
            inputs: x_t, ``(…, d)``.

        Returns:
            (c_t, h_t) and the output h_t.
        """
        c, h = carry
        gates = self.input_terms(inputs) + self.recurrent_terms(h)
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (c, h), h

    def start(self, batch: tuple[int, ...]) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """The state before the first input.

        Args:
            batch: the shape of the batch, ``(…)``.

        Returns:
            (c_0, h_0), zeros ``(…, N)`` each.
        """
        zeros = super().start(batch)
        return zeros, zeros
