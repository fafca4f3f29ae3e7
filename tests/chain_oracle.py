"""Chains of matrices, and the singular values of their product in as many digits as it takes."""

import mpmath
import numpy as np


def gaussian(rng, length, n, gain):
    """Random matrices of entries N(0, gain²/n)."""
    return gain * rng.normal(size=(length, n, n)) / np.sqrt(n)


def orthogonal(rng, length, n):
    """Random orthogonal matrices, rounded."""
    return np.linalg.qr(rng.normal(size=(length, n, n)))[0]


def nearly_degenerate(rng, length, n):
    """Orthogonal matrices with neighbouring singular values 1e-9 apart."""
    return orthogonal(rng, length, n) @ np.diag(1 + 1e-9 * np.arange(n))


def saturated(rng, length, n):
    """Units whose derivatives are anywhere between 1 and e^-10, which is what gates do."""
    return np.exp(-10 * rng.random((length, n, 1))) * gaussian(rng, length, n, 1.0)


def dead(rng, length, n):
    """Two steps at which a unit is dead, and not the same one."""
    chain = gaussian(rng, length, n, 1.0)
    chain[length // 2, 1] = chain[length // 3, 2] = 0
    return chain


def diagonal(rng, length, n):
    """Units that never mix, of which one is dead at the first step, another in the middle."""
    chain = np.zeros((length, n, n))
    chain[:, range(n), range(n)] = rng.normal(size=(length, n))
    chain[0, 0, 0] = chain[length // 2, 2, 2] = 0
    return chain


def jordan(rng, length, n):
    """One Jordan block at every step."""
    return np.tile(0.9 * np.eye(n) + np.eye(n, k=1), (length, 1, 1))


CHAINS = {
    "contracting": lambda *size: gaussian(*size, 0.5),
    "expanding": lambda *size: gaussian(*size, 3.0),
    "orthogonal": orthogonal,
    "nearly degenerate": nearly_degenerate,
    "saturated": saturated,
    "saturated, transposed": lambda *size: np.swapaxes(saturated(*size), 1, 2),
    "dead": dead,
    "dead, transposed": lambda *size: np.swapaxes(dead(*size), 1, 2),
    "diagonal": diagonal,
    "jordan": jordan,
}
"""By name, each a function of a generator, the length and n; two of them leave rank n − 1."""


def digits_of(chain):
    """Enough for every singular value: the condition numbers multiply."""
    values = np.linalg.svd(chain, compute_uv=False)
    least = np.array([s[s > 1e-300].min(initial=np.inf) for s in values])
    return 40 + int(np.sum(np.log10(np.maximum(values[:, 0] / least, 1))))


def exact_product(chain):
    """A_T ⋯ A_1 of exactly these floats, an array of mpmath numbers of the working precision."""
    exact = np.vectorize(mpmath.mpf, otypes=[object])
    total = exact(chain[0])
    for factor in chain[1:]:
        total = exact(factor) @ total
    return total


def exact_triples(chain):
    """U, ln σ_1 >= … >= ln σ_n and V of the product of exactly these floats, rounded to float64."""
    chain = np.asarray(chain, np.float64)
    digits = digits_of(chain)
    with mpmath.workdps(digits):
        u, values, v = mpmath.svd_r(mpmath.matrix(exact_product(chain)))
        order = sorted(range(len(values)), key=lambda i: -values[i])
        floor = values[order[0]] * mpmath.mpf(10) ** (20 - digits)
        logs = [float(mpmath.log(s)) if s > floor else -np.inf for s in (values[i] for i in order)]
        left, right = (np.array(m.tolist(), np.float64) for m in (u, v.T))
    return left[:, order], np.array(logs), right[:, order]


def relative_errors(logs, truth):
    """How far logs are from the true ones, relative to them or to 10 nats; equal infinities are."""
    logs, truth = np.asarray(logs, np.float64), np.asarray(truth)
    same = logs == truth
    gaps = np.abs(np.where(same, 0, logs) - np.where(same, 0, truth))
    return gaps / np.maximum(10, np.abs(np.where(same, 0, truth)))
