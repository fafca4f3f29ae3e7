"""The two cells of the xLSTM, with exponential input gates held in the float range."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from throughtime.cells.activations import identity, sigmoid, tanh
from throughtime.cells.recurrent import GatedCell
from throughtime.cells.weightless import WeightlessCell
from throughtime.initializers import gaussian
from throughtime.names import known

Vectors = tuple[
    Float[Array, "*B n"], Float[Array, "*B n"], Float[Array, "*B n"], Float[Array, "*B n"]
]
Matrix = tuple[
    Float[Array, "*B n n"], Float[Array, "*B n"], Float[Array, "*B 1"], Float[Array, "*B n"]
]
"""The state (c, n, m, h), its memory one number a unit, or a matrix."""

FORGET_GATES: dict[str, Callable] = {"sigmoid": jax.nn.log_sigmoid, "exponential": identity}
"""ln f of the pre-activation by the name of the forget gate."""


def _stabilised(log_f, log_i, m):
    """The gates f and i over e^{m' − m} and e^{m'}, and m' = max(ln f + m, ln i): one is 1."""
    new = jnp.maximum(log_f + m, log_i)
    return jnp.exp(log_f + m - new), jnp.exp(log_i - new), new


class SLSTMCell(GatedCell):
    """The scalar-memory cell of the xLSTM (sLSTM), of one head; its state is (c, n, m, h).

    i = exp(W_xi x + b_i + W_hi h)      f = σ or exp(W_xf x + b_f + W_hf h)
    z = tanh(W_xz x + b_z + W_hz h)     o = σ(W_xo x + b_o + W_ho h)
    C' = f ∘ C + i ∘ z,    M' = f ∘ M + i,    h' = o ∘ C'/M'

    C/M is a mean of past z, weighted by their input gates and forgotten by f. The state holds
    c = C e^{−m} and n = M e^{−m}, with m' = max(ln f + m, ln i), so that any gate is in the float
    range; where n = 0, before the first input, m' = ln i. h does not depend on m: along
    (−c, −n, 1) a change of the state goes unseen, no gradient has a part there, and its exponent
    in a spectrum of the state is 0 where ln f + m always wins, and −∞ where ln i ever does.

    ``recurrent_scale`` is the common gain of W_hi, W_hf, W_hz and W_ho. At b_f the gates alone
    keep an input for about 1 + e^{b_f} steps: two at 0; exp(0) = 1 forgets nothing, and C/M is the
    mean of all.

    Args:
        in_features: d.
        hidden_features: N; the state has 4 N numbers.
        forget_gate: sigmoid or exponential.
        forget_bias: b_f.
        rngs: nnx random streams.
        **weights: recurrent_scale, ensemble, input_scale, layer_norm, dtype, as in `GatedCell`.

    Attributes:
        bias: b_i, b_f, b_z, b_o, ``(4 N,)``.

    References:
        Beck et al. 2024, xLSTM: extended long short-term memory, arXiv:2405.04517, eq. 8–17.
    """

    gates = 4

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        forget_gate: str = "sigmoid",
        forget_bias: float = 0.0,
        rngs: nnx.Rngs,
        **weights,
    ):
        super().__init__(in_features, hidden_features, rngs=rngs, **weights)
        self.log_forget = FORGET_GATES[known("forget_gate", forget_gate, FORGET_GATES)]
        own = slice(hidden_features, 2 * hidden_features)
        self.bias[...] = self.bias[...].at[own].set(forget_bias)

    def __call__(
        self, carry: Vectors, inputs: Float[Array, "*B d"]
    ) -> tuple[Vectors, Float[Array, "*B n"]]:
        """One step; see the class.

        Args:
            carry: (c_{t−1}, n_{t−1}, m_{t−1}, h_{t−1}), each ``(…, N)``.
            inputs: x_t, ``(…, d)``.

        Returns:
            (c_t, n_t, m_t, h_t) and the output h_t.
        """
        c, n, m, h = carry
        terms = self.input_terms(inputs) + self.recurrent_terms(h)
        log_i, a_f, a_z, a_o = jnp.split(terms, 4, axis=-1)
        log_f = self.log_forget(a_f)
        # Where there is nothing to forget, ln f + m does not win: i is 1, and n is not 0.
        m = jnp.where(n == 0, jnp.minimum(m, log_i - log_f), m)
        f, i, m = _stabilised(log_f, log_i, m)
        c = f * c + i * tanh(a_z)
        n = f * n + i
        h = sigmoid(a_o) * c / n
        return (c, n, m, h), h

    def start(self, batch: tuple[int, ...]) -> Vectors:
        """The state before the first input.

        Args:
            batch: the shape of the batch, ``(…)``.

        Returns:
            (c_0, n_0, m_0, h_0), zeros ``(…, N)`` each.
        """
        zeros = super().start(batch)
        return zeros, zeros, zeros, zeros


