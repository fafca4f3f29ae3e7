"""White noise in, a random read-out of the last state: the setting of the mean-field theories."""

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from throughtime.tasks.task import (
    Sample,
    Task,
    last_step,
    local_steps,
    step_normals,
    zero_padding,
)


def read_out(outputs: Float[Array, "T 1"], targets: Float[Array, "T 1"]) -> Float[Array, " T"]:
    """The output itself; there is nothing to predict."""
    return outputs[:, 0]


def mean_output(outputs: Float[Array, "T 1"], sample: Sample) -> Float[Array, ""]:
    """The output of the last step; its mean over sequences is the loss, and nothing to minimise."""
    return outputs[-1, 0]


def noise_task(max_length: int, dtype: DTypeLike, *, in_features: int = 16) -> Task:
    """White noise, and a loss that is linear in the last state.

    The inputs are x_t ~ N(0, I_d), dimensionless and independent in t. The loss is the output of
    the last step, L = w · h_T with w the Gaussian read-out of the network, so that

        dL/dh_T = w,    dL/dh_t = (∂h_T/∂h_t)ᵀ w:

    what travels back is a random vector that does not depend on the data, and for w ~ N(0, I) its
    mean square is E‖dL/dh_t‖² = ‖∂h_T/∂h_t‖_F², the moment that mean-field theory predicts. The
    targets are zeros. The loss has no lower bound: there is no baseline, and nothing is solved; the
    error is the output itself.

    Args:
        max_length: T, steps of a padded sequence.
        dtype: of the floats.
        in_features: d; 0 leaves the network to itself.

    Returns:
        A task with d inputs, one output and no longest sequence.

    Raises:
        ValueError: `in_features` is not an integer >= 0.

    References:
        Chen, Pennington & Schoenholz 2018, "Dynamical Isometry and a Mean Field Theory of RNNs:
        Gating Enables Signal Propagation in Recurrent Neural Networks" (arXiv:1806.05394).
    """
    if not isinstance(in_features, int) or in_features < 0:
        raise ValueError(f"in_features is {in_features!r}; the noise task needs an integer >= 0.")

    def sample(key: Key[Array, ""], length: Int[Array, ""] | int) -> Sample:
        steps = local_steps(max_length, length)
        inputs = zero_padding(step_normals(key, steps, in_features), steps).astype(dtype)
        return Sample(inputs, jnp.zeros((max_length, 1), dtype), last_step(max_length, dtype))

    return Task(sample, read_out, in_features, 1, error=mean_output)
