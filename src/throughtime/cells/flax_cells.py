"""Flax's own cells, built so that they are measured like the others.

They differ from the textbook cells here in two conventions. Their default recurrent ensemble is
orthogonal, drawn for the fused kernel where `OptimizedLSTMCell` and `GRUCell` fuse their gates, so
that no gate of those is orthogonal; and input kernels are truncated normal of variance 1/d. Their
activations are JAX's, whose derivative is exactly 0 on a saturated unit.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import nnx

from throughtime.initializers import Gain, Initializer, orthogonal, per_gate


def flax_cell(
    kind: tuple[Any, int],
    in_features: int,
    hidden_features: int,
    *,
    recurrent_scale: Gain = 1.0,
    ensemble: Initializer | None = None,
    dtype=jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.RNNCellBase:
    """Build one of Flax's cells with its recurrent kernels multiplied by a scale.

    Args:
        kind: a class of `flax.nnx`, and how many gates its recurrent kernel fuses.
        in_features: d.
        hidden_features: N.
        recurrent_scale: the factor on the recurrent kernels.
        ensemble: of each gate's recurrent kernel; None is Flax's own, orthogonal as fused.
        dtype: of the weights; the cell computes in the dtype it is given.
        rngs: nnx random streams.

    Returns:
        The cell.
    """
    cell_class, gates = kind
    drawn = orthogonal() if ensemble is None else per_gate(ensemble, gates)

    def scaled(key, shape, dtype=jnp.float32):
        return jnp.asarray(recurrent_scale, dtype) * drawn(key, shape, dtype)

    return cell_class(
        in_features,
        hidden_features,
        recurrent_kernel_init=scaled,
        dtype=None,
        param_dtype=dtype,
        rngs=rngs,
    )


FLAX_CELLS = {
    "flax_simple": partial(flax_cell, (nnx.SimpleCell, 1)),
    "flax_gru": partial(flax_cell, (nnx.GRUCell, 3)),
    "flax_lstm": partial(flax_cell, (nnx.LSTMCell, 1)),
    "flax_optimized_lstm": partial(flax_cell, (nnx.OptimizedLSTMCell, 4)),
}
"""Flax's own four by name."""
