"""Remedies on the gradient: what it passes before the optimiser, and how far back it goes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key, PyTree

from throughtime.mitigations.clipping import clip_by_norm, clip_by_unit
from throughtime.mitigations.mitigation import Mitigation, integer, number


def clip(*, max_norm: Any = 1.0) -> Mitigation:
    """Shorten a gradient that is too long, g · min(1, max_norm/‖g‖), all parameters together.

    Args:
        max_norm: > 0.

    Returns:
        The mitigation.

    References:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, algorithm 1.
    """
    max_norm = number("max_norm", max_norm, above=0)
    return Mitigation(gradient=lambda key: clip_by_norm(max_norm))


def clip_value(*, max_value: Any = 1.0) -> Mitigation:
    """Cut every component of the gradient to [−max_value, max_value], which turns it.

    Args:
        max_value: > 0.

    Returns:
        The mitigation.

    References:
        Mikolov 2012, Statistical language models based on neural networks, thesis, Brno.
    """
    max_value = number("max_value", max_value, above=0)
    return Mitigation(gradient=lambda key: optax.clip(max_value))


def adaptive_clip(*, clipping: Any = 0.01) -> Mitigation:
    """Shorten each unit's gradient to a share of its weights, ‖g_i‖ <= clipping · max(‖w_i‖, 1e-3).

    A unit is a column of a kernel; a vector is one unit.

    Args:
        clipping: > 0.

    Returns:
        The mitigation.

    References:
        Brock, De, Smith, Simonyan 2021, arXiv:2102.06171.
    """
    clipping = number("clipping", clipping, above=0)
    return Mitigation(gradient=lambda key: clip_by_unit(clipping))


class NoiseState(NamedTuple):
    """The updates so far, and the key of the noise."""

    updates: Int[Array, ""]
    key: Key[Array, ""]


def gradient_noise(*, eta: Any = 0.01, gamma: Any = 0.55) -> Mitigation:
    """Add noise to every component of the gradient, N(0, eta/(1 + t)^gamma) at update t = 0, 1, ….

    Args:
        eta: the variance at the first update, >= 0.
        gamma: how fast it decays, >= 0.

    Returns:
        The mitigation.

    References:
        Neelakantan et al. 2015, arXiv:1511.06807: eta 0.01, 0.3 or 1, gamma 0.55.
    """
    eta, gamma = number("eta", eta, 0), number("gamma", gamma, 0)

    # optax.add_noise raises an int to a float, which strict dtype promotion refuses.
    def noise(key: Key[Array, ""]) -> optax.GradientTransformation:
        def init(params: PyTree) -> NoiseState:
            del params
            return NoiseState(jnp.zeros((), jnp.int32), key)

        def update(updates: PyTree, state: Any, params: PyTree | None = None):
            del params
            deviation = eta**0.5 * (1 + state.updates.astype(jnp.float32)) ** (-gamma / 2)
            leaves, tree = jax.tree.flatten(updates)
            keys = jax.random.split(jax.random.fold_in(state.key, state.updates), len(leaves))
            noisy = [_plus(g, deviation, k) for g, k in zip(leaves, keys, strict=True)]
            return jax.tree.unflatten(tree, noisy), NoiseState(state.updates + 1, state.key)

        return optax.GradientTransformation(init, update)

    return Mitigation(gradient=noise)


def _plus(gradient, deviation, key):
    """A gradient and its noise, drawn in float32 and so the same in every dtype."""
    noise = deviation * jax.random.normal(key, gradient.shape, jnp.float32)
    return gradient + noise.astype(gradient.dtype)


def weight_decay(*, weight: Any = 1e-4) -> Mitigation:
    """Add weight · W to the gradient of every matrix W, the read-out's too, and of nothing else.

    It is the gradient of weight/2 · ‖W‖² (L2), in its place among the other remedies and before
    the optimiser: Adam scales it as it does the rest, which decoupled decay would not be.

    Args:
        weight: >= 0.

    Returns:
        The mitigation.

    References:
        Krogh, Hertz 1992, A simple weight decay can improve generalization; Loshchilov, Hutter
        2019, arXiv:1711.05101 (decoupled).
    """
    weight = number("weight", weight, 0)

    def matrices(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.ndim(leaf) >= 2, tree)

    return Mitigation(gradient=lambda key: optax.add_decayed_weights(weight, mask=matrices))


def truncate(*, k1: Any, k2: Any) -> Mitigation:
    """Backpropagate every k1 steps, and k2 steps far: truncated BPTT.

    Args:
        k1: steps from one update to the next, >= 1.
        k2: steps that the gradient goes back, >= k1.

    Returns:
        The mitigation.

    Raises:
        ValueError: if k2 < k1: the loss of some steps would go nowhere.

    References:
        Williams, Peng 1990, Neural Computation 2, 490, BPTT(h; h').
    """
    k1 = integer("k1", k1, 1)
    return Mitigation(window=(k1, integer("k2", k2, k1)))


def dropout(*, rate: Any = 0.5) -> Mitigation:
    """Leave out outputs before the read-out, the same ones in all steps of a sequence.

    Args:
        rate: the share left out, in [0, 1).

    Returns:
        The mitigation.

    Raises:
        ValueError: if the rate is out of range.

    References:
        Gal, Ghahramani 2016, arXiv:1512.05287.
    """
    rate = number("rate", rate, 0)
    if rate >= 1:
        raise ValueError(f"rate must be below 1, not {rate:g}: no output would be left.")
    return Mitigation(dropout=rate)
