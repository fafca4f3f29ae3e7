"""The measurements applied to a network on a batch: cell and task in, gradients by lag out."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from throughtime.adjoints import LostLags, lost_lags, plain_adjoints, pull_back
from throughtime.cells import CellStep, as_step, initial_carry
from throughtime.dynamics import Trajectory, first_true, held, rollout, trajectory
from throughtime.lyapunov import LyapunovSpectrum, lyapunov_spectrum
from throughtime.lyapunov.frames import initial_frame
from throughtime.names import known
from throughtime.paths import gradient_paths
from throughtime.scaled import Scaled, beside, by_step, common_exponent, norm
from throughtime.tasks import Sample, weighted_loss


class GradientDiagnostics(NamedTuple):
    """How the gradient of a network's loss travels back through time; L is the mean over the batch.

    Attributes:
        norms: ‖dL/dh_{T−k}‖ by lag k = 0 … T−1, over the states of the whole batch, ``(T,)``.
            Lags beyond the sequence, in the padding, mean nothing. Where outputs are made of
            nothing that the carry hands on, their gradient stands beside that of the state.
        loss: L.
        lost: where BPTT in the run's own floats has exactly 0, and something that is not finite.
        first_bad_step: the first step 1 … T at which a state is not finite; 0 if all are.
    """

    norms: Scaled
    loss: Float[Array, ""]
    lost: LostLags
    first_bad_step: Int[Array, ""]


def gradient_diagnostics(
    cell: Any,
    readout: Float[Array, "m k"],
    loss: Callable,
    batch: Sample,
    length: Int[Array, "*B"],
) -> GradientDiagnostics:
    """Measure dL/dh_t for every step of one network on a batch of sequences.

    L = mean over the batch of Σ_t weight_t · loss(y_t @ readout, target_t),  y_t the cell's output

    Args:
        cell: any recurrent cell.
        readout: linear read-out of the cell's output, ``(m, k)``.
        loss: maps answers ``(T, k)`` and targets to the loss of each step, ``(T,)``.
        batch: samples with a leading batch axis; the sequences fill the last ``length`` steps.
        length: the sequences' length, at most T, or that of each, ``(B,)``; may be traced.

    Returns:
        The diagnostics, as arrays. At a lag that a sequence is too short for it has no gradient.
    """
    num_sequences, num_steps = batch.weights.shape
    dtype = batch.inputs.dtype
    carry = initial_carry(cell, batch.inputs.shape[-1])
    bridge, own = (as_step(cell, carry, dtype=dtype, exact=exact) for exact in (True, False))
    lengths = jnp.broadcast_to(length, (num_sequences,))
    live = jnp.arange(num_steps, dtype=jnp.int32)[None] >= num_steps - lengths[:, None]

    def sequence_loss(outputs, sample):
        answers = outputs.reshape(num_steps, -1) @ readout
        return weighted_loss(loss, answers, sample) / num_sequences

    def one(sample, live):
        def of_outputs(outputs):
            return sequence_loss(outputs, sample)

        flags = live[:, None].astype(dtype)
        flagged = jnp.concatenate([flags, sample.inputs], axis=1)
        value, adjoints, finite = _scaled_adjoints(bridge, of_outputs, sample.inputs, flagged)
        plain = _plain_adjoints(own, of_outputs, sample.inputs, flagged)
        return value, norm(adjoints), plain, finite

    values, norms, plain, finite = jax.vmap(one)(batch, live)
    mantissas = jnp.where(live, norms.mantissa, 0)
    by_lag = Scaled(mantissas[:, ::-1], norms.exponent[:, ::-1])
    lost = lost_lags(jnp.where(live.T[..., None], jnp.swapaxes(plain, 0, 1), 0))
    return GradientDiagnostics(
        norms=jax.vmap(lambda over_batch: norm(common_exponent(over_batch)), in_axes=1)(by_lag),
        loss=jnp.sum(values),
        lost=_within(jnp.max(lengths), lost),
        first_bad_step=_first_bad_step(finite, lengths),
    )


def _scaled_adjoints(bridge: CellStep, loss: Callable, inputs, flagged):
    """The loss, dL/dh_1 … dL/dh_T beyond the float range, and which states are finite."""
    run = trajectory(held(bridge.step), bridge.h0, flagged)

    def of_states(states):
        return loss(bridge.outputs(run._replace(states=states, inputs=inputs)))

    value, direct = jax.value_and_grad(of_states)(run.states)
    adjoints = pull_back(held(bridge.step), direct, run.previous, flagged)[1]
    if bridge.is_apart(inputs[0]):
        outputs = bridge.outputs(run._replace(inputs=inputs))
        adjoints = beside(adjoints, by_step(jax.grad(loss)(outputs)))
    return value, adjoints, jnp.all(jnp.isfinite(run.states), axis=1)


def _plain_adjoints(own: CellStep, loss: Callable, inputs, flagged) -> Float[Array, "T n"]:
    """The same as plain backpropagation has it, with the derivatives of the cell's own code."""
    step = held(own.step)

    def run(states):
        return Trajectory(own.h0, states, inputs)

    plain = plain_adjoints(lambda states: loss(own.outputs(run(states))), step, own.h0, flagged)
    if not own.is_apart(inputs[0]):
        return plain
    outputs = own.outputs(run(rollout(step, own.h0, flagged)))
    return jnp.concatenate([plain, jax.grad(loss)(outputs).reshape(len(inputs), -1)], axis=1)


