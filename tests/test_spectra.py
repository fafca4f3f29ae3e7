"""Spectra through the whole path: closed forms, theory, and what cannot be measured."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bounds import factored, states
from flax import nnx
from made_results import rows
from test_sweeps import BASE, LINEAR, run

from throughtime import lyapunov_spectrum, theory
from throughtime.cells import as_step, make_cell
from throughtime.diagnostics import spectrum_diagnostics
from throughtime.predictions import exponent_predictions
from throughtime.tasks import Sample

ALONE = (("in_features", 0),)
SPECTRUM = {"diagnostic": "spectrum", "batch_size": 1, "sequence_length": 40, "dtype": "float64"}


def spectrum_point(*, options=(), **changes):
    return dataclasses.replace(
        BASE, **(SPECTRUM | {"diagnostic_options": tuple(sorted(options))} | changes)
    )


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.1, "vanishing"), (1.0, "stable"), (2.0, "exploding")]
)
def test_all_exponents_of_an_orthogonal_network_are_the_log_of_its_gain(gain, verdict):
    (result,) = run(spectrum_point(cell_options=LINEAR, recurrent_scale=gain))
    rounding = 2 * factored(1, 6)
    assert np.allclose(result.curves, np.log(gain), rtol=0, atol=rounding)
    for row in rows(result):
        assert row["exponent_sum"] == pytest.approx(6 * np.log(gain), abs=6 * rounding)
        if gain != 1:  # where rounding decides whether a sum of zeros is negative
            assert row["kaplan_yorke_dimension"] == (0 if gain < 1 else 6)
        assert row["entropy_rate"] == pytest.approx(max(0, 6 * np.log(gain)), abs=6 * rounding)
        assert (row["verdict"], row["status"], row["state_size"]) == (verdict, "ok", 6)


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_driven_tanh_network_has_the_exponent_of_mean_field_theory(gain):
    own = {"hidden_features": 128, "num_seeds": 8, "sequence_length": 500, "dtype": "float32"}
    options = (("num_exponents", 1), ("transient", 100))
    inputs = (("in_features", 64),)
    (result,) = run(
        spectrum_point(options=options, task_options=inputs, recurrent_scale=gain, **own)
    )
    found = result.curves[:, 0]
    error = found.std(ddof=1) / np.sqrt(8)
    expected = theory.driven_network(gain, 1.0).exponent
    # Finite networks grow more slowly than infinite ones, by 1/N to 3/N.
    assert -3 / 128 - 3 * error < found.mean() - expected < 3 * error
    assert error < 0.01
    predicted = exponent_predictions(table(result))
    assert predicted["exponent"].to_numpy() == pytest.approx(expected, rel=1e-12)


def table(*results):
    """The rows of results as predictions take them."""
    import pandas as pd

    frame = pd.DataFrame([row for result in results for row in rows(result)])
    return frame.assign(kind=frame["cell"])


def test_the_henon_map_through_the_whole_path():
    (result,) = run(
        spectrum_point(
            cell="henon",
            cell_options=(),
            task_options=ALONE,
            hidden_features=2,
            recurrent_scale=1.4,
            sequence_length=20_000,
            options=[("transient", 100)],
        )
    )
    first, second = rows(result)
    for row in (first, second):
        assert row["exponent_sum"] == pytest.approx(np.log(0.3), abs=1e-12)
        # Four standard errors: another rounding is another orbit, and one in 20 is outside of two.
        width = row["leading_exponent_high"] - row["leading_exponent_low"]
        assert abs(row["leading_exponent"] - 0.4192) < width < 0.02
        assert row["kaplan_yorke_dimension"] == pytest.approx(1.258, abs=0.01)
        assert (row["verdict"], row["status"]) == ("exploding", "ok")
    # Networks differ in where they start.
    assert first["leading_exponent"] != second["leading_exponent"]


def test_the_spectrum_of_a_batch_is_the_mean_over_its_sequences():
    cell = make_cell("gru", 3, 5, recurrent_scale=2.0, dtype=jnp.float64, rngs=nnx.Rngs(0))
    inputs = jax.random.normal(jax.random.key(0), (3, 50, 3), jnp.float64)
    sample = Sample(inputs, jnp.zeros((3, 50, 1)), jnp.zeros((3, 50)))
    ours = spectrum_diagnostics(cell, sample, num_exponents=4, transient=10, start_scale=0.5)
    step, h0, _ = as_step(cell)
    direction = np.linalg.qr(np.random.default_rng(0).normal(size=(1, 5)).T)[0][:, 0]
    start = h0 + 0.5 * direction * np.sqrt(5)
    singly = [lyapunov_spectrum(step, start, x, 4, transient=10).exponents for x in inputs]
    assert np.allclose(ours.exponents, np.mean(singly, axis=0), rtol=0, atol=states(50, 3 + 5))
    assert (int(ours.status), int(ours.first_bad_step)) == (0, -1)
    # A sequence that is not finite is the batch's, whatever the others are.
    broken = sample._replace(inputs=inputs.at[1, 20, 0].set(jnp.nan))
    ours = spectrum_diagnostics(cell, broken, num_exponents=4, transient=10)
    assert (int(ours.status), int(ours.first_bad_step)) == (1, 20)
    assert np.isnan(ours.exponents).all()


@pytest.mark.parametrize(
    ("options", "changes", "sentence"),
    [
        ([("transient", 40)], {}, "must be less than sequence_length=40, not 40"),
        ([("num_exponents", 7)], {}, "must be at most 6, the size of the state, not 7"),
        ([("transient", 1)], {"diagnostic": "gradient"}, "unknown option of diagnostic 'gradient'"),
        ([], {"cell": "henon", "cell_options": ()}, "hidden_features=2, not 6"),
    ],
)
def test_what_has_no_spectrum_is_refused_before_compiling(options, changes, sentence):
    (failure,) = run(spectrum_point(options=options, **changes))
    assert sentence in failure.reason


@pytest.mark.parametrize(("cell", "expected"), [("gru", np.log(0.75)), ("lstm", np.log(0.75))])
def test_gated_cells_at_rest_have_the_multipliers_of_theory(cell, expected):
    """ω = 1, the only eigenvalue of an identity kernel: GRU ½ + ½/2, LSTM ½ + 1/4."""
    options = (("initializer", "identity"),)
    (result,) = run(
        spectrum_point(
            cell=cell,
            cell_options=options,
            task_options=ALONE,
            recurrent_scale=1.0,
            options=[("transient", 10)],
        )
    )
    assert result.curves[:, 0] == pytest.approx(expected, abs=factored(1, 12))
    # Of an identity kernel no prediction is made: it is not the Gaussian one.
    assert exponent_predictions(table(result)).empty


def made(**own):
    import pandas as pd

    scales = np.array([0.25, 1.0, 3.0, 4.0])
    shared = {"task": "noise", "in_features": 0, "initializer": "gaussian", "activation": "tanh"}
    shared |= {"input_scale": 1.0, "update_bias": 0.0, "forget_bias": 0.0, "chrono_steps": None}
    return pd.DataFrame({"recurrent_scale": scales} | shared | own).assign(
        cell=lambda rows: rows["kind"]
    )


def test_predictions_end_where_theory_does():
    rest = exponent_predictions(made(kind="gru"))
    assert np.allclose(rest["exponent"], np.log(0.5 + rest["recurrent_scale"] / 4), atol=1e-12)
    assert rest["recurrent_scale"].max() == pytest.approx(2, abs=0.01)
    forgetful = exponent_predictions(made(kind="lstm", forget_bias=1.0))
    at = theory.critical_scales(forget_bias=1.0).lstm
    assert at - 0.01 < forgetful["recurrent_scale"].max() <= at
    assert exponent_predictions(made(kind="gru", in_features=3)).empty
    assert exponent_predictions(made(kind="elman", task="radar")).empty
    assert exponent_predictions(made(kind="elman", activation="sigmoid")).empty
    alone = exponent_predictions(made(kind="elman"))
    below = alone[alone["recurrent_scale"] < 1]
    assert np.allclose(below["exponent"], np.log(below["recurrent_scale"]), atol=1e-9)
    assert alone["exponent"].iloc[-1] == pytest.approx(theory.autonomous_network(4.0).exponent)
    (last,) = exponent_predictions(made(kind="logistic")).tail(1).to_dict("records")
    assert (last["recurrent_scale"], last["exponent"]) == (4.0, np.log(2))
