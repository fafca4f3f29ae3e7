"""What the textbook cells share: one input kernel, one recurrent kernel, per-gate ensembles."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.initializers import Gain, Initializer, gaussian, per_gate


class GatedCell(nnx.RNNCellBase):
    """A cell whose gates are all affine in the state h and the input x.

    Gate j sees  x @ W_x[j] + b[j]  and  h @ W_h[j],  with W_h[j] drawn on its own from an ensemble
    of gain ``recurrent_scale`` and W_x[j] ~ N(0, input_scale²/d). The kernels of all gates lie side
    by side, so that a step costs two matrix products.

    Attributes:
        input_kernel: W_x, ``(d, gates · N)``.
        recurrent_kernel: W_h, ``(N, gates · N)``.
        bias: b, ``(gates · N,)``, zero unless the subclass says otherwise.
    """

    gates: int = 1

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
        width = self.gates * hidden_features
        drawn = per_gate(gaussian() if ensemble is None else ensemble, self.gates)
        recurrent = drawn(rngs.params(), (hidden_features, width), dtype)
        inputs = gaussian(input_scale)(rngs.params(), (in_features, width), dtype)
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.recurrent_kernel = nnx.Param(jnp.asarray(recurrent_scale, dtype) * recurrent)
        self.input_kernel = nnx.Param(inputs)
        self.bias = nnx.Param(jnp.zeros(width, dtype))

    def input_terms(self, x: Float[Array, "*B d"]) -> Float[Array, "*B m"]:
        """The input's part of all pre-activations, x @ W_x + b.

        Args:
            x: inputs ``(…, d)``.

        Returns:
            ``(…, gates · N)``.
        """
        terms = x @ self.input_kernel[...]
        return terms + jnp.broadcast_to(self.bias[...], terms.shape)

    def recurrent_terms(self, h: Float[Array, "*B n"]) -> Float[Array, "*B m"]:
        """The state's part of all pre-activations, h @ W_h.

        Args:
            h: hidden states ``(…, N)``.

        Returns:
            ``(…, gates · N)``.
        """
        return h @ self.recurrent_kernel[...]

    def initialize_carry(self, input_shape, rngs=None, carry_init=None) -> Any:
        """The state before the first input: zeros.

        Args:
            input_shape: the shape of one input, ``(…, d)``.
            rngs: not needed; accepted because Flax passes it.
            carry_init: likewise.

        Returns:
            Zeros ``(…, N)``.
        """
        del rngs, carry_init
        return jnp.zeros((*input_shape[:-1], self.hidden_features), self.bias[...].dtype)

    @property
    def num_feature_axes(self) -> int:
        """One: inputs are vectors."""
        return 1
