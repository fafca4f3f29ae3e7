"""The measurements as one writes them in PyTorch, and its own recurrent layers: peers.

Weights come from `throughtime.cells`, by the names and in the layout that they have there.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

MODULES = {
    "elman": (torch.nn.RNNCell, torch.nn.RNN),
    "gru": (torch.nn.GRUCell, torch.nn.GRU),
    "lstm": (torch.nn.LSTMCell, torch.nn.LSTM),
}
"""The cell and the layer of each of our cells; the gates lie in the same order."""


def threaded(run: Callable[[], Any], cores: int) -> tuple[Callable[[], Any], int]:
    """The run on one thread or on all cores, whichever is quicker, and on how many that is."""

    def on(threads: int) -> Any:
        torch.set_num_threads(threads)
        return run()

    seconds = {}
    for threads in {1, cores}:
        on(threads)
        began = time.perf_counter()
        on(threads)
        seconds[threads] = time.perf_counter() - began
    best = min(seconds, key=lambda threads: seconds[threads])
    return lambda: on(best), best


def module(cell: str, weights: dict[str, np.ndarray], *, is_layer: bool = False):
    """PyTorch's cell, or layer, with the weights of ours."""
    inputs, recurrent = weights["input_kernel"].T, weights["recurrent_kernel"].T
    dtype = getattr(torch, str(inputs.dtype))
    made = MODULES[cell][is_layer](inputs.shape[1], recurrent.shape[1], dtype=dtype)
    second = np.zeros_like(weights["bias"])
    if "candidate_bias" in weights:
        second[-len(weights["candidate_bias"]) :] = weights["candidate_bias"]
    with torch.no_grad():
        values = (inputs, recurrent, weights["bias"], second)
        for parameter, value in zip(made.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(np.array(value)))
    return made


def next_state(cell, x, state):
    """The next state ``(B, n)``; of an LSTM it is (c, h), side by side, so that both have grads."""
    if not isinstance(cell, torch.nn.LSTMCell):
        return cell(x, state)
    c, h = state.chunk(2, -1)
    h, c = cell(x, (h, c))
    return torch.cat([c, h], -1)


def gradient_norms(cell, readout, inputs, targets) -> list[float]:
    """‖dL/dh_t‖ for t = 1 … T over all sequences; L = mean over them of ½ ‖h_T W_y − target‖².

    Inputs are ``(T, B, d)``. The weights ask for no gradient of their own: nobody asked for it.
    """
    size = cell.hidden_size * (2 if isinstance(cell, torch.nn.LSTMCell) else 1)
    state = inputs.new_zeros(inputs.shape[1], size, requires_grad=True)
    states = []
    for x in inputs:
        state = next_state(cell, x, state)
        state.retain_grad()
        states.append(state)
    outputs = states[-1][:, -cell.hidden_size :] @ readout
    (0.5 * ((outputs - targets) ** 2).sum() / len(targets)).backward()
    adjoints = torch.stack([state.grad for state in states])
    return torch.linalg.vector_norm(adjoints, dim=(1, 2)).tolist()


@torch.no_grad()
def spectrum(cell, frame, inputs) -> np.ndarray:
    """λ_i = (1/T) Σ_t ln |(R_t)_ii| of each orbit from h_0 = 0, by jacrev and a QR per step.

    Inputs are ``(B, T, d)``, the frame is Q_0 ``(n, n)``, the exponents are ``(B, n)``.
    """

    def step(h, x):
        h_next = next_state(cell, x, h)
        return h_next, h_next

    # One orbit needs no vmap, and is quicker without.
    jacobian = torch.func.jacrev(step, has_aux=True)
    advance = torch.func.vmap(jacobian) if len(inputs) > 1 else _squeezed(jacobian)
    h, frame = inputs.new_zeros(len(inputs), len(frame)), torch.from_numpy(frame.copy())
    total = torch.zeros_like(h)
    for x in inputs.unbind(1):
        matrix, h = advance(h, x)
        frame, r = torch.linalg.qr(matrix @ frame)
        total += r.diagonal(dim1=-2, dim2=-1).abs().log()
    return (total / inputs.shape[1]).numpy()


def _squeezed(function):
    """A function of one orbit as a function of a batch of one."""

    def batched(h, x):
        return tuple(each[None] for each in function(h[0], x[0]))

    return batched


def loss_and_gradients(layer, inputs) -> list[np.ndarray]:
    """L = mean of h² over all steps, and its gradients by the weights; inputs ``(T, B, d)``."""
    layer.zero_grad(set_to_none=True)
    loss = layer(inputs)[0].square().mean()
    loss.backward()
    return [loss.detach().numpy(), *(parameter.grad.numpy() for parameter in layer.parameters())]
