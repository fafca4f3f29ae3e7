"""One step of cells in NumPy, from the papers' equations, and what their gates are at it.

A step takes the cell's weights and constants by name, the flattened state and an input, real or
complex: an imaginary part carries a derivative through the analytic ones ("complex step").
"""

import numpy as np
import scipy.linalg

EPSILON = 1e-30
"""The complex step: nothing is subtracted, so the smaller the better."""


def sig(a):
    return 1 / (1 + np.exp(-a))


def affine(w, x, h):
    """The pre-activations of all gates that see x and h, one array a gate."""
    terms = x @ w["input_kernel"] + h @ w["recurrent_kernel"] + w["bias"]
    return np.split(terms, len(terms) // len(h))


def mgu(w, h, x):
    """Zhou et al. 2016, table 1."""
    (w_f, w_n), (u_f, u_n) = (np.split(w[k], 2, 1) for k in ("input_kernel", "recurrent_kernel"))
    b_f, b_n = np.split(w["bias"], 2)
    f = sig(x @ w_f + h @ u_f + b_f)
    return (1 - f) * h + f * np.tanh(x @ w_n + (f * h) @ u_n + b_n), {"forget": f}


def ugrnn(w, h, x):
    """Collins et al. 2017, section 1.1."""
    g, c = affine(w, x, h)
    return sig(g) * h + (1 - sig(g)) * np.tanh(c), {"update": sig(g)}


def minimal_rnn(w, h, x):
    """Chen 2017, section 2."""
    z = np.tanh(x @ w["input_kernel"] + w["bias"])
    u = sig(h @ w["recurrent_kernel"] + z @ w["code_kernel"] + w["gate_bias"])
    return u * h + (1 - u) * z, {"update": u}


def lstm_peephole(w, state, x):
    """Greff et al. 2017, section 2: the output gate sees the cell that is new."""
    c, h = np.split(state, 2)
    i, f, g, o = affine(w, x, h)
    p_i, p_f, p_o = w["peepholes"].T
    i, f = sig(i + p_i * c), sig(f + p_f * c)
    c = i * np.tanh(g) + f * c
    o = sig(o + p_o * c)
    return np.concatenate([c, o * np.tanh(c)]), {"input": i, "forget": f, "output": o}


def lstm_coupled(w, state, x):
    """Greff et al. 2017, section 3, CIFG without peepholes."""
    c, h = np.split(state, 2)
    f, g, o = affine(w, x, h)
    c = (1 - sig(f)) * np.tanh(g) + sig(f) * c
    return np.concatenate([c, sig(o) * np.tanh(c)]), {"forget": sig(f), "output": sig(o)}


def lem(w, state, x):
    """Rusch et al. 2022, eq. 3."""
    z, y = np.split(state, 2)
    v_1, v_2, v_z, v_y = np.split(x @ w["input_kernel"] + w["bias"], 4)
    w_1, w_2, w_z, w_y = np.split(w["recurrent_kernel"], 4, axis=1)
    one, two = sig(y @ w_1 + v_1), sig(y @ w_2 + v_2)
    z = z + w["step_size"] * one * (np.tanh(y @ w_z + v_z) - z)
    y = y + w["step_size"] * two * (np.tanh(z @ w_y + v_y) - y)
    return np.concatenate([z, y]), {"step_z": one, "step_y": two}


def cornn(w, state, x):
    """The authors' code, hz before hy."""
    hz, hy = np.split(state, 2)
    both = np.concatenate(np.split(w["recurrent_kernel"], 2, axis=1))
    force = np.tanh(np.concatenate([hy, hz]) @ both + x @ w["input_kernel"] + w["bias"])
    hz = hz + w["step_size"] * (force - w["frequency"] * hy - w["damping"] * hz)
    return np.concatenate([hz, hy + w["step_size"] * hz]), {}


def antisymmetric(w, h, x):
    """Chang et al. 2019, section 3, with rows for columns."""
    m = w["skew_kernel"] - w["skew_kernel"].T - w["damping"] * np.eye(len(h))
    terms = np.split(x @ w["input_kernel"] + w["bias"], len(w["bias"]) // len(h))
    change = w["step_size"] * np.tanh(h @ m + terms[0])
    if len(terms) == 1:
        return h + change, {}
    gate = sig(h @ m + terms[1])
    return h + gate * change, {"input": gate}


def rotation(w):
    """Q by SciPy, of the entries above the diagonal."""
    a = np.triu(w["skew_kernel"], 1)
    a = a - a.T
    if w["map"] == "exp":
        return scipy.linalg.expm(a)
    return np.linalg.solve(np.eye(len(a)) + a, np.eye(len(a)) - a)


def exp_rnn(w, h, x):
    """Lezcano-Casado, Martínez-Rubio 2019, and Helfrich et al. 2018; with a gain."""
    a = x @ w["input_kernel"] + w["gain"] * (h @ rotation(w))
    magnitude = np.abs(a.real) + w["bias"].real
    return np.where(magnitude > 0, a + w["bias"] * np.sign(a.real), 0), {}


STEPS = {
    step.__name__: step
    for step in (
        *(mgu, ugrnn, minimal_rnn, lstm_peephole, lstm_coupled, lem),
        *(cornn, antisymmetric, exp_rnn),
    )
}
CONSTANTS = ("step_size", "frequency", "damping", "map")


def constants(cell):
    """The constants of a cell by name."""
    return {name: getattr(cell, name) for name in CONSTANTS if hasattr(cell, name)}


def follow(name, w, state, xs):
    """The state after all inputs, and the gates at each."""
    found = []
    for x in xs:
        state, gates = STEPS[name](w, state, x)
        found.append(gates)
    return state, found
