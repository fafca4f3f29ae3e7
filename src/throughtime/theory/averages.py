"""Gaussian averages, and the activations under them."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import erf

from throughtime.names import known

# A standard normal lies beyond 12 with probability 4e-33.
_CUT = 12.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)

Elementwise = Callable[[np.ndarray], np.ndarray]


class Activation(NamedTuple):
    """An activation φ with its derivative, and its Gaussian moments where they are known.

    Attributes:
        phi: φ, elementwise.
        dphi: φ', elementwise.
        square: q ↦ ⟨φ(√q z)²⟩, z ~ N(0, 1); None is by quadrature.
        slope_square: q ↦ ⟨φ'(√q z)²⟩; None is by quadrature.
    """

    phi: Elementwise
    dphi: Elementwise
    square: Callable[[float], float] | None = None
    slope_square: Callable[[float], float] | None = None


def _erf_square(q: float) -> float:
    """The moment ⟨erf(√q z)²⟩ = (2/π) asin(2q/(1 + 2q)) of Williams 1997."""
    return 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q))


def log_tanh_slope(x: np.ndarray) -> np.ndarray:
    """The log slope ln tanh'(x) = -2 ln cosh x, also where tanh' itself underflows."""
    return 2 * (np.log(2) - np.logaddexp(x, -x))


PRESETS: dict[str, Activation] = {
    "tanh": Activation(np.tanh, lambda x: np.exp(log_tanh_slope(x))),
    "relu": Activation(
        lambda x: np.maximum(x, 0.0),
        lambda x: (x > 0).astype(float),
        lambda q: q / 2,
        lambda q: 0.5,
    ),
    "identity": Activation(lambda x: x, np.ones_like, lambda q: q, lambda q: 1.0),
    "erf": Activation(
        erf,
        lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2)),
        _erf_square,
        lambda q: 4 / np.pi / np.sqrt(1 + 4 * q),
    ),
}
"""The activations by name; all but tanh have their moments in closed form."""


def preset(activation: str | Activation) -> Activation:
    """The activation of that name, or the one given."""
    if isinstance(activation, str):
        return PRESETS[known("activation", activation, PRESETS)]
    return activation


def gaussian_mean(
    function: Callable[[Float[np.ndarray, " nodes"]], Float[np.ndarray, "..."]],
    mean: float = 0.0,
    std: float = 1.0,
) -> float:
    """E f(x) for x ~ N(m, s²), by Gauss-Legendre panels that shrink geometrically towards x = 0.

    Accurate to about 1e-14 where f is analytic but for x = 0 and the imaginary axis, as tanh,
    softplus and ReLU are, however large s is. A kink elsewhere, as a hard tanh has, costs digits.

    Args:
        function: f, elementwise, and of no more than exponential growth.
        mean: m.
        std: s, not negative.

    Returns:
        The average; NaN or inf where f takes such values.
    """
    z, weights = _rule(float(mean / std) if std > 0 else 0.0)
    return float(weights @ function(mean + std * z))


@lru_cache(maxsize=64)
def _rule(ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for a standard normal z, for integrands with a break at z = -ratio."""
    shrinking = 2.0 ** -np.arange(40)
    close = -ratio + np.concatenate([-shrinking, [0.0], shrinking])
    edges = np.concatenate([np.arange(-_CUT, _CUT + 0.5, 0.5), close])
    edges = np.unique(np.clip(edges, -_CUT, _CUT))
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    z = (middle[:, None] + half[:, None] * _NODES).ravel()
    weights = (half[:, None] * _WEIGHTS).ravel() * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return z, weights
