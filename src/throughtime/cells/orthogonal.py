"""A network whose recurrent weights are a rotation, and stay one in training."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.rotations import MAPS, skew, turn
from throughtime.cells.vector import VectorCell
from throughtime.initializers import Gain, gaussian
from throughtime.names import known
from throughtime.scaled import at_least_float32

ANGLES = {"exp": (-math.pi, math.pi), "cayley": (0.0, math.pi / 2)}
"""Between which angles the papers draw the rotations of pairs of units."""


class ExpRNNCell(VectorCell):
    """A recurrent network of rotations: no direction of the state is stretched.

    h' = modReLU(W_x x + g Q h),    modReLU(a) = sign(a) max(|a| + b, 0)
    Q = exp(A) or (I + A)⁻¹ (I − A), A skew

    ``recurrent_scale`` is g, which is no parameter and stays as it is. b is 0 at the start (the
    papers: within 0.01 of it): the unit is then linear, its derivative 1 also at a = 0, and a
    gradient changes by exactly g per step, for ever at 1. Where b < 0 a unit with |a| < −b passes
    no gradient.

    A is drawn as in the papers, and so Q turns units 2i and 2i + 1 by an angle of their own, an odd
    last one not at all: U(−π, π) for ``exp``, U(0, π/2) for ``cayley``, which here has none of the
    scaling by ±1 of scoRNN, and so no eigenvalue −1. Training may fill all of A; beyond a norm of
    4π the states are NaN (see `turn`).

    Args:
        in_features: d.
        hidden_features: N.
        recurrent_scale: g.
        map: ``exp`` (expRNN) or ``cayley`` (scoRNN).
        input_scale: W_x ~ N(0, input_scale²/d).
        dtype: of the weights.
        rngs: nnx random streams.

    Raises:
        ValueError: if there is no such map; the nearest is named.

    Attributes:
        gain: g, ``()``, an `nnx.Variable`.
        skew_kernel: ``(N, N)``, A above the diagonal; the rest is not used.
        input_kernel: W_x, ``(d, N)``.
        bias: b, ``(N,)``.

    References:
        Lezcano-Casado, Martínez-Rubio 2019, arXiv:1901.08428 (exp); Helfrich, Willmott, Ye 2018,
        arXiv:1707.09520 (Cayley); Henaff, Szlam, LeCun 2016, arXiv:1602.06662 (angles).
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        recurrent_scale: Gain = 1.0,
        map: str = "exp",
        input_scale: float = 1.0,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.in_features, self.hidden_features = in_features, hidden_features
        self.dtype = dtype
        self.map = known("map", map, MAPS)
        low, high = ANGLES[map]
        pairs = hidden_features // 2
        angles = jax.random.uniform(rngs.params(), (pairs,), jnp.float32, minval=low, maxval=high)
        angles = angles.astype(at_least_float32(dtype))
        # Cayley's map turns by 2 arctan of an entry.
        entries = angles if map == "exp" else jnp.tan(angles / 2)
        kernel = jnp.zeros((hidden_features, hidden_features), dtype)
        first = 2 * jnp.arange(pairs)
        self.skew_kernel = nnx.Param(kernel.at[first, first + 1].set(entries.astype(dtype)))
        inputs = gaussian(input_scale)(rngs.params(), (in_features, hidden_features), dtype)
        self.input_kernel = nnx.Param(inputs)
        self.bias = nnx.Param(jnp.zeros(hidden_features, dtype))
        self.gain = nnx.Variable(jnp.asarray(recurrent_scale, dtype))

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        turned = turn(self.map, carry, skew(self.skew_kernel[...]))
        terms = inputs @ self.input_kernel[...] + self.gain[...] * turned
        h = mod_relu(terms, jnp.broadcast_to(self.bias[...], terms.shape))
        return h, h


def mod_relu(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The rectifier of magnitudes, sign(a) max(|a| + b, 0), whose derivative is 1 where b = 0.

    Args:
        a: pre-activations.
        b: biases.

    Returns:
        The same shape. The products of the definition would have the derivative 0 at a = 0.
    """
    return jnp.where(jnp.abs(a) + b >= 0, a + b * jnp.sign(a), 0)
