"""The gradient by lag in plain PyTorch, one point after the other: a peer to measure against.

python experiments/benchmark_torch.py grid.json batch.npz rows.csv

A loop as one would write it, and a quick one: weights that ask for no gradient of their own, the
inputs' part of all steps in one product, one backward pass, one norm of all adjoints.
"""

import csv
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

HIDDEN = 32


def draw(seed: int, scale: float, in_features: int, out_features: int) -> tuple:
    """W_x ~ N(0, 1/d), W_h ~ N(0, g²/N) and the read-out ~ N(0, 1/N); the biases are zero."""
    source = torch.Generator().manual_seed(seed)

    def normal(rows, columns, gain=1.0):
        return torch.randn(rows, columns, generator=source) * (gain / math.sqrt(rows))

    return normal(in_features, HIDDEN), normal(HIDDEN, HIDDEN, scale), normal(HIDDEN, out_features)


def gradient_norms(weights: tuple, inputs, target) -> list[float]:
    """‖dL/dh_t‖ for t = 1 … T, over all sequences; L = mean over them of ½ ‖h_T W_y − target‖²."""
    W_x, W_h, W_y = weights
    h = W_h.new_zeros(len(inputs), len(W_h), requires_grad=True)
    states = []
    for driven in (inputs @ W_x).unbind(1):
        h = torch.tanh(driven + h @ W_h)
        states.append(h)
    loss = 0.5 * ((h @ W_y - target) ** 2).sum() / len(inputs)
    adjoints = torch.stack(torch.autograd.grad(loss, states))
    return torch.linalg.vector_norm(adjoints, dim=(1, 2)).tolist()


def log10_ratio(norms: list[float]) -> float:
    """log10 ‖dL/dh_1‖ / ‖dL/dh_T‖ as plain floats have it: −inf where the gradient is lost."""
    first, last = norms[0], norms[-1]
    if not (first and last):
        return -math.inf if last else math.nan
    return math.log10(first / last)


def main() -> None:
    """Measure every point of a grid and write a row for each as it comes."""
    grid_path, batch_path, rows_path = map(Path, sys.argv[1:])
    grid, batch = json.loads(grid_path.read_text()), np.load(batch_path)
    inputs, targets = torch.from_numpy(batch["inputs"]), torch.from_numpy(batch["targets"])
    with rows_path.open("w", buffering=1, newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*grid, "log10_gradient_ratio", "norms"])
        for scale, length, seed in itertools.product(*grid.values()):
            weights = draw(seed, scale, inputs.shape[-1], targets.shape[-1])
            norms = gradient_norms(weights, inputs[:, :length], targets[:, length - 1])
            rows.writerow([scale, length, seed, log10_ratio(norms), *norms])


if __name__ == "__main__":
    main()
