"""All singular values of a product of matrices, beside those of the exact product."""

import chain_oracle as oracle
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import systems
from bounds import FUNCTION, factored, gamma

from throughtime import jacobians as jc

logs_of = jax.jit(jc.log_singular_values)
directions_of = jax.jit(jc.singular_directions, static_argnums=1)
jacobians_of = jax.jit(jc.jacobians, static_argnums=0)


TEN_DIGITS = 1e-10
"""What is promised in float64, relative to a log or to 10 nats.

Theory has `bounds.factored(T, n)` nats, which is 2e-11 at most here, times the condition of a
factor whose rows are brought to one length.
"""


def chain_of(kind, length, n, dtype=jnp.float64):
    return jnp.asarray(oracle.CHAINS[kind](np.random.default_rng(0), length, n), dtype)


# Against the exact product


@pytest.mark.parametrize("kind", oracle.CHAINS)
@pytest.mark.parametrize(("length", "n"), [(2, 6), (2000, 3)])
def test_every_log_has_ten_digits(kind, length, n):
    chain = chain_of(kind, length, n)
    truth = oracle.exact_triples(chain)[1]
    assert np.all(oracle.relative_errors(logs_of(chain), truth) < TEN_DIGITS)
    zeros = {"dead": 1, "dead, transposed": 1, "diagonal": 2}.get(kind, 0)
    assert np.isneginf(truth).sum() == zeros


@pytest.mark.parametrize("kind", ["expanding", "orthogonal", "dead", "jordan"])
@pytest.mark.parametrize(("length", "n"), [(2, 6), (2000, 3)])
def test_float32_has_the_digits_of_its_rounding(kind, length, n):
    """Five, and at 2000 steps those that are left when all roundings add up."""
    chain = chain_of(kind, length, n, jnp.float32)
    logs = logs_of(chain)
    assert logs.dtype == jnp.float32
    truth = oracle.exact_triples(chain)[1]
    bound = 1e-5 + factored(length, n, jnp.float32) / np.maximum(10, np.abs(truth))
    assert np.all(oracle.relative_errors(logs, truth) < bound)


def test_batch_has_them_too():
    """Chains that take different numbers of sweeps side by side, and one that has no logs."""
    # Small units first, and next to no coupling: two passes do not sort them.
    coupling = 1e-60 * np.random.default_rng(3).normal(size=(20, 6, 6))
    misordered = jnp.asarray(np.diag(np.logspace(-3, 0, 6)) + coupling)
    chains = jnp.stack([misordered, *(chain_of(kind, 20, 6) for kind in oracle.CHAINS)])
    chains = jnp.concatenate([chains, chains[:1].at[0, 0, 0, 0].set(jnp.nan)])
    batch = jax.jit(jax.vmap(jc.log_singular_values))(chains)
    for logs, chain in zip(batch[:-1], chains[:-1], strict=True):
        assert np.all(oracle.relative_errors(logs, oracle.exact_triples(chain)[1]) < TEN_DIGITS)
    assert np.all(np.isnan(batch[-1]))


@pytest.mark.parametrize("kind", oracle.CHAINS)
def test_directions_are_those_of_the_exact_product(kind):
    """Up to a sign that left and right share; those of 0, which has none of its own, are NaN."""
    chain = chain_of(kind, 200, 6)
    left, logs, right = oracle.exact_triples(chain)
    found = directions_of(chain, 6)
    assert np.all(oracle.relative_errors(found.log_singular_values, logs) < TEN_DIGITS)
    zero = np.isneginf(logs)
    # A direction turns by the rounding of the product over the gap to the next σ (Davis, Kahan).
    rounding = factored(200, 6)
    turned = rounding / np.min(1 - np.exp(np.diff(logs[~zero])))
    cosines = []
    for mine, true in ((np.asarray(found.left), left), (np.asarray(found.right), right)):
        cosines.append(np.sum(mine * true, axis=0))
        assert np.all(np.isnan(cosines[-1]) == zero)
        known = mine[:, ~zero]
        assert np.allclose(known.T @ known, np.eye(known.shape[1]), rtol=0, atol=rounding)
        if kind not in ("orthogonal", "nearly degenerate"):  # whose directions are not determined
            gaps = (mine * np.sign(cosines[-1]) - true)[:, ~zero]
            assert np.max(np.abs(gaps)) < turned
            assert np.all(cosines[0] * cosines[-1] > 0, where=~zero)


@pytest.mark.parametrize("kind", ["expanding", "saturated", "dead", "jordan"])
def test_product_is_the_exact_one_rounded(kind):
    chain = chain_of(kind, 200, 6)
    matrix = jax.jit(jc.product)(chain)
    with mpmath.workdps(60):
        scaled = oracle.exact_product(np.asarray(chain)) * mpmath.mpf(2) ** -int(matrix.exponent)
        truth = scaled.astype(np.float64)
    assert 0.5 <= np.max(np.abs(truth)) < 1
    assert np.max(np.abs(matrix.mantissa - truth)) < factored(200, 6)


