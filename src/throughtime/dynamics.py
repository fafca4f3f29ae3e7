"""A recurrent network is a function ``step(h, x) -> h``; all measurements are functions of it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Step = Callable[[Float[Array, " n"], Float[Array, " d"]], Float[Array, " n"]]
"""One step of a driven dynamical system, h_t = step(h_{t-1}, x_t), with state (n,) and input (d,).

An autonomous system, such as the Hénon map, is driven by inputs of shape (T, 0).
"""


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
