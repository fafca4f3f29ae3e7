"""The one neuron of the introductory texts."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import ACTIVATIONS
from throughtime.cells.vector import VectorCell
from throughtime.initializers import Gain, gaussian


class ScalarCell(VectorCell):
    """One neuron with a loop: its gradient is multiplied by w_n f' at every step.

    a_t = f(w_n a_{t−1} + w · x_t),    ŷ_t = w_3 a_t

    The loop weight w_n is the recurrent scale itself, not drawn. The texts give every step an
    input weight of its own (w_1, w_2, …); so does this cell when its inputs are laid out by
    `inputs_of_their_own`. A shared weight is d = 1.

    Args:
        in_features: d.
        hidden_features: must be 1.
        recurrent_scale: w_n.
        activation: f, a name in `ACTIVATIONS`.
        input_scale: w ~ N(0, input_scale²/d).
        dtype: of the weights.
        rngs: nnx random streams.

    Raises:
        ValueError: if ``hidden_features`` is not 1.

    Attributes:
        loop_weight: w_n, ``()``.
        input_weights: w, ``(d,)``.
        output_weight: w_3, ``()``, 1 at the start.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int = 1,
        *,
        recurrent_scale: Gain = 1.0,
        activation: str = "identity",
        input_scale: float = 1.0,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        if hidden_features != 1:
            raise ValueError(f"the scalar cell has 1 hidden feature, not {hidden_features}.")
        self.in_features = in_features
        self.hidden_features = 1
        self.dtype = dtype
        self.activation = ACTIVATIONS[activation]
        self.loop_weight = nnx.Param(jnp.asarray(recurrent_scale, dtype))
        drawn = gaussian(input_scale)(rngs.params(), (in_features, 1), dtype)
        self.input_weights = nnx.Param(drawn[:, 0])
        self.output_weight = nnx.Param(jnp.ones((), dtype))

    def __call__(
        self, carry: Float[Array, "*B 1"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B 1"], Float[Array, "*B 1"]]:
        """One step; see the class.

        Args:
            carry: a_{t−1}, ``(…, 1)``.
            inputs: x_t, ``(…, d)``.

        Returns:
            a_t and the read-out w_3 a_t, each ``(…, 1)``.
        """
        driven = (inputs @ self.input_weights[...])[..., None]
        a = self.activation(self.loop_weight[...] * carry + driven)
        return a, self.output_weight[...] * a


def inputs_of_their_own(inputs: Float[Array, " T"]) -> Float[Array, "T T"]:
    """Lay out a sequence so that step t meets only input weight w_t: X_t = x_t e_t.

    Args:
        inputs: x_1 … x_T, ``(T,)``.

    Returns:
        ``(T, T)``, for a `ScalarCell` with ``in_features = T``: w · X_t = w_t x_t.
    """
    return jnp.diag(inputs)