@pytest.mark.slow
@pytest.mark.parametrize(("length", "n"), [(2, 32), (200, 12)])
def test_ten_digits_of_larger_chains(length, n):
    """In float64 and in float32, of one chain that both can hold: its exact product takes long."""
    for kind in oracle.CHAINS:
        chain = chain_of(kind, length, n, jnp.float32)
        truth = oracle.exact_triples(chain)[1]
        logs = logs_of(chain.astype(jnp.float64))
        assert np.all(oracle.relative_errors(logs, truth) < TEN_DIGITS)
        low = logs_of(chain)
        told = ~np.isnan(low)
        assert told[0]
        assert np.all(oracle.relative_errors(low[told], truth[told]) < 1e-4)


# Against closed forms


def test_orthogonal_chain_has_logs_of_zero():
    assert np.max(np.abs(logs_of(chain_of("orthogonal", 2000, 3)))) < factored(2000, 3)


@pytest.mark.parametrize("rho", [2.0**-3, 2.0])
def test_jordan_blocks_of_any_eigenvalue(rho):
    """[[ρ, 1], [0, ρ]]^T = ρ^T [[1, T/ρ], [0, 1]]: ln σ = T ln ρ ± asinh(T/2ρ); beside it, 1^T."""
    block = np.array([[rho, 1, 0], [0, rho, 0], [0, 0, 1.0]])
    spread = np.arcsinh(1000 / rho) * np.array([1, -1])
    truth = np.sort(np.append(2000 * np.log(rho) + spread, 0))[::-1]
    logs = logs_of(jnp.asarray(np.tile(block, (2000, 1, 1))))
    assert np.all(oracle.relative_errors(logs, truth) < TEN_DIGITS)


def test_factors_of_any_size():
    """Products of 1e±300 leave the float range at the second step."""
    matrix, bound = chain_of("orthogonal", 2, 6), {"rtol": gamma(FUNCTION), "atol": factored(2, 6)}
    assert np.allclose(logs_of(1e300 * matrix), 2 * np.log(1e300), **bound)
    assert np.allclose(logs_of(1e-300 * matrix), 2 * np.log(1e-300), **bound)


# Zeros


def test_dead_units_leave_exactly_their_rank():
    rng = np.random.default_rng(1)
    first, last = np.diag([1.0, 1, 1, 0, 0, 0]), np.diag([0, 0, 1.0, 1, 1, 1])
    two, three = np.diag([1.0, 1, 0, 0, 0, 0]), np.diag([0, 0, 1.0, 0, 1, 1])
    w = rng.normal(size=(6, 6))
    chains = {
        1: [first, last],  # the third unit alone lives through both
        2: [w @ two, w @ three],
        3: [first @ w, last @ w],
        4: [np.eye(6, k=1), np.eye(6, k=1)],
        0: [first @ w, last @ np.zeros((6, 6))],
    }
    for rank, chain in chains.items():
        logs = np.asarray(logs_of(jnp.asarray(np.array(chain))))
        truth = np.linalg.svd(chain[1] @ chain[0], compute_uv=False)[:rank]
        # NumPy's SVD of the rounded product is right relative to the largest σ.
        condition = np.max(truth, initial=1) / np.min(truth, initial=1)
        assert np.allclose(logs[:rank], np.log(truth), rtol=0, atol=factored(2, 6) * condition)
        assert np.all(np.isneginf(logs[rank:]))


def test_dead_rectifiers_leave_the_block_of_the_living():
    """Three units never fire: what is left is the living block after their first step."""
    weights = np.random.default_rng(0).normal(size=(6, 6)) / 8
    bias = jnp.array([5.0, -90, 5, -90, 5, -90])
    step = lambda h, x: jax.nn.relu(jnp.asarray(weights) @ h + bias)  # noqa: E731
    logs = np.asarray(logs_of(jacobians_of(step, jnp.ones(6), systems.no_inputs(2))))
    truth = np.linalg.svd(weights[::2, ::2] @ weights[::2], compute_uv=False)
    assert np.allclose(logs[:3], np.log(truth), rtol=0, atol=factored(2, 6) * truth[0] / truth[-1])
    assert np.all(np.isneginf(logs[3:]))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_what_only_rounding_decides_is_no_number(dtype):
    """Products of rank 3, of integers and of rounded reals: three numbers, and three NaN or −inf.

    The exact product of the rounded reals has rank 6, but no float computation knows its σ_4.
    """
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(200, 2, 2, 6, 6))
    factors[::2] = rng.integers(-3, 4, factors[::2].shape)
    chains = np.matmul(factors[:, :, 0, :, :3], factors[:, :, 1, :3, :])
    chains = np.asarray(jnp.asarray(chains, dtype), np.float64)
    logs = np.array([logs_of(jnp.asarray(chain, dtype)) for chain in chains])
    assert not np.any(np.isfinite(logs[:, 3:]))
    truth = np.linalg.svd(np.matmul(chains[:, 1], chains[:, 0]), compute_uv=False)[:, :3]
    known = np.all(np.isfinite(logs[:, :3]), axis=1) & (truth[:, 2] > 1e-6 * truth[:, 0])
    assert known.sum() > 175
    errors = oracle.relative_errors(logs[known, :3], np.log(truth[known]))
    assert np.max(errors) < {jnp.float32: 1e-4, jnp.float64: 1e-10}[dtype]


