"""Two variants of the long short-term memory: gates that see the cell, and gates that are one."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import sigmoid, tanh
from throughtime.cells.lstm import LSTMCell
from throughtime.initializers import Gain, gaussian

Carry = tuple[Float[Array, "*B n"], Float[Array, "*B n"]]


class PeepholeLSTMCell(LSTMCell):
    """An LSTM whose gates also see the cell, each unit its own.

    i = σ(W_xi x + b_i + W_hi h + p_i ∘ c)     f = σ(W_xf x + b_f + W_hf h + p_f ∘ c)
    g = tanh(W_xg x + b_g + W_hg h)
    c' = f ∘ c + i ∘ g
    o = σ(W_xo x + b_o + W_ho h + p_o ∘ c')    h' = o ∘ tanh(c')

    The peepholes p are drawn, N(0, recurrent_scale²/N), as one weight of a Gaussian W_h is; were
    they zero, the cell would be the plain LSTM until it is trained. ``recurrent_scale`` is so the
    gain of all that reads the state. The cell path is no longer multiplied by f alone: the gates
    see c. For about 1 + e^{b_f} steps it lasts, if the peepholes are small.

    Args:
        in_features: d.
        hidden_features: N; the state has 2 N numbers.
        recurrent_scale: gain of the W_h and of the peepholes.
        dtype: of weights and state.
        rngs: nnx random streams.
        **options: forget_bias, chrono_steps, ensemble (of the W_h), input_scale, layer_norm (of
            x @ W_x and h @ W_h, not of the peepholes), as in `LSTMCell`.

    Attributes:
        peepholes: p_i, p_f, p_o, the columns of ``(N, 3)``.

    References:
        Gers, Schmidhuber 2000, Recurrent nets that time and count; Greff et al. 2017, LSTM: a
        search space odyssey, arXiv:1503.04069, section 2 (the vanilla LSTM).
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        recurrent_scale: Gain = 1.0,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
        **options,
    ):
        options |= {"recurrent_scale": recurrent_scale, "dtype": dtype, "rngs": rngs}
        super().__init__(in_features, hidden_features, **options)
        drawn = gaussian(recurrent_scale)(rngs.params(), (hidden_features, 3), dtype)
        self.peepholes = nnx.Param(drawn)

    def opened(self, carry: Carry, inputs: Float[Array, "*B d"]) -> tuple[Array, ...]:
        """The gates of a step, and the cell after it.

        Args:
            carry: (c_{t−1}, h_{t−1}), each ``(…, N)``.
            inputs: x_t, ``(…, d)``.

        Returns:
            i, f, o and c_t, each ``(…, N)``.
        """
        c, h = carry
        i, f, g, o = jnp.split(self.input_terms(inputs) + self.recurrent_terms(h), 4, axis=-1)
        p_i, p_f, p_o = (jnp.broadcast_to(p, c.shape) for p in self.peepholes[...].T)
        i, f = sigmoid(i + p_i * c), sigmoid(f + p_f * c)
        c = f * c + i * tanh(g)
        return i, f, sigmoid(o + p_o * c), c

    def __call__(
        self, carry: Carry, inputs: Float[Array, "*B d"]
    ) -> tuple[Carry, Float[Array, "*B n"]]:
        """One step; see the class.

        Args:
            carry: (c_{t−1}, h_{t−1}), each ``(…, N)``.
            inputs: x_t, ``(…, d)``.

        Returns:
            (c_t, h_t) and the output h_t.
        """
        _, _, o, c = self.opened(carry, inputs)
        h = o * tanh(c)
        return (c, h), h


class CoupledLSTMCell(LSTMCell):
    """An LSTM that lets in as much as it forgets, i = 1 − f, and so has one gate less.

    f = σ(W_xf x + b_f + W_hf h)       g = tanh(W_xg x + b_g + W_hg h)
    o = σ(W_xo x + b_o + W_ho h)
    c' = f ∘ c + (1 − f) ∘ g           h' = o ∘ tanh(c')

    Without peepholes. ``recurrent_scale`` is the common gain of W_hf, W_hg and W_ho. Along the cell
    path the gradient is multiplied by f, so at forget bias b_f it lasts for about 1 + e^{b_f}
    steps: two at 0; |c| stays below 1.

    Args:
        in_features: d.
        hidden_features: N; the state has 2 N numbers.
        rngs: nnx random streams.
        **options: forget_bias, chrono_steps (which sets b_f, and so 1 − f), and those of
            `GatedCell`, as in `LSTMCell`.

    Attributes:
        bias: b_f, b_g, b_o, ``(3 N,)``.

    References:
        Greff et al. 2017, LSTM: a search space odyssey, arXiv:1503.04069, section 3 (CIFG).
    """

    gates = 3
    blocks = "fgo"

    def __call__(
        self, carry: Carry, inputs: Float[Array, "*B d"]
    ) -> tuple[Carry, Float[Array, "*B n"]]:
        """One step; see the class.

        Args:
            carry: (c_{t−1}, h_{t−1}), each ``(…, N)``.
            inputs: x_t, ``(…, d)``.

        Returns:
            (c_t, h_t) and the output h_t.
        """
        c, h = carry
        f, g, o = jnp.split(self.input_terms(inputs) + self.recurrent_terms(h), 3, axis=-1)
        c = sigmoid(f) * c + sigmoid(-f) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (c, h), h
