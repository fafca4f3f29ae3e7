"""Remedies in the loss: Ω of Pascanu et al., gradient flossing, and soft orthogonality."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from throughtime.adjoints import pull_back
from throughtime.cells import ElmanCell, as_step
from throughtime.lyapunov import lyapunov_spectrum
from throughtime.mitigations.kernels import recurrent_kernels
from throughtime.mitigations.mitigation import Mitigation, Preparation, integer, number
from throughtime.scaled import at_least_float32, log_norm


def omega(*, weight: Any = 4.0, bound: Any = 1e-20) -> Mitigation:
    """Add weight · Ω to the loss, which asks each step to keep the length of the gradient.

    Args:
        weight: >= 0; the paper has 0.5 to 4.
        bound: gradients of a state whose squared norm is below it do not count, >= 0.

    Returns:
        The mitigation; its penalty is `vanishing_penalty`.

    References:
        Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, eq. 9–10.
    """
    weight, bound = number("weight", weight, 0), number("bound", bound, 0)

    def penalty(cell, inputs, loss):
        return weight * vanishing_penalty(cell, inputs, loss, bound)

    return Mitigation(penalty=penalty)


def vanishing_penalty(
    cell: Any,
    inputs: Float[Array, "B T d"],
    loss: Callable,
    bound: int | float | Float[Array, ""] = 1e-20,
) -> Float[Array, ""]:
    """Ω: how far the steps are from keeping the length of the gradient that passes them.

    r_bt = ‖J_btᵀ a_bt‖² / ‖a_bt‖²,  J_t = ∂step(h, x_t)/∂h at h_{t−1},  a_bt = dL/dh_bt
    Ω = Σ_t mean_b [n_bt (r_bt − 1)²] / Σ_t mean_b n_bt,    n_bt = 1 if ‖a_bt‖² >= bound, else 0

    with squared norms and over t = 1 … T, as the authors' code has it. h_{t−1}, x_t and a_t are
    constants: only the dependence of J_t on the parameters is differentiated ("immediate"
    derivatives). In an `ElmanCell` the slope f' is held constant, too, so that, as in their code,
    only the recurrent kernel (and its gain, where normalised) is asked to change. In other cells
    the slopes of gates and activations follow the parameters, input weights and biases among them,
    of which the paper says nothing.

    Args:
        cell: any `nnx.RNNCellBase`; its whole carry is the state.
        inputs: ``(B, T, d)``.
        loss: of the outputs ``(B, T, m)``, L itself, with its mean over the batch.
        bound: below it, gradients do not count.

    Returns:
        Ω; 0 if no gradient reaches the bound. The adjoints are `Scaled`: a norm of 1e-300 is still
        one in float32, if ``bound`` is 0.
    """
    bridge = as_step(_constant(cell))
    runs = jax.vmap(bridge.follow)(inputs)
    direct = jax.grad(lambda states: loss(jax.vmap(bridge.outputs)(runs._replace(states=states))))(
        runs.states
    )
    previous = jax.vmap(lambda run: run.previous)(runs)
    adjoints = jax.vmap(lambda *each: pull_back(bridge.step, *each)[1])(direct, previous, inputs)
    adjoints, previous = jax.lax.stop_gradient((adjoints, previous))
    pulled = jax.vmap(jax.vmap(_transport(cell)))(previous, inputs, adjoints.mantissa)
    logs = 2 * log_norm(adjoints)
    counts = jnp.isfinite(logs) & (logs >= _log(bound, logs.dtype))
    # In float16 a step that stretches 16-fold would have a squared error beyond its range.
    mantissas, pulled = (each.astype(logs.dtype) for each in (adjoints.mantissa, pulled))
    lengths = jnp.sum(jnp.square(mantissas), axis=-1)
    ratios = jnp.sum(jnp.square(pulled), axis=-1) / jnp.where(counts, lengths, 1)
    errors = jnp.where(counts, jnp.square(ratios - 1), 0)
    return jnp.sum(errors) / jnp.maximum(jnp.sum(counts), 1).astype(errors.dtype)


def _log(bound: int | float | Float[Array, ""], dtype) -> Float[Array, ""]:
    """The logarithm of a number >= 0, which may be below the least float of the dtype."""
    if isinstance(bound, int | float):
        return jnp.asarray(math.log(bound) if bound else -math.inf, dtype)
    return jnp.log(jnp.asarray(bound, dtype))


def _constant(cell: Any) -> Any:
    """The cell with parameters that are not differentiated."""
    graphdef, state = nnx.split(cell)
    return nnx.merge(graphdef, jax.lax.stop_gradient(state))


def _transport(cell: Any) -> Callable:
    """(h, x, a) to J(h, x)ᵀ a, as the cell's parameters change it at once."""
    if type(cell) is not ElmanCell:
        step = as_step(cell).step
        return lambda h, x, a: jax.vjp(lambda h: step(h, x), h)[1](a)[0]
    frozen = _constant(cell)

    def transport(h, x, a):
        terms = frozen.input_terms(x) + frozen.recurrent_terms(h)
        (slope_a,) = jax.vjp(frozen.activation, terms)[1](a)
        return jax.vjp(cell.recurrent_terms, h)[1](slope_a)[0]

    return transport


