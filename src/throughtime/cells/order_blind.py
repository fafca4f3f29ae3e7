"""A dense network that is given the same inputs, but not their order."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import tanh
from throughtime.cells.vector import VectorCell
from throughtime.initializers import Gain, Initializer, gaussian


class OrderBlindCell(VectorCell):
    """A dense network of the set of inputs seen so far: what memory without order can do.

    s_t = s_{t−1} + tanh(W_x x_t + b),    o_t = tanh(W_h s_t/t + c)

    Any permutation of the inputs gives the same output, and with enough units any continuous
    function of the set can be approximated (Deep Sets). The state is (t, s, o); the gradient along
    s neither vanishes nor explodes. ``recurrent_scale`` is the gain of W_h, which no state passes
    twice.

    Args:
        in_features: d.
        hidden_features: N; the state has 2 N + 1 numbers.
        recurrent_scale: gain of W_h.
        ensemble: of W_h; None is Gaussian.
        input_scale: gain of W_x.
        dtype: of the weights.
        rngs: nnx random streams.

    References:
        Zaheer et al. 2017, Deep Sets, arXiv:1703.06114.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        recurrent_scale: Gain = 1.0,
        ensemble: Initializer | None = None,
        input_scale: float = 1.0,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        drawn = gaussian() if ensemble is None else ensemble
        kernel = drawn(rngs.params(), (hidden_features, hidden_features), dtype)
        inputs = gaussian(input_scale)(rngs.params(), (in_features, hidden_features), dtype)
        self.in_features, self.hidden_features = in_features, hidden_features
        self.dtype = dtype
        self.dense_kernel = nnx.Param(jnp.asarray(recurrent_scale, dtype) * kernel)
        self.dense_bias = nnx.Param(jnp.zeros(hidden_features, dtype))
        self.input_kernel = nnx.Param(inputs)
        self.bias = nnx.Param(jnp.zeros(hidden_features, dtype))

    def __call__(self, carry: Any, inputs: Float[Array, "*B d"]) -> tuple[Any, Any]:
        """One input more; see the class.

        Args:
            carry: (t − 1, s_{t−1}, o_{t−1}), ``(…, 1)``, ``(…, N)`` and ``(…, N)``.
            inputs: x_t, ``(…, d)``.

        Returns:
            (t, s_t, o_t) and the output o_t.
        """
        count, total, _ = carry
        terms = inputs @ self.input_kernel[...]
        total = total + tanh(terms + jnp.broadcast_to(self.bias[...], terms.shape))
        count = count + 1
        terms = (total / count) @ self.dense_kernel[...]
        output = tanh(terms + jnp.broadcast_to(self.dense_bias[...], terms.shape))
        return (count, total, output), output

    def start(self, batch: tuple[int, ...]) -> Any:
        """The empty set.

        Args:
            batch: the shape of the batch, ``(…)``.

        Returns:
            (0, 0, 0), zeros ``(…, 1)``, ``(…, N)`` and ``(…, N)``.
        """
        zeros = super().start(batch)
        return zeros[..., :1], zeros, zeros
