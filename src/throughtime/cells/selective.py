"""The selective state space of Mamba, whose step size is the input's to choose."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.weightless import WeightlessCell, draw_steps


class SelectiveCell(WeightlessCell):
    """The recurrence of Mamba: how long it remembers depends on what it reads.

    Δ = softplus(W_xΔ x + b)        u = W_xu x        B = W_xB x
    h'_{cj} = g exp(−Δ_c exp(ν_{cj})) h_{cj} + Δ_c B_j u_c,    j = 1 … n, c = 1 … N/n

    N/n channels have n numbers of state each, channel after channel; exp(ν_{cj}) = j at the start
    (S4D-Real), so that with n = 1, the default, all of A is −1, h' = g σ(−a) h + … with a the
    pre-activation of Δ. B is the same for all channels. The input enters by Δ B, Mamba's shorter
    form of the zero-order hold, and without its convolution; W_xΔ is of full rank; C(x) and D,
    Mamba's read-out, are left to the read-out. ``recurrent_scale`` is g: the Jacobian is diagonal
    and depends on the input alone. b is drawn so that softplus(b) is log-uniform in [dt_min,
    dt_max]: at rest a number is kept for 1/(j softplus(b)) steps, 10 to 1000 with n = 1.

    Args:
        in_features: d.
        hidden_features: N.
        channel_size: n, which divides N; Mamba's is 16.
        dt_min: of softplus(b); 0.001 is Mamba's.
        dt_max: of softplus(b); 0.1 is Mamba's.
        rngs: nnx random streams.
        **weights: recurrent_scale, input_scale, dtype, as in `WeightlessCell`.

    Attributes:
        input_kernel: W_xΔ, W_xu, W_xB, ``(d, 2 N/n + n)``.
        step_bias: b, ``(N/n,)``.
        log_decay: ν, ``(N,)``.

    Raises:
        ValueError: if n does not divide N or the range of Δ is none.

    References:
        Gu, Dao 2023, Mamba: linear-time sequence modeling with selective state spaces,
        arXiv:2312.00752, algorithm 2, sect. 3.6 and theorem 1.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        channel_size: int = 1,
        dt_min: int | float = 0.001,
        dt_max: int | float = 0.1,
        rngs: nnx.Rngs,
        **weights,
    ):
        if channel_size < 1 or hidden_features % channel_size:
            raise ValueError(
                f"channel_size must divide hidden_features={hidden_features}, not be "
                f"{channel_size}."
            )
        channels = hidden_features // channel_size
        width = 2 * channels + channel_size
        super().__init__(in_features, hidden_features, width, rngs=rngs, **weights)
        self.channel_size = channel_size
        steps = jnp.exp(draw_steps(rngs.params(), channels, dt_min, dt_max, self.dtype))
        # The inverse of the softplus, Δ + ln(1 − e^−Δ).
        self.step_bias = nnx.Param((steps + jnp.log(-jnp.expm1(-steps))).astype(self.dtype))
        decays = jnp.tile(jnp.arange(1, channel_size + 1, dtype=steps.dtype), channels)
        self.log_decay = nnx.Param(jnp.log(decays).astype(self.dtype))

    def kept(self, x: Float[Array, "*B d"]) -> Float[Array, "*B n"]:
        """What is kept of each number at an input, without g: exp(−Δ exp(ν)), from 0 to 1.

        Args:
            x: inputs ``(…, d)``.

        Returns:
            ``(…, N)``.
        """
        return self._read(x)[0]

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        kept, driven = self._read(inputs)
        h = self.constant_gain() * kept * carry + driven
        return h, h

    def _read(self, x: Float[Array, "*B d"]) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """What is kept, and what is added, at an input."""
        channels = self.hidden_features // self.channel_size
        a, u, b = jnp.split(x @ self.input_kernel[...], [channels, 2 * channels], axis=-1)
        step = jax.nn.softplus(a + jnp.broadcast_to(self.step_bias[...], a.shape))
        driven = jnp.repeat(step * u, self.channel_size, axis=-1) * jnp.tile(b, channels)
        steps = jnp.repeat(step, self.channel_size, axis=-1)
        decays = jnp.broadcast_to(jnp.exp(self.log_decay[...]), steps.shape)
        return jnp.exp(-steps * decays), driven
