"""What the textbook cells share: one input kernel, one recurrent kernel, per-gate ensembles."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.vector import VectorCell
from throughtime.initializers import Gain, Initializer, chrono, gaussian, per_gate
from throughtime.scaled import at_least_float32

NORM_EPSILON = 1e-5
"""What layer normalisation adds to the variance, as Ba et al. have it."""


class GatedCell(VectorCell):
    """A cell whose gates are all affine in the state h and the input x.

    Gate j sees  x @ W_x[j] + b[j]  and  h @ W_h[j],  with W_h[j] drawn on its own from an ensemble
    of gain ``recurrent_scale`` and W_x[j] ~ N(0, input_scale²/d). The kernels of all gates lie side
    by side, so that a step costs two matrix products.

    Attributes:
        input_kernel: W_x, ``(d, gates · N)``.
        recurrent_kernel: W_h, ``(N, gates · N)``.
        bias: b, ``(gates · N,)``, zero unless the subclass says otherwise.
        input_gain: γ_x, ``(gates · N,)``, 1 at the start; only with ``layer_norm``.
        recurrent_gain: γ_h, likewise.

    Raises:
        ValueError: if ``layer_norm`` is asked for with one unit, of which it leaves 0.

    References:
        Ba, Kiros, Hinton 2016, Layer normalization, arXiv:1607.06450, eq. 20.
    """

    gates: int = 1

    def __init__(  # noqa: PLR0913 (one keyword for each thing that the cells share)
        self,
        in_features: int,
        hidden_features: int,
        *,
        recurrent_scale: Gain = 1.0,
        ensemble: Initializer | None = None,
        input_scale: float = 1.0,
        layer_norm: bool = False,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        if layer_norm and hidden_features < 2:
            raise ValueError(f"layer_norm needs at least 2 hidden features, not {hidden_features}.")
        width = self.gates * hidden_features
        drawn = per_gate(gaussian() if ensemble is None else ensemble, self.gates)
        recurrent = drawn(rngs.params(), (hidden_features, width), dtype)
        inputs = gaussian(input_scale)(rngs.params(), (in_features, width), dtype)
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.dtype = dtype
        self.recurrent_kernel = nnx.Param(jnp.asarray(recurrent_scale, dtype) * recurrent)
        self.input_kernel = nnx.Param(inputs)
        self.bias = nnx.Param(jnp.zeros(width, dtype))
        self.layer_norm = layer_norm
        if layer_norm:
            self.input_gain = nnx.Param(jnp.ones(width, dtype))
            self.recurrent_gain = nnx.Param(jnp.ones(width, dtype))

    def input_terms(self, x: Float[Array, "*B d"]) -> Float[Array, "*B m"]:
        """The input's part of all pre-activations, x @ W_x (normalised if asked for) + b.

        Args:
            x: inputs ``(…, d)``.

        Returns:
            ``(…, gates · N)``.
        """
        terms = x @ self.input_kernel[...]
        if self.layer_norm:
            terms = self._normalised(terms, self.input_gain[...])
        return terms + jnp.broadcast_to(self.bias[...], terms.shape)

    def recurrent_terms(
        self, h: Float[Array, "*B n"], first: int = 0, last: int | None = None
    ) -> Float[Array, "*B m"]:
        """The state's part of the pre-activations, h @ W_h, normalised if asked for.

        Args:
            h: hidden states ``(…, N)``.
            first: the first gate that reads them.
            last: the gate before which to stop; None for all that follow.

        Returns:
            ``(…, (last − first) · N)``.
        """
        size = self.hidden_features
        columns = slice(first * size, (self.gates if last is None else last) * size)
        terms = h @ self.recurrent_kernel[...][:, columns]
        if self.layer_norm:
            terms = self._normalised(terms, self.recurrent_gain[...][columns])
        return terms

    def keeping_bias(
        self, bias: int | float, chrono_steps: int | float | None, rngs: nnx.Rngs
    ) -> Float[Array, " n"]:
        """The bias of a gate that keeps the state where it is open.

        Args:
            bias: for all units, if there are no ``chrono_steps``.
            chrono_steps: T_max of `chrono`, which then draws the biases; None for none.
            rngs: nnx random streams.

        Returns:
            ``(N,)``.

        Raises:
            ValueError: if ``chrono_steps`` is below 2.
        """
        if chrono_steps is None:
            return jnp.full(self.hidden_features, bias, self.dtype)
        return chrono(chrono_steps)(rngs.params(), (self.hidden_features,), self.dtype)

    def _normalised(
        self, terms: Float[Array, "*B m"], gain: Float[Array, " m"]
    ) -> Float[Array, "*B m"]:
        """The terms with mean 0 and variance 1 over the units of each gate, times their gains."""
        gates = terms.reshape(*terms.shape[:-1], -1, self.hidden_features)
        gates = gates.astype(at_least_float32(terms.dtype))
        centred = gates - jnp.mean(gates, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        normal = (centred / jnp.sqrt(variance + NORM_EPSILON)).astype(terms.dtype)
        return normal.reshape(terms.shape) * jnp.broadcast_to(gain, terms.shape)