# What cannot be told


def test_chains_outside_of_the_floats_have_no_logs():
    eye, bad = np.eye(6), np.eye(6)
    for value in (np.nan, np.inf, 1e-310, 1e-299):  # the last: 1e-598 in one row, after two steps
        bad[5, 5] = value
        assert np.all(np.isnan(logs_of(jnp.asarray(np.array([bad, bad])))))
    bad[5, 5] = np.nan
    assert np.all(np.isnan(logs_of(jnp.asarray(np.array([bad, 0 * eye])))))
    bad[5, 5] = 1e-140
    logs = logs_of(jnp.asarray(np.array([bad, bad])))
    truth = [0, 0, 0, 0, 0, 2 * np.log(1e-140)]
    assert np.allclose(logs, truth, rtol=gamma(FUNCTION), atol=factored(2, 6))


def test_sensitive_values_are_no_number():
    """A matrix of condition 1e13 and its rounded inverse: the product is what cancellation left."""
    rng = np.random.default_rng(0)
    mixer = oracle.orthogonal(rng, 1, 6)[0] @ np.diag(np.logspace(0, -13, 6))
    chain = jnp.asarray(np.array([mixer @ oracle.orthogonal(rng, 1, 6)[0], np.linalg.inv(mixer)]))
    truth = oracle.exact_triples(chain)[1]
    logs = np.asarray(logs_of(chain))
    told = ~np.isnan(logs)
    assert not np.all(told)
    assert np.all(oracle.relative_errors(logs[told], truth[told]) < TEN_DIGITS)


@pytest.mark.parametrize(
    ("chain", "sentence"),
    [
        (jnp.zeros((0, 3, 3)), r"at least 1, not \[0, 3, 3\]"),
        (jnp.zeros((2, 3, 4)), r"\(T, n, n\) with T and n at least 1, not \[2, 3, 4\]"),
        (jnp.zeros((2, 3, 3), jnp.int32), "must be made of floats, not of int32"),
    ],
)
def test_what_is_no_chain_is_refused(chain, sentence):
    for function in (jc.log_singular_values, jc.product, jc.effective_rank_by_lag):
        with pytest.raises(ValueError, match=sentence):
            function(chain)


@pytest.mark.parametrize("k", [0, 5])
def test_there_are_as_many_directions_as_units(k):
    with pytest.raises(ValueError, match=f"k is {k}; matrices of size 4 have 1 to that many"):
        jc.singular_directions(jnp.ones((2, 4, 4)), k)


# Measures


def test_condition_number_and_effective_rank_of_known_spectra():
    low, inf = -2e5, np.inf
    p = np.array([9, 4, 1]) / 14
    spectra = {
        (3.0, 3, 3): (0, 3),
        (low, low, -3e5): (1e5, 2),
        tuple(np.log([3.0, 2, 1]) + low): (np.log(3), np.exp(-np.sum(p * np.log(p)))),
        (0, -inf, -inf): (inf, 1),
        (-inf, -inf, -inf): (inf, 0),
        (1.0, np.nan, np.nan): (np.nan, np.nan),
    }
    logs, truth = jnp.array(list(spectra)), np.array(list(spectra.values()))
    # A logarithm of −2e5 is rounded to ε of that, and its difference to another as much.
    bound = {"rtol": 0, "atol": gamma(FUNCTION) * -low, "equal_nan": True}
    assert np.allclose(jc.log_condition_number(logs), truth[:, 0], **bound)
    assert np.allclose(jc.effective_rank(logs), truth[:, 1], **bound)


def test_effective_rank_by_lag_counts_the_directions_that_survive():
    """σ = a^k beside 1 at lag k; a unit that dies at the fourth step from the end leaves one."""
    a, rng = np.array([1.0, 0.8, 0.3]), np.random.default_rng(0)
    turns = oracle.orthogonal(rng, 8, 3)
    chain = np.array([turns[t + 1] @ np.diag(a) @ turns[t].T for t in range(7)])
    shares = a[None] ** (2 * np.arange(1, 8)[:, None])
    shares /= shares.sum(axis=1, keepdims=True)
    expected = np.exp(-np.sum(shares * np.log(shares), axis=1))
    by_lag, bound = jax.jit(jc.effective_rank_by_lag), {"rtol": 10 * factored(7, 3), "atol": 0}
    assert np.allclose(by_lag(jnp.asarray(chain)), expected, **bound)
    chain[3] = np.diag([1.0, 0, 0])
    assert np.allclose(by_lag(jnp.asarray(chain))[:3], expected[:3], **bound)
    assert np.allclose(by_lag(jnp.asarray(chain))[3:], 1, **bound)
    chain[2] = 0
    assert by_lag(jnp.asarray(chain)).tolist()[4:] == [0, 0, 0]
    chain[3] = np.nan
    assert np.isnan(by_lag(jnp.asarray(chain))).tolist() == [False] * 3 + [True] * 4