def flossing(
    *,
    exponents: Any = 8,
    targets: Any = 0.0,
    steps: Any = 500,
    learning_rate: Any = 1e-3,
    weight: Any = 0.0,
    sequences: Any = 1,
) -> Mitigation:
    """Push the leading Lyapunov exponents to zero, before training, during it, or both.

    Args:
        exponents: k, how many; at most the size of the state.
        targets: what they are pushed to, nats per step: one number for all.
        steps: of Adam before training; 0 for none.
        learning_rate: of these.
        weight: of the penalty in the loss of training; 0 for none.
        sequences: along how many sequences of the batch, the first ones, they are measured.

    Returns:
        The mitigation; its objective is `flossing_penalty`.

    References:
        Engelken 2023, Gradient flossing, arXiv:2312.17306.
    """
    exponents, sequences = integer("exponents", exponents, 1), integer("sequences", sequences, 1)
    targets = number("targets", targets)
    steps, weight = integer("steps", steps, 0), number("weight", weight, 0)
    learning_rate = number("learning_rate", learning_rate, above=0)

    def objective(cell, inputs, loss):
        del loss
        return flossing_penalty(cell, inputs[:sequences], exponents, targets)

    def penalty(cell, inputs, loss):
        return weight * objective(cell, inputs, loss)

    return Mitigation(
        prepare=Preparation(objective, steps, learning_rate) if steps else None,
        penalty=penalty if weight else None,
    )


def flossing_penalty(
    cell: Any, inputs: Float[Array, "B T d"], num_exponents: int, target: int | float = 0.0
) -> Float[Array, ""]:
    """The mean of (λ_i − target)² over the leading k exponents, and over the sequences.

    The exponents are those of the whole carry along the orbit of each sequence from the cell's own
    start, by a QR decomposition at every step, without a transient.

    Args:
        cell: any `nnx.RNNCellBase`.
        inputs: the sequences that drive it, ``(B, T, d)``.
        num_exponents: k.
        target: nats per step.

    Returns:
        The mean, over those exponents that are not −inf: a direction that a step annihilates, as
        dead rectifiers do, has no exponent to push. NaN if an orbit does not stay finite.

    Raises:
        ValueError: if the state has fewer than k numbers.

    References:
        Engelken 2023, arXiv:2312.17306, eq. 5.
    """
    step, h0, _ = as_step(cell)

    def exponents(xs):
        return lyapunov_spectrum(step, h0, xs, num_exponents).exponents

    found = jax.vmap(exponents)(inputs)
    lost = jnp.isneginf(found)
    squares = jnp.square(jnp.where(lost, target, found) - target)
    return jnp.sum(squares) / jnp.maximum(jnp.sum(~lost), 1).astype(squares.dtype)


def orthogonality(*, weight: Any = 1e-3) -> Mitigation:
    """Add weight · Σ_gates ‖W_gᵀ W_g − I‖_F² to the loss, W_g the recurrent kernel of gate g.

    Args:
        weight: >= 0.

    Returns:
        The mitigation.

    References:
        Vorontsov, Trabelsi, Kadoury, Pal 2017, arXiv:1702.00071; Brock, Lim, Ritchie, Weston 2017,
        arXiv:1609.07093.
    """
    weight = number("weight", weight, 0)

    def penalty(cell, inputs, loss):
        del inputs, loss
        return weight * sum(map(_distance, recurrent_kernels(_parameters(cell))))

    return Mitigation(penalty=penalty)


def _distance(kernel: Float[Array, "N N"]) -> Float[Array, ""]:
    """‖Wᵀ W − I‖_F² in float32 at least: for 256 units of scale 4 it is beyond float16."""
    kernel = kernel.astype(at_least_float32(kernel.dtype))
    return jnp.sum(jnp.square(kernel.T @ kernel - jnp.eye(len(kernel), dtype=kernel.dtype)))


def _parameters(cell: Any) -> PyTree:
    """The cell's parameters."""
    return nnx.state(cell, nnx.Param)
