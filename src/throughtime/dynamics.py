"""A recurrent network is a function ``step(h, x) -> h``; all measurements are functions of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from throughtime.scaled import check_floats

Step = Callable[[Float[Array, " n"], Float[Array, " d"]], Float[Array, " n"]]
"""One step of a driven dynamical system, h_t = step(h_{t-1}, x_t), with state (n,) and input (d,).

An autonomous system, such as the Hénon map, is driven by inputs of shape (T, 0).
"""


def check_step(step: Step, h0: Any, inputs: Any) -> None:
    """Refuse what is no system with an orbit of floats.

    Args:
        step: the system.
        h0: the state before the first input.
        inputs: x_1 … x_T, ``(T, d)``.

    Raises:
        TypeError: if state or inputs are no arrays.
        ValueError: if the state is not a vector of floats, T is 0, the inputs are no matrix of
            floats, or the step returns another shape or dtype than it is given.
    """
    check_floats("h0", h0)
    check_floats("inputs", inputs)
    if h0.ndim != 1:
        raise ValueError(f"h0 must be a vector (n,), not of shape {h0.shape}.")
    if inputs.ndim != 2:
        raise ValueError(f"inputs must be (T, d), not of shape {inputs.shape}.")
    if len(inputs) == 0:
        raise ValueError("inputs must have at least 1 step, not 0.")
    out = jax.eval_shape(step, h0, jax.ShapeDtypeStruct(inputs.shape[1:], inputs.dtype))
    if (out.shape, out.dtype) != (h0.shape, h0.dtype):
        raise ValueError(
            f"step turns a state {h0.dtype}{list(h0.shape)} into {out.dtype}{list(out.shape)}; "
            "it must return the shape and dtype that it is given."
        )


def check_transient(transient: int, num_steps: int) -> None:
    """Refuse a transient that leaves no steps.

    Args:
        transient: the steps that are left out.
        num_steps: T.

    Raises:
        ValueError: if it is not in 0 … T − 1.
    """
    if not 0 <= transient < num_steps:
        raise ValueError(
            f"transient must be in [0, {num_steps - 1}] for {num_steps} steps, not {transient}."
        )


def rollout(
    step: Step,
    h0: Float[Array, " n"],
    inputs: Float[Array, "T d"],
    perturbations: Float[Array, "T n"] | None = None,
) -> Float[Array, "T n"]:
    """Run the system forward in time.

    h_t = step(h_{t-1}, x_t) + e_t,  t = 1 … T

    Args:
        step: the system.
        h0: the state before the first input, ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.
        perturbations: e_1 … e_T, ``(T, n)``; none means zero. The derivative of a loss by e_t is
            the adjoint dL/dh_t, which is how plain autodiff sees it.

    Returns:
        The states h_1 … h_T, ``(T, n)``.
    """

    def forward(h, driven):
        x, e = driven
        h = step(h, x) if e is None else step(h, x) + e
        return h, h

    return jax.lax.scan(forward, h0, (inputs, perturbations))[1]


def starts(h0: Float[Array, " n"], states: Float[Array, "T n"]) -> Float[Array, "T n"]:
    """The states from which each step starts, h_0 … h_{T−1}.

    Args:
        h0: the state before the first input, ``(n,)``.
        states: h_1 … h_T, ``(T, n)``.

    Returns:
        ``(T, n)``. A Jacobian taken at h_t for step t would be one state late.
    """
    return jnp.concatenate([h0[None], states[:-1]])


class Trajectory(NamedTuple):
    """An orbit with what drives it, h_t = step(h_{t−1}, x_t).

    Attributes:
        start: h_0, ``(n,)``.
        states: h_1 … h_T, ``(T, n)``.
        inputs: x_1 … x_T, ``(T, d)``.
    """

    start: Float[Array, " n"]
    states: Float[Array, "T n"]
    inputs: Float[Array, "T d"]

    @property
    def previous(self) -> Float[Array, "T n"]:
        """The states from which the steps start, h_0 … h_{T−1}, ``(T, n)``."""
        return starts(self.start, self.states)


def trajectory(step: Step, h0: Float[Array, " n"], inputs: Float[Array, "T d"]) -> Trajectory:
    """Run the system forward and keep what its backward pass needs.

    Args:
        step: the system.
        h0: the state before the first input, ``(n,)``.
        inputs: x_1 … x_T, ``(T, d)``.

    Returns:
        The trajectory.
    """
    return Trajectory(h0, rollout(step, h0, inputs), inputs)


def held(step: Step) -> Step:
    """The same system, standing still until its sequence begins.

    held(step)(h, [live, x]) = step(h, x) if live else h

    A sequence of any length up to T then runs in one program of T steps: it fills the last steps,
    and the padding before it leaves the state, and with it every number, untouched.

    Args:
        step: a system with inputs ``(d,)``.

    Returns:
        A system with inputs ``(1 + d,)``: first the flag (1 live, 0 padding), then x.
    """

    def holding(h: Float[Array, " n"], flagged: Float[Array, " e"]) -> Float[Array, " n"]:
        return jnp.where(flagged[0] > 0, step(h, flagged[1:]), h)

    return holding


def pad_front(inputs: Float[Array, "T d"], padding: int) -> Float[Array, "P e"]:
    """Flag the inputs for `held` and put steps of padding before them.

    Args:
        inputs: x_1 … x_T, ``(T, d)``.
        padding: the number of steps in which the system stands still.

    Returns:
        ``(padding + T, 1 + d)``: the flag, then the input, zero in the padding.
    """
    flagged = jnp.concatenate([jnp.ones_like(inputs, shape=(len(inputs), 1)), inputs], axis=1)
    return jnp.pad(flagged, ((padding, 0), (0, 0)))


def aligned(
    sequences: Shaped[Array, "B T ..."], lengths: Int[Array, " B"], fill: Any = 0
) -> Shaped[Array, "B T ..."]:
    """Move sequences that begin together so that they end together.

    Args:
        sequences: of T places, of which sequence b fills the first ``lengths[b]``, ``(B, T, …)``.
        lengths: of the sequences, ``(B,)``.
        fill: what stands in the places before; may be an array of the shape of one place.

    Returns:
        ``(B, T, …)``, the last step of every sequence in place T − 1. What came after a sequence's
        end, even NaN, is gone.
    """
    num_steps = sequences.shape[1]
    places = jnp.arange(num_steps, dtype=lengths.dtype)[None] - (num_steps - lengths[:, None])
    moved = jax.vmap(lambda sequence, at: sequence[jnp.maximum(at, 0)])(sequences, places)
    live = jnp.expand_dims(places >= 0, tuple(range(2, sequences.ndim)))
    return jnp.where(live, moved, jnp.broadcast_to(fill, moved.shape).astype(moved.dtype))


def first_true(flags: Bool[Array, " T"]) -> Int[Array, ""]:
    """The index of the first true flag, or −1.

    Args:
        flags: ``(T,)``.

    Returns:
        An int32 scalar.
    """
    return jnp.where(jnp.any(flags), jnp.argmax(flags), -1).astype(jnp.int32)
