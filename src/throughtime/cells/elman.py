"""The plain recurrent network."""

from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import ACTIVATIONS
from throughtime.cells.recurrent import GatedCell


class ElmanCell(GatedCell):
    """The plain recurrent network, whose Jacobian is W_h with its columns scaled by f'.

    h_t = f(W_x x_t + W_h h_{t−1} + b)

    ``recurrent_scale`` is the gain of W_h: for f = identity and the orthogonal ensemble the
    gradient changes by exactly that factor per step. f = relu with the identity ensemble is the
    IRNN.

    Args:
        in_features: d.
        hidden_features: N.
        activation: f, a name in `ACTIVATIONS`.
        rngs: nnx random streams.
        **weights: recurrent_scale, ensemble, input_scale, layer_norm, dtype, as in `GatedCell`.

    References:
        Elman 1990, Finding structure in time; Le, Jaitly, Hinton 2015, arXiv:1504.00941 (IRNN).
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        activation: str = "tanh",
        rngs: nnx.Rngs,
        **weights,
    ):
        super().__init__(in_features, hidden_features, rngs=rngs, **weights)
        self.activation = ACTIVATIONS[activation]

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step from h_{t−1} to h_t; see the class, and `VectorCell` for the shapes."""
        h = self.activation(self.input_terms(inputs) + self.recurrent_terms(carry))
        return h, h
