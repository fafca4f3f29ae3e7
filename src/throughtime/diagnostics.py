"""The measurements applied to a network on a batch: cell and task in, gradients by lag out."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from throughtime.adjoints import (
    LostLags,
    first_true,
    lost_lags,
    plain_adjoints,
    pull_back,
    starts,
)
from throughtime.cells import as_step, hidden
from throughtime.dynamics import held, rollout
from throughtime.scaled import Scaled, common_exponent, norm
from throughtime.tasks import Sample


class GradientDiagnostics(NamedTuple):
    """How the gradient of a network's loss travels back through time; L is the mean over the batch.

    Attributes:
        norms: ‖dL/dh_{T−k}‖ by lag k = 0 … T−1, over the states of the whole batch, ``(T,)``.
            Lags beyond the sequence, in the padding, mean nothing.
        loss: L.
        lost: where BPTT in the run's own floats has exactly 0, and something that is not finite.
        first_bad_step: the first step 1 … T at which a state is not finite; 0 if all are.
    """

    norms: Scaled
    loss: Float[Array, ""]
    lost: LostLags
    first_bad_step: Int[Array, ""]


def gradient_diagnostics(
    cell: nnx.RNNCellBase,
    readout: Float[Array, "m k"],
    loss: Callable,
    batch: Sample,
    length: Int[Array, ""],
) -> GradientDiagnostics:
    """Measure dL/dh_t for every step of one network on a batch of sequences.

    y_t = hidden(h_t) @ readout,    L = mean over the batch of Σ_t weight_t · loss(y_t, target_t)

    Args:
        cell: any recurrent cell.
        readout: linear read-out of the hidden state, ``(m, k)``.
        loss: maps outputs ``(T, k)`` and targets to the loss of each step, ``(T,)``.
        batch: samples with a leading batch axis; the sequences fill the last ``length`` steps.
        length: the sequences' length, at most T; may be traced.

    Returns:
        The diagnostics, as arrays.
    """
    num_sequences, num_steps = batch.weights.shape
    step, h0, unravel = as_step(cell, dtype=batch.inputs.dtype)
    step = held(step)
    live = jnp.arange(num_steps, dtype=jnp.int32) >= num_steps - length

    def sequence_loss(states, sample):
        outputs = jax.vmap(lambda h: hidden(unravel(h)) @ readout)(states)
        weighted = jnp.where(sample.weights > 0, sample.weights * loss(outputs, sample.targets), 0)
        return jnp.sum(weighted) / num_sequences

    def one(sample):
        flag = live[:, None].astype(sample.inputs.dtype)
        inputs = jnp.concatenate([flag, sample.inputs], axis=1)
        states = rollout(step, h0, inputs)
        value, direct = jax.value_and_grad(sequence_loss)(states, sample)
        adjoints = pull_back(step, direct, starts(h0, states), inputs)[1]
        plain = plain_adjoints(lambda states: sequence_loss(states, sample), step, h0, inputs)
        return value, norm(adjoints), plain, jnp.all(jnp.isfinite(states), axis=1)

    values, norms, plain, finite = jax.vmap(one)(batch)
    by_lag = Scaled(norms.mantissa[:, ::-1], norms.exponent[:, ::-1])
    bad = first_true(~jnp.all(finite, axis=0))
    return GradientDiagnostics(
        norms=jax.vmap(lambda over_batch: norm(common_exponent(over_batch)), in_axes=1)(by_lag),
        loss=jnp.sum(values),
        lost=_within(length, lost_lags(jnp.swapaxes(plain, 0, 1))),
        first_bad_step=jnp.where(bad < 0, 0, bad - (num_steps - length) + 1),
    )


def _within(length: Int[Array, ""], lost: LostLags) -> LostLags:
    """Lags in the padding do not count."""
    return LostLags(*(jnp.where(lag < length, lag, -1) for lag in lost))
