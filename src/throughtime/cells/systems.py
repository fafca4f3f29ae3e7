"""The classic chaotic systems, as cells without inputs: their exponents are known to many digits.

The recurrent scale is the system's own parameter. The networks of a point differ in where they
start, near one point of the basin of the attractor.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.vector import VectorCell
from throughtime.initializers import Gain

Map = Callable[[Float[Array, "*B n"], Float[Array, ""]], Float[Array, "*B n"]]
"""One step of an autonomous system: the state, and the system's parameter."""

SPREAD = 0.01
"""How far from its centre a start is drawn, relative to the centre."""

LORENZ_STEP = 0.01
"""Time units per step of the Lorenz equations."""


def logistic(h: Float[Array, "*B n"], r: Float[Array, ""]) -> Float[Array, "*B n"]:
    """The logistic map, h' = r h (1 − h); at r = 4 its exponent is ln 2.

    Args:
        h: the state, ``(…, 1)``, in [0, 1].
        r: from 0 to 4.

    Returns:
        The next state.
    """
    return r * h * (1 - h)


def henon(h: Float[Array, "*B n"], a: Float[Array, ""]) -> Float[Array, "*B n"]:
    """The Hénon map with b = 0.3: its exponents sum to ln 0.3; at a = 1.4 they are 0.419, −1.623.

    h_1' = 1 − a h_1² + h_2,   h_2' = b h_1

    Args:
        h: the state, ``(…, 2)``.
        a: 1.4 is Hénon's.

    Returns:
        The next state.

    References:
        Hénon 1976, Commun. Math. Phys. 50, 69.
    """
    x, y = jnp.moveaxis(h, -1, 0)
    return jnp.stack([1 - a * x**2 + y, 0.3 * x], axis=-1)


def ikeda(h: Float[Array, "*B n"], u: Float[Array, ""]) -> Float[Array, "*B n"]:
    """The Ikeda map, z' = 1 + u z exp(i (0.4 − 6/(1 + |z|²))): its exponents sum to 2 ln u.

    Args:
        h: the real and the imaginary part of z, ``(…, 2)``.
        u: 0.9 is chaotic.

    Returns:
        The next state.

    References:
        Hammel, Jones, Moloney 1985, J. Opt. Soc. Am. B 2, 552.
    """
    x, y = jnp.moveaxis(h, -1, 0)
    angle = 0.4 - 6 / (1 + x * x + y * y)
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([1 + u * (x * c - y * s), u * (x * s + y * c)], axis=-1)


def cat(h: Float[Array, "*B n"], scale: Float[Array, ""]) -> Float[Array, "*B n"]:
    """Arnold's cat map on the torus; with scale 1 its exponents are ±ln((3 + √5)/2).

    Args:
        h: the state, ``(…, 2)``, in [0, 1).
        scale: multiplies the off-diagonal entries.

    Returns:
        The next state.
    """
    x, y = jnp.moveaxis(h, -1, 0)
    return jnp.mod(jnp.stack([2 * x + scale * y, scale * x + y], axis=-1), 1)


def lorenz(h: Float[Array, "*B n"], rho: Float[Array, ""]) -> Float[Array, "*B n"]:
    """The Lorenz equations with σ = 10, β = 8/3, by one step of the classical Runge–Kutta method.

    Args:
        h: the state, ``(…, 3)``.
        rho: 28 is Lorenz's, with exponents 0.906, 0 and −14.57 per unit of time.

    Returns:
        The state `LORENZ_STEP` later.

    References:
        Lorenz 1963, J. Atmos. Sci. 20, 130; Sprott 2003, Chaos and Time-Series Analysis.
    """

    def field(h):
        x, y, z = jnp.moveaxis(h, -1, 0)
        return jnp.stack([10 * (y - x), x * (rho - z) - y, x * y - 8 / 3 * z], axis=-1)

    dt = LORENZ_STEP
    k1 = field(h)
    k2 = field(h + dt / 2 * k1)
    k3 = field(h + dt / 2 * k2)
    k4 = field(h + dt * k3)
    return h + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


class System(NamedTuple):
    """A map and the centre of its starts."""

    step: Map
    start: tuple[float, ...]


SYSTEMS = {
    "logistic": System(logistic, (0.3,)),
    "henon": System(henon, (0.1, 0.1)),
    "ikeda": System(ikeda, (0.1, 0.1)),
    "cat": System(cat, (0.1234, 0.3711)),
    "lorenz": System(lorenz, (1.0, 1.0, 20.0)),
}
"""The systems by name."""


class SystemCell(VectorCell):
    """A classic system as a cell: its inputs do nothing.

    Args:
        system: a key of `SYSTEMS`.
        in_features: d, any number.
        hidden_features: the size of the system's state.
        recurrent_scale: the system's parameter.
        dtype: of the state.
        rngs: nnx random streams.

    Raises:
        ValueError: if ``hidden_features`` is not the system's own.

    Attributes:
        parameter: the system's, ``()``.
        origin: the state before the first step, ``(n,)``.
    """

    def __init__(
        self,
        system: str,
        in_features: int,
        hidden_features: int,
        *,
        recurrent_scale: Gain = 1.0,
        dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.map, centre = SYSTEMS[system]
        if hidden_features != len(centre):
            raise ValueError(
                f"the {system} system has hidden_features={len(centre)}, not {hidden_features}."
            )
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.parameter = nnx.Param(jnp.asarray(recurrent_scale, dtype))
        drawn = rngs.params.uniform((hidden_features,), dtype, 1 - SPREAD, 1 + SPREAD)
        self.origin = nnx.Param(jnp.asarray(centre, dtype) * drawn)

    def __call__(
        self, carry: Float[Array, "*B n"], inputs: Float[Array, "*B d"]
    ) -> tuple[Float[Array, "*B n"], Float[Array, "*B n"]]:
        """One step of the system.

        Args:
            carry: the state, ``(…, n)``.
            inputs: not used, ``(…, d)``.

        Returns:
            The next state, twice.
        """
        del inputs
        state = self.map(carry, self.parameter[...])
        return state, state

    def start(self, batch: tuple[int, ...]) -> Float[Array, "*B n"]:
        """The state before the first step.

        Args:
            batch: the shape of the batch, ``(…)``.

        Returns:
            The centre of the system, moved a little when the cell was made, ``(…, n)``.
        """
        return jnp.broadcast_to(self.origin[...], (*batch, self.hidden_features))


def system_cell(
    system: str,
    in_features: int,
    hidden_features: int,
    *,
    recurrent_scale: Gain = 1.0,
    dtype=jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.RNNCellBase:
    """Build a `SystemCell`, by a function whose options can be read off.

    Args:
        system: a key of `SYSTEMS`.
        in_features: d.
        hidden_features: the size of the system's state.
        recurrent_scale: the system's parameter.
        dtype: of the state.
        rngs: nnx random streams.

    Returns:
        The cell.
    """
    options = {"recurrent_scale": recurrent_scale, "dtype": dtype, "rngs": rngs}
    return SystemCell(system, in_features, hidden_features, **options)


SYSTEM_CELLS = {name: partial(system_cell, name) for name in SYSTEMS}
"""The constructors of these cells by name."""
