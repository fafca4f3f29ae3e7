"""What all cells of this package share: inputs are vectors, and the state starts at zero."""

from typing import Any

import jax.numpy as jnp
from flax import nnx


class VectorCell(nnx.RNNCellBase):
    """A recurrent cell of vectors, as Flax has them, but for its step, ``cell(carry, inputs)``.

    A step takes the carry, h_{t−1} of ``(…, N)``, and the inputs x_t of ``(…, d)``. It returns h_t
    twice, as the carry and as the output. Cells with another state say so at their own step.

    Attributes:
        in_features: d, numbers per input.
        hidden_features: N, numbers read out of the state.
        dtype: of weights and state.
    """

    in_features: int
    hidden_features: int
    dtype: Any

    def initialize_carry(self, input_shape, rngs=None, carry_init=None) -> Any:
        """The state before the first input, as `start` has it.

        Args:
            input_shape: the shape of one input, ``(…, d)``.
            rngs: not needed; accepted because Flax passes it.
            carry_init: likewise.

        Returns:
            The carry.
        """
        del rngs, carry_init
        return self.start(tuple(input_shape[:-1]))

    def start(self, batch: tuple[int, ...]) -> Any:
        """The state before the first input: zeros; a cell of several parts has them in a tuple.

        Args:
            batch: the shape of the batch, ``(…)``.

        Returns:
            Zeros ``(…, N)``; of a tuple the last part is read out.
        """
        return jnp.zeros((*batch, self.hidden_features), self.dtype)

    @property
    def num_feature_axes(self) -> int:
        """One: inputs are vectors."""
        return 1
