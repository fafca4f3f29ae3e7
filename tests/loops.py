"""Cells in NumPy, one step after the other in a Python loop: what networks are compared with."""

import numpy as np

from throughtime.cells import ElmanCell, LSTMCell


def sig(a):
    return 1 / (1 + np.exp(-a))


def rest(cell):
    """The carry before the first input."""
    zeros = np.zeros(cell.hidden_features)
    return (zeros, zeros) if isinstance(cell, LSTMCell) else zeros


def read(carry):
    return carry[-1] if isinstance(carry, tuple) else carry


def move(cell, carry, x):
    """One step of a plain network (tanh or linear) or an LSTM."""
    a = x @ np.asarray(cell.input_kernel[...]) + np.asarray(cell.bias[...])
    a = a + read(carry) @ np.asarray(cell.recurrent_kernel[...])
    if isinstance(cell, ElmanCell):
        return np.tanh(a)
    assert isinstance(cell, LSTMCell)
    i, f, g, o = np.split(a, 4)
    c = sig(f) * carry[0] + sig(i) * np.tanh(g)
    return c, sig(o) * np.tanh(c)


def follow(cell, xs, carry=None):
    """What is read out after every step, and the last carry."""
    carry, history = rest(cell) if carry is None else carry, []
    for x in np.asarray(xs):
        carry = move(cell, carry, x)
        history.append(read(carry))
    return np.array(history), carry


def follow_layers(cells, every, xs):
    """The carries of all layers after every step, flattened; a slow layer moves by an if."""
    carries, history = [rest(cell) for cell in cells], []
    for t, x in enumerate(np.asarray(xs), start=1):
        for layer, (cell, stride) in enumerate(zip(cells, every, strict=True)):
            if t % stride == 0:
                carries[layer] = move(cell, carries[layer], x)
            x = read(carries[layer])
        history.append(np.concatenate([np.ravel(carry) for carry in carries]))
    return np.array(history)
