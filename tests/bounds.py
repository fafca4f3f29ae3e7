"""Bounds of rounding errors, from which tests have their tolerances (Higham 2002).

ε is the distance from 1 to the next float, twice the unit roundoff of the book: its bounds hold
with a factor of 2 to spare, in any order of summation and with fused multiply-adds or without.
"""

import jax.numpy as jnp
import numpy as np

FUNCTION = 16
"""Roundings that one exp, log, tanh or σ counts for: libm and XLA err by a few units at most."""


def gamma(roundings, dtype=jnp.float64):
    """γ_k = k ε / (1 − k ε): the relative error of k roundings in a row (lemma 3.1)."""
    share = float(roundings) * float(jnp.finfo(dtype).eps)
    assert share < 1
    return share / (1 - share)


def states(steps, terms, dtype=jnp.float64):
    """Of a cell whose units add so many terms and pass them through up to four functions.

    Relative to the largest state, and to what the steps make of a change: about 1 in these tests.
    """
    return gamma(steps * (terms + 4 * FUNCTION), dtype)


def factored(length, n, dtype=jnp.float64):
    """Of a product of (n, n) matrices by Householder's QR at each step (theorem 19.4).

    Relative in norm, so of a logarithm in nats; an orthogonal factor that is rounded has as much.
    """
    return gamma(4 * length * n**2, dtype)


def near(found, expected, bound):
    """Whether entries agree up to a bound relative to the largest one: their sums may cancel."""
    found, expected = np.asarray(found), np.asarray(expected)
    return bool(np.all(np.abs(found - expected) <= bound * np.max(np.abs(expected))))