def _first_bad_step(finite: Bool[Array, "B T"], lengths: Int[Array, " B"]) -> Int[Array, ""]:
    """The first step 1 … T, of any sequence, at which a state is not finite; 0 if all are."""
    num_steps = finite.shape[1]
    places = jax.vmap(first_true)(~finite)
    steps = jnp.where(places < 0, num_steps + 1, places - (num_steps - lengths) + 1)
    first = jnp.min(steps)
    return jnp.where(first > num_steps, 0, first)


def _within(length: Int[Array, ""], lost: LostLags) -> LostLags:
    """Lags in the padding do not count."""
    return LostLags(*(jnp.where(lag < length, lag, -1) for lag in lost))


def spectrum_diagnostics(
    cell: Any,
    batch: Sample,
    *,
    num_exponents: int | None = None,
    transient: int = 0,
    start_scale: int | float = 0.0,
) -> LyapunovSpectrum:
    """Measure the Lyapunov exponents of one network, driven by each sequence of a batch.

    λ_i = (1/S) Σ_t g_i(t),   g_i(t) = mean over the batch of ln r_i(t)

    Args:
        cell: any recurrent cell; its whole carry is the state.
        batch: samples with a leading batch axis, without padding; only their inputs matter.
        num_exponents: k, at most the size n of the state; None is all n.
        transient: how many of the first steps are left out.
        start_scale: the root mean square of what is added to the cell's own initial state, along
            one fixed random direction: 0 may lie on an unstable fixed point, and would stay there.

    Returns:
        A `LyapunovSpectrum` of the batch: the growth is averaged over its sequences, status, floor
        and first bad step are those of the worst.

    Raises:
        ValueError: as `lyapunov_spectrum` says.
    """
    step, h0, _ = as_step(cell, dtype=batch.inputs.dtype)
    direction = initial_frame(h0.size, 1, h0.dtype)[:, 0] * h0.size**0.5
    start = h0 + (start_scale * direction).astype(h0.dtype)

    def one(inputs):
        return lyapunov_spectrum(step, start, inputs, num_exponents, transient=transient)

    each = jax.vmap(one)(batch.inputs)
    # nonfinite (1) is worse than collapsed (2): nothing is known of it at all.
    badness = jnp.array([0, 2, 1], jnp.int32)[each.status]
    worst = jnp.argmax(badness)
    steps = jnp.where(each.status == each.status[worst], each.first_bad_step, len(batch.inputs[0]))
    growth = jnp.mean(each.growth, axis=0)
    return LyapunovSpectrum(
        exponents=jnp.mean(growth, axis=0),
        growth=growth,
        status=each.status[worst],
        first_bad_step=jnp.min(steps),
        floor=jnp.max(each.floor),
        rounded=jnp.any(each.rounded),
    )


class PathDiagnostics(NamedTuple):
    """Which way the gradient of a gated network goes, root sum of squares over a batch.

    Attributes:
        norms: ‖∂m_T/∂m_{T−k}‖ by lag k = 0 … T−1, whole and in parts, ``(T, 4)``.
        defect: the largest defect of any lag and sequence, see `GradientPaths`.
        first_bad_step: the first step 1 … T at which a state is not finite; 0 if all are.
    """

    norms: Scaled
    defect: Float[Array, ""]
    first_bad_step: Int[Array, ""]


