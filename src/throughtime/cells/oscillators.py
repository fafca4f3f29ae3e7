"""A network of driven, damped oscillators."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import tanh
from throughtime.cells.vector import VectorCell
from throughtime.initializers import Gain, Initializer, gaussian, per_gate

Carry = tuple[Float[Array, "*B n"], Float[Array, "*B n"]]


class CoRNNCell(VectorCell):
    """The coupled oscillatory network: positions y and velocities z, coupled by what drives them.

    z' = z + Δt (tanh(W_y y + W_z z + W_x x + b) − γ y − ε z)
    y' = y + Δt z'

    As in the authors' code the damping is explicit, of z and not of z'. ``recurrent_scale`` is the
    common gain g of W_y and W_z, each drawn on its own. At g = 0 the N oscillators are alone; per
    step they are multiplied by the roots of λ² − (2 − ε Δt − γ Δt²) λ + 1 − ε Δt. Without damping
    they keep z² + γ y² − Δt γ y z for ever; at the defaults, those of the paper for sequential
    digits, λ is 0.973 and 0.825: overdamped, a time constant of 37 steps. (For the adding problem
    the paper has Δt = 0.016, γ = 94.5, ε = 9.5.)

    Args:
        in_features: d.
        hidden_features: N; the state has 2 N numbers.
        recurrent_scale: gain of W_y and W_z.
        ensemble: of each of them; None is Gaussian.
        input_scale: W_x ~ N(0, input_scale²/d).
        step_size: Δt > 0.
        frequency: γ, the square of an oscillator's angular frequency.
        damping: ε.
        dtype: of the weights.
        rngs: nnx random streams.

    Raises:
        ValueError: if Δt is not positive.

    Attributes:
        recurrent_kernel: W_y and W_z side by side, ``(N, 2 N)``.
        input_kernel: W_x, ``(d, N)``.
        bias: b, zeros ``(N,)``.

    References:
        Rusch, Mishra 2021, Coupled oscillatory recurrent neural network, arXiv:2010.00951, eq. 3.
    """

    def __init__(  # noqa: PLR0913 (its own and those that all cells share)
        self,
        in_features: int,
        hidden_features: int,
        *,
        recurrent_scale: Gain = 1.0,
        ensemble: Initializer | None = None,
        input_scale: float = 1.0,
        step_size: float = 0.042,
        frequency: float = 2.7,
        damping: float = 4.7,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        if not step_size > 0:
            raise ValueError(f"step_size must be > 0, not {step_size}.")
        drawn = per_gate(gaussian() if ensemble is None else ensemble, 2)
        kernels = drawn(rngs.params(), (hidden_features, 2 * hidden_features), dtype)
        inputs = gaussian(input_scale)(rngs.params(), (in_features, hidden_features), dtype)
        self.in_features, self.hidden_features = in_features, hidden_features
        self.dtype = dtype
        self.step_size, self.frequency, self.damping = step_size, frequency, damping
        self.recurrent_kernel = nnx.Param(jnp.asarray(recurrent_scale, dtype) * kernels)
        self.input_kernel = nnx.Param(inputs)
        self.bias = nnx.Param(jnp.zeros(hidden_features, dtype))

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
        w_y, w_z = jnp.split(self.recurrent_kernel[...], 2, axis=1)
        terms = y @ w_y + z @ w_z + inputs @ self.input_kernel[...]
        force = tanh(terms + jnp.broadcast_to(self.bias[...], terms.shape))
        z = z + self.step_size * (force - self.frequency * y - self.damping * z)
        y = y + self.step_size * z
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
