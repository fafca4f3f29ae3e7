"""The recurrences of the papers, written out in NumPy: no stabiliser, complex numbers as such.

Each takes the weights by the names that the cells have for them, a list of inputs and the gain,
and gives the hidden states.
"""

import numpy as np


def sig(a):
    return 1 / (1 + np.exp(-a))


def min_gru(w, xs, g, **_):
    h, found = 0.0, []
    for x in xs:
        a_z, n = np.split(x @ w["input_kernel"] + w["bias"], 2)
        h = g * (1 - sig(a_z)) * h + sig(a_z) * n
        found.append(h)
    return np.array(found)


def min_lstm(w, xs, g, **_):
    h, found = 0.0, []
    for x in xs:
        i, f, n = np.split(x @ w["input_kernel"] + w["bias"], 3)
        i, f = sig(i), sig(f)
        h = g * f / (f + i) * h + i / (f + i) * n
        found.append(h)
    return np.array(found)


def paired(array):
    """Real parts, then imaginary parts, as complex numbers."""
    re, im = np.split(np.asarray(array), 2, axis=-1)
    return re + 1j * im


def linear(kept, let_in, w, xs):
    h, found = 0.0, []
    for x in xs:
        h = kept * h + let_in * (x @ paired(w["input_kernel"]))
        found.append(np.concatenate([h.real, h.imag]))
    return np.array(found)


def lru(w, xs, g, **_):
    kept = np.exp(-np.exp(w["log_decay"]) + 1j * np.exp(w["log_phase"]))
    return linear(g * kept, np.exp(w["log_input_gain"]), w, xs)


def s5(w, xs, g, **_):
    a, step = -np.exp(w["log_decay"]) + 1j * w["frequency"], np.exp(w["log_step"])
    kept = np.exp(step * a)
    return linear(g * kept, (kept - 1) / a, w, xs)


def selective(w, xs, g, channel_size=1, **_):
    channels = len(w["log_decay"]) // channel_size
    a = -np.exp(w["log_decay"]).reshape(channels, channel_size)
    h, found = 0.0, []
    for x in xs:
        terms = x @ w["input_kernel"]
        step = np.log1p(np.exp(terms[:channels] + w["step_bias"]))[:, None]
        u, b = terms[channels : 2 * channels, None], terms[2 * channels :][None]
        h = g * np.exp(step * a) * h + step * b * u
        found.append(h.ravel())
    return np.array(found)


FORGET = {"sigmoid": sig, "exponential": np.exp}


def slstm(w, xs, g, forget_gate="sigmoid", **_):
    """Of eq. 8–14; the gain is in the recurrent kernel."""
    c = n = 0.0
    h, found = np.zeros(w["recurrent_kernel"].shape[0]), []
    for x in xs:
        terms = x @ w["input_kernel"] + h @ w["recurrent_kernel"] + w["bias"]
        i, f, z, o = np.split(terms, 4)
        i, f = np.exp(i), FORGET[forget_gate](f)
        c, n = f * c + i * np.tanh(z), f * n + i
        h = sig(o) * c / n
        found.append(h)
    return np.array(found)


def mlstm(w, xs, g, forget_gate="sigmoid", **_):
    """Of eq. 19–27."""
    size = len(w["bias"]) // 4
    c, n, found = np.zeros((size, size)), np.zeros(size), []
    for x in xs:
        w_q, w_k, w_v, w_o = np.split(w["input_kernel"], 4, axis=1)
        b_q, b_k, b_v, b_o = np.split(w["bias"], 4)
        q, k, v = x @ w_q + b_q, x @ w_k / np.sqrt(size) + b_k, x @ w_v + b_v
        i, f = x @ w["gate_kernel"] + w["gate_bias"]
        i, f = np.exp(i), g * FORGET[forget_gate](f)
        c, n = f * c + i * np.outer(v, k), f * n + i * k
        found.append(sig(x @ w_o + b_o) * (c @ q) / max(abs(n @ q), 1))
    return np.array(found)


STEPS = {
    "min_gru": min_gru,
    "min_lstm": min_lstm,
    "lru": lru,
    "s5": s5,
    "selective": selective,
    "slstm": slstm,
    "mlstm": mlstm,
}