class MLSTMCell(WeightlessCell):
    """The matrix-memory cell of the xLSTM (mLSTM), of one head; its state is (c, n, m, h).

    q = W_xq x + b_q,    k = W_xk x/√N + b_k,    v = W_xv x + b_v,    o = σ(W_xo x + b_o)
    i = exp(w_i · x + b_i),    f = g σ(w_f · x + b_f)  or  g exp(w_f · x + b_f)
    C' = f C + i v kᵀ,    M' = f M + i k,    h' = o ∘ C' q / max(|M' · q|, 1)

    The state holds c = C e^{−m}, n = M e^{−m} and m, with m_0 = 0 and m' = max(ln f + m, ln i), so
    that any gate is in the float range; what is smaller than the largest weight, or than f · 1, by
    more than that is 0. The output does not depend on m: along (−c, −n, 1) a change of the state
    goes unseen, no gradient has a part there, and its exponent in a spectrum of the state is 0
    where ln f + m always wins, and −∞ where ln i ever does. h never comes back: N exponents more
    are −∞.

    No weights are recurrent: ``recurrent_scale`` is g, of which ln g is added to ln f. Where f > 1
    the memory grows, but not h, which is divided by it, nor the gradient by c and n. At g = 1
    and forget bias b_f the gate alone keeps the memory for 1 + e^{b_f} steps: 21 at 3, the default,
    which is the least of the paper's biases, evenly spaced over its heads from 3 to 6. Its w_i and
    w_f are 0 at the start; here they are drawn as W_x is.

    Args:
        in_features: d.
        hidden_features: N; the state has N² + 2 N + 1 numbers.
        forget_gate: sigmoid or exponential.
        forget_bias: b_f.
        rngs: nnx random streams.
        **weights: recurrent_scale, input_scale, dtype, as in `WeightlessCell`.

    Attributes:
        input_kernel: W_xq, W_xk, W_xv, W_xo, ``(d, 4 N)``.
        bias: b_q, b_k, b_v, b_o, ``(4 N,)``, zero at the start.
        gate_kernel: w_i, w_f, ``(d, 2)``.
        gate_bias: b_i, zero at the start, and b_f, ``(2,)``.

    References:
        Beck et al. 2024, xLSTM: extended long short-term memory, arXiv:2405.04517, eq. 19–27, and
        its code, which divides by max(|n · q|, e^{−m}).
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        forget_gate: str = "sigmoid",
        forget_bias: float = 3.0,
        input_scale: float = 1.0,
        rngs: nnx.Rngs,
        **weights,
    ):
        weights |= {"input_scale": input_scale, "rngs": rngs}
        super().__init__(in_features, hidden_features, 4 * hidden_features, **weights)
        self.log_forget = FORGET_GATES[known("forget_gate", forget_gate, FORGET_GATES)]
        drawn = gaussian(input_scale)(rngs.params(), (in_features, 2), self.dtype)
        self.bias = nnx.Param(jnp.zeros(4 * hidden_features, self.dtype))
        self.gate_kernel = nnx.Param(drawn)
        self.gate_bias = nnx.Param(jnp.asarray([0, forget_bias], self.dtype))

    def input_terms(self, x: Float[Array, "*B d"]) -> Float[Array, "*B m"]:
        """q, k, v and the pre-activation of o.

        Args:
            x: inputs ``(…, d)``.

        Returns:
            ``(…, 4 N)``.
        """
        q, k, v, o = jnp.split(x @ self.input_kernel[...], 4, axis=-1)
        terms = jnp.concatenate([q, k / math.sqrt(self.hidden_features), v, o], axis=-1)
        return terms + jnp.broadcast_to(self.bias[...], terms.shape)

    def gate_terms(self, x: Float[Array, "*B d"]) -> Float[Array, "*B 2"]:
        """The pre-activations of i and f.

        Args:
            x: inputs ``(…, d)``.

        Returns:
            ``(…, 2)``.
        """
        terms = x @ self.gate_kernel[...]
        return terms + jnp.broadcast_to(self.gate_bias[...], terms.shape)

    def __call__(
        self, carry: Matrix, inputs: Float[Array, "*B d"]
    ) -> tuple[Matrix, Float[Array, "*B n"]]:
        """One step; see the class.

        Args:
            carry: (c_{t−1}, n_{t−1}, m_{t−1}, h_{t−1}), ``(…, N, N)``, ``(…, N)``, ``(…, 1)`` and
                ``(…, N)``.
            inputs: x_t, ``(…, d)``.

        Returns:
            (c_t, n_t, m_t, h_t) and the output h_t.
        """
        c, n, m, _ = carry
        q, k, v, a_o = jnp.split(self.input_terms(inputs), 4, axis=-1)
        log_i, a_f = jnp.split(self.gate_terms(inputs), 2, axis=-1)
        log_f = self.log_forget(a_f) + jnp.log(self.constant_gain())
        f, i, m = _stabilised(log_f, log_i, m)
        c = f[..., None] * c + i[..., None] * (v[..., :, None] * k[..., None, :])
        n = f * n + i * k
        h = sigmoid(a_o) * _recalled(c, n, m, q)
        return (c, n, m, h), h

    def start(self, batch: tuple[int, ...]) -> Matrix:
        """The state before the first input.

        Args:
            batch: the shape of the batch, ``(…)``.

        Returns:
            (c_0, n_0, m_0, h_0), zeros ``(…, N, N)``, ``(…, N)``, ``(…, 1)`` and ``(…, N)``.
        """
        zeros = super().start(batch)
        memory = jnp.zeros((*zeros.shape, self.hidden_features), zeros.dtype)
        return memory, zeros, zeros[..., :1], zeros


def _recalled(c, n, m, q):
    """C q/max(|M · q|, 1) for C = c e^m and M = n e^m: both sides over e^m, or as they are."""
    found = jnp.einsum("...ij,...j->...i", c, q)
    size = jnp.abs(jnp.sum(n * q, axis=-1, keepdims=True))
    small = jnp.exp(jnp.minimum(m, 0))
    # Never 0/0, where n · q and e^−m are both below the float range.
    one = jnp.maximum(jnp.exp(-jnp.maximum(m, 0)), jnp.finfo(m.dtype).tiny)
    return small * found / jnp.maximum(small * size, one)
