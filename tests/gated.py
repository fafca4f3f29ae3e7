"""One step of the gated cells and the three parts of its Jacobian, written out by hand.

In NumPy's arithmetic or, on arrays of mpmath numbers, in that of mpmath.
"""

import mpmath
import numpy as np


def _exp(a):
    return np.vectorize(mpmath.exp, otypes=[object])(a) if a.dtype == object else np.exp(a)


def sig(a):
    return 1 / (1 + _exp(-a))


def tanh(a):
    return 1 - 2 / (1 + _exp(2 * a))


def rows(v, w):
    """diag(v) Wᵀ: how v ∘ (h @ W) changes with h."""
    return v[:, None] * w.T


def lstm(w, state, x):
    """(c', h') and, as blocks of rows for c' and h', H, G and R."""
    w_x, b, w_h, b_h = w
    c, h = np.split(state, 2)
    i, f, g, o = np.split(x @ w_x + b + h @ w_h + b_h, 4)
    i, f, g, o = sig(i), sig(f), tanh(g), sig(o)
    w_i, w_f, w_g, w_o = np.split(w_h, 4, axis=1)
    c_next = f * c + i * g
    t = tanh(c_next)
    slope = (o * (1 - t**2))[:, None]
    by_c = np.diag(f)
    by_gates = rows(f * (1 - f) * c, w_f) + rows(i * (1 - i) * g, w_i)
    by_candidate = rows(i * (1 - g**2), w_g)
    no = 0 * by_c
    return np.concatenate([c_next, o * t]), (
        np.block([[by_c, no], [slope * by_c, no]]),
        np.block([[no, by_gates], [no, slope * by_gates + rows(o * (1 - o) * t, w_o)]]),
        np.block([[no, by_candidate], [no, slope * by_candidate]]),
    )


def gru(w, h, x):
    """h' and H, G and R."""
    w_x, b, w_h, b_h = w
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(x @ w_x + b, 3), np.split(h @ w_h + b_h, 3)
    r, z = sig(x_r + h_r), sig(x_z + h_z)
    n = tanh(x_n + r * h_n)
    w_r, w_z, w_n = np.split(w_h, 3, axis=1)
    slope = (1 - z) * (1 - n**2)
    gates = rows(z * (1 - z) * (h - n), w_z) + rows(slope * h_n * r * (1 - r), w_r)
    return (1 - z) * n + z * h, (np.diag(z), gates, rows(slope * r, w_n))


STEPS = {
    "lstm": lstm,
    "gru": gru,
    "flax_lstm": lstm,
    "flax_optimized_lstm": lstm,
    "flax_gru": gru,
}


def orbit(step, w, state, xs):
    """The parts of the steps 1 … T along the orbit from a state."""
    parts = []
    for x in xs:
        state, part = step(w, state, x)
        parts.append(part)
    return parts


def _side(cell, names):
    """The kernels and biases of some of Flax's linear maps, side by side."""
    maps = [getattr(cell, name) for name in names]
    kernels = [np.asarray(one.kernel[...]) for one in maps]
    biases = [
        np.zeros(kernel.shape[1]) if one.bias is None else np.asarray(one.bias[...])
        for one, kernel in zip(maps, kernels, strict=True)
    ]
    return [np.concatenate(kernels, axis=1), np.concatenate(biases)]


def weights(cell):
    """[W_x, b_x, W_h, b_h] of any of the cells, the gates side by side."""
    if hasattr(cell, "recurrent_kernel"):
        bias = np.zeros(cell.bias[...].shape)
        if hasattr(cell, "candidate_bias"):
            bias[2 * cell.hidden_features :] = cell.candidate_bias[...]
        ours = (cell.input_kernel, cell.bias, cell.recurrent_kernel)
        return [*(np.asarray(one[...]) for one in ours), bias]
    if hasattr(cell, "dense_h"):
        return _side(cell, ["dense_i"]) + _side(cell, ["dense_h"])
    return _side(cell, ["ii", "if_", "ig", "io"]) + _side(cell, ["hi", "hf", "hg", "ho"])