def path_diagnostics(cell: Any, batch: Sample) -> PathDiagnostics:
    """Split ∂m_T/∂m_t of one network, m its memory, by the way the gradient takes.

    whole = highway + gates + recurrent, as `gradient_paths` has them

    Args:
        cell: a gated cell that `gradient_paths` knows.
        batch: samples with a leading batch axis, without padding; only their inputs matter.

    Returns:
        The diagnostics, as arrays.

    Raises:
        ValueError: as `gradient_paths`.
    """
    step, h0, _ = as_step(cell, dtype=batch.inputs.dtype)

    def one(inputs):
        finite = jnp.all(jnp.isfinite(rollout(step, h0, inputs)), axis=1)
        found = gradient_paths(cell, h0, inputs)
        parts = found[:-1]
        mantissa = jnp.stack([part.mantissa for part in parts], axis=1)
        exponent = jnp.stack([part.exponent for part in parts], axis=1)
        return Scaled(mantissa, exponent), jnp.max(found.defect), finite

    each, defects, finite = jax.vmap(one)(batch.inputs)
    by_lag = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), each)
    over_batch = jax.vmap(jax.vmap(lambda norms: norm(common_exponent(norms))))
    bad = first_true(~jnp.all(finite, axis=0))
    return PathDiagnostics(over_batch(by_lag), jnp.max(defects), bad + 1)


class Diagnostic(NamedTuple):
    """Something to measure of a network on a batch.

    Attributes:
        measure: ``(cell, readout, loss, batch, length, **options)`` to a tuple of arrays; None
            where it is not a program that is called once, but a training.
        options: the names that the options may have.
        is_padded: whether a sequence may be shorter than the program.
        tangents: of the state's size n and the options, how many vectors of that size every step
            carries along.
    """

    measure: Callable | None
    options: tuple[str, ...]
    is_padded: bool
    tangents: Callable[..., int]


DIAGNOSTICS = {
    "gradient": Diagnostic(gradient_diagnostics, (), True, lambda n: 1),
    "spectrum": Diagnostic(
        lambda cell, readout, loss, batch, length, **options: spectrum_diagnostics(
            cell, batch, **options
        ),
        ("num_exponents", "transient", "start_scale"),
        False,
        lambda n, num_exponents=None, **_: num_exponents or n,
    ),
    "paths": Diagnostic(
        lambda cell, readout, loss, batch, length: path_diagnostics(cell, batch),
        (),
        False,
        lambda n: 4 * n,
    ),
    "training": Diagnostic(
        None,
        (
            "optimizer",
            "learning_rate",
            "updates",
            "check_every",
            "validation_size",
            "older_than",
            "master_weights",
            "stop_when_solved",
        ),
        False,
        lambda n, **_: 1,
    ),
}
"""What can be measured, by name."""


def check_options(name: str, options: dict[str, Any], state_size: int, num_steps: int) -> None:
    """Refuse options that a diagnostic does not have, or that do not suit its orbit.

    Args:
        name: a key of `DIAGNOSTICS`.
        options: by name.
        state_size: n.
        num_steps: T.

    Raises:
        ValueError: for the first that cannot be used.
    """
    for option in options:
        known(f"option of diagnostic {name!r}", option, DIAGNOSTICS[name].options)
    if (options.get("num_exponents") or 1) > state_size:
        raise ValueError(
            f"diagnostic.num_exponents must be at most {state_size}, the size of the state, "
            f"not {options['num_exponents']}."
        )
    if name == "training":
        _check_training(options)
    if options.get("transient", 0) >= num_steps:
        raise ValueError(
            f"diagnostic.transient must be less than sequence_length={num_steps}, "
            f"not {options['transient']}."
        )


def _check_training(options: dict[str, Any]) -> None:
    """Refuse a training of which something is not said, or that does not end at a look."""
    for option in DIAGNOSTICS["training"].options:
        if option not in options and option != "learning_rate":
            raise ValueError(f"diagnostic.{option} is missing; a training needs it.")
    updates, check_every = options["updates"], options["check_every"]
    if updates % check_every:
        raise ValueError(
            f"diagnostic.updates must be a multiple of check_every={check_every}, not {updates}."
        )
