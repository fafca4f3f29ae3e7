"""Lyapunov spectra as one writes them in NumPy: explicit Jacobians and a QR at every step.

A peer to measure against. Orbits lie side by side on a leading axis, which NumPy's products and QR
take as they are. Weights are named and laid out as in `throughtime.cells`.
"""

import numpy as np


def spectrum(cell: str, weights: dict[str, np.ndarray], frame, inputs) -> np.ndarray:
    """λ_i = (1/T) Σ_t ln |(R_t)_ii| of each orbit from h_0 = 0; J_t Q_{t−1} = Q_t R_t.

    Inputs are ``(B, T, d)``, the frame is Q_0 ``(n, n)``, the exponents are ``(B, n)``.
    """
    step = {"elman": tanh_step, "lstm": lstm_step}[cell]
    h = np.zeros((len(inputs), len(frame)), frame.dtype)
    total = np.zeros_like(h)
    for t in range(inputs.shape[1]):
        h, jacobian = step(weights, h, inputs[:, t])
        frame, r = np.linalg.qr(jacobian @ frame)
        total += np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
    return total / inputs.shape[1]


def tanh_step(weights: dict[str, np.ndarray], h, x) -> tuple[np.ndarray, np.ndarray]:
    """h' = tanh(x W_x + h W_h + b), ``(B, N)``, and ∂h'/∂h, ``(B, N, N)``."""
    W_h = weights["recurrent_kernel"]
    h = np.tanh(x @ weights["input_kernel"] + h @ W_h + weights["bias"])
    return h, (1 - h**2)[:, :, None] * W_h.T


def lstm_step(weights: dict[str, np.ndarray], state, x) -> tuple[np.ndarray, np.ndarray]:
    """(c', h') of (c, h), ``(B, 2 N)``, and its Jacobian, ``(B, 2 N, 2 N)``."""
    c, h = np.split(state, 2, axis=1)
    W_i, W_f, W_g, W_o = (W.T for W in np.split(weights["recurrent_kernel"], 4, axis=1))
    gates = x @ weights["input_kernel"] + h @ weights["recurrent_kernel"] + weights["bias"]
    i, f, g, o = np.split(gates, 4, axis=1)
    i, f, g, o = logistic(i), logistic(f), np.tanh(g), logistic(o)
    c_next = f * c + i * g
    level = np.tanh(c_next)
    from_c = o * (1 - level**2)

    def rows(factor, matrix):
        return factor[:, :, None] * matrix

    c_by_h = rows(g * i * (1 - i), W_i) + rows(c * f * (1 - f), W_f) + rows(i * (1 - g**2), W_g)
    h_by_h = rows(level * o * (1 - o), W_o) + rows(from_c, c_by_h)
    identity = np.eye(h.shape[1], dtype=h.dtype)
    jacobian = np.block([[rows(f, identity), c_by_h], [rows(from_c * f, identity), h_by_h]])
    return np.concatenate([c_next, o * level], axis=1), jacobian


def logistic(a: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−a)."""
    return 1 / (1 + np.exp(-a))
