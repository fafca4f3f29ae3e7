"""What cells share whose recurrence has no weights: they read the input, and keep by a coefficient.

The gain g, `recurrent_scale`, multiplies the coefficient by which the state is kept: g = 1 is the
cell of the paper, and the gradient of the state changes by ln g more per step.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.vector import VectorCell
from throughtime.initializers import Gain, gaussian
from throughtime.scaled import at_least_float32


class WeightlessCell(VectorCell):
    """A cell that draws an input kernel W_x ~ N(0, input_scale²/d), and no recurrent weights.

    Attributes:
        input_kernel: W_x, ``(d, width)``, the terms of all uses of the input side by side.
        gain: g, ``()``; a constant, which no training changes: its gradient is 0.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        width: int,
        *,
        recurrent_scale: Gain = 1.0,
        input_scale: float = 1.0,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.dtype = dtype
        self.gain = nnx.Variable(jnp.asarray(recurrent_scale, dtype))
        drawn = gaussian(input_scale)(rngs.params(), (in_features, width), dtype)
        self.input_kernel = nnx.Param(drawn)

    def constant_gain(self) -> Float[Array, ""]:
        """The gain g, by which nothing is differentiated.

        Returns:
            A scalar.
        """
        return jax.lax.stop_gradient(self.gain[...])


def draw_steps(
    key: Array, number: int, dt_min: int | float, dt_max: int | float, dtype
) -> Float[Array, " m"]:
    """Step sizes Δ, log-uniform in [dt_min, dt_max].

    Args:
        key: of the draw, which is the same in every dtype.
        number: how many.
        dt_min: > 0.
        dt_max: >= dt_min.
        dtype: at least float32 is computed in.

    Returns:
        ln Δ, ``(number,)``.

    Raises:
        ValueError: if the range is not 0 < dt_min <= dt_max.
    """
    if not 0 < dt_min <= dt_max < math.inf:
        raise ValueError(f"steps need 0 < dt_min <= dt_max, not {dt_min} and {dt_max}.")
    low, high = math.log(dt_min), math.log(dt_max)
    share = jax.random.uniform(key, (number,), jnp.float32).astype(at_least_float32(dtype))
    return low + share * (high - low)
