"""Sizes of cells against counting by hand, and cells matched by size."""

import dataclasses

import pytest
from made_results import point

from throughtime.programs import program_key
from throughtime.sizes import (
    CellKind,
    flops_per_step,
    matched_units,
    num_parameters,
    size_columns,
    state_size,
)

D, N = 3, 10
PLAIN, GRU, LSTM = (CellKind(name, (), D) for name in ("elman", "gru", "lstm"))


def test_sizes_are_what_counting_gives():
    kernels = N * N + D * N
    assert [state_size(kind, N) for kind in (PLAIN, GRU, LSTM)] == [N, N, 2 * N]
    assert num_parameters(PLAIN, N) == kernels + N
    assert num_parameters(GRU, N) == 3 * (kernels + N) + N  # and the candidate's recurrent bias
    assert num_parameters(LSTM, N) == 4 * (kernels + N)
    stack = CellKind("elman", (("layers", 2),), D)
    assert num_parameters(stack, N) == kernels + N + 2 * N * N + N


def test_operations_are_those_of_the_matrix_products_and_few_more():
    for kind, gates in ((PLAIN, 1), (GRU, 3), (LSTM, 4)):
        products = 2 * gates * N * (N + D)
        assert products < (flops_per_step(kind, N) or 0) <= products + 16 * gates * N


@pytest.mark.parametrize("kind", [GRU, LSTM, CellKind("flax_lstm", (), D)])
@pytest.mark.parametrize(("match", "size"), [("state", state_size), ("parameters", num_parameters)])
def test_a_matched_cell_is_as_large_as_a_plain_network_and_one_unit_more_is_larger(
    kind, match, size
):
    units = matched_units(kind, N, match)
    assert size(kind, units) <= size(PLAIN, N) < size(kind, units + 1)


def test_what_matches_everything_and_what_nothing():
    assert matched_units(LSTM, N, "units") == N
    assert matched_units(PLAIN, N, "parameters") == N
    assert matched_units(CellKind("henon", (), 0), 2, "state") == 2
    normal = CellKind("lstm", (("layer_norm", True),), D)  # of at least two units
    assert matched_units(normal, 2, "parameters") == 2


def test_a_point_says_what_is_matched():
    base = point(cell="lstm", hidden_features=N, task="noise", task_options=(("in_features", D),))
    units = {
        match: program_key(dataclasses.replace(base, match=match)).hidden_features
        for match in ("units", "state", "parameters")
    }
    assert units == {"units": N, "state": N // 2, "parameters": 4}


def test_the_columns_of_a_row():
    assert size_columns(LSTM, N) == {
        "in_features": D,
        "units": N,
        "state_size": 20,
        "parameters": 560,
        "flops_per_step": flops_per_step(LSTM, N),
    }


def test_an_unknown_option_is_named():
    with pytest.raises(ValueError, match="gate"):
        matched_units(CellKind("gru", (("gate", 1),), D), N, "state")
