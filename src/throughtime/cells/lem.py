"""The long expressive memory: a network whose units choose their time steps."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import sigmoid, tanh
from throughtime.cells.recurrent import GatedCell

Carry = tuple[Float[Array, "*B n"], Float[Array, "*B n"]]


class LEMCell(GatedCell):
    """Long expressive memory: two coupled equations, each unit of each with a time step of its own.

    s = Δt σ(W_xs x + b_s + W_hs y)               q = Δt σ(W_xq x + b_q + W_hq y)
    z' = (1 − s) ∘ z + s ∘ tanh(W_xz x + b_z + W_hz y)
    y' = (1 − q) ∘ y + q ∘ tanh(W_xy x + b_y + W_hy z')

    s and q are the paper's Δt_n and Δt_n with a bar. ``recurrent_scale`` is the common gain of
    W_hs, W_hq, W_hz and W_hy. On their own z and y last for 1/s and 1/q steps: two at Δt = 1 and
    zero biases, the default (the paper has Δt = 1 for most tasks).

    Args:
        in_features: d.
        hidden_features: N; the state has 2 N numbers.
        step_size: Δt > 0; above 1 a step may overshoot.
        rngs: nnx random streams.
        **weights: recurrent_scale, ensemble, input_scale, layer_norm, dtype, as in `GatedCell`.

    Raises:
        ValueError: if Δt is not positive.

    Attributes:
        bias: b_s, b_q, b_z, b_y, zeros ``(4 N,)``.

    References:
        Rusch, Mishra, Erichson, Mahoney 2022, Long expressive memory, arXiv:2110.04744, eq. 3.
    """

    gates = 4

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        step_size: float = 1.0,
        rngs: nnx.Rngs,
        **weights,
    ):
        if not step_size > 0:
            raise ValueError(f"step_size must be > 0, not {step_size}.")
        super().__init__(in_features, hidden_features, rngs=rngs, **weights)
        self.step_size = step_size

    def __call__(
        self, carry: Carry, inputs: Float[Array, "*B d"]
    ) -> tuple[Carry, Float[Array, "*B n"]]:
        """One step; see the class.

        Args:
            carry: (z_{t−1}, y_{t−1}), each ``(…, N)``.
            inputs: x_t, ``(…, d)``.

        Returns:
            (z_t, y_t) and the output y_t.
        """
        z, y = carry
        x_s, x_q, x_z, x_y = jnp.split(self.input_terms(inputs), 4, axis=-1)
        h_s, h_q, h_z = jnp.split(self.recurrent_terms(y, 0, 3), 3, axis=-1)
        s = self.step_size * sigmoid(x_s + h_s)
        q = self.step_size * sigmoid(x_q + h_q)
        z = (1 - s) * z + s * tanh(x_z + h_z)
        y = (1 - q) * y + q * tanh(x_y + self.recurrent_terms(z, 3))
        return (z, y), y

    def start(self, batch: tuple[int, ...]) -> Carry:
        """The state before the first input.

        Args:
            batch: the shape of the batch, ``(…)``.

        Returns:
            (z_0, y_0), zeros ``(…, N)`` each.
        """
        zeros = super().start(batch)
        return zeros, zeros
