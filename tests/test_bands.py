"""Bands of survival against their closed form, and the same in words."""

import pytest
from made_rows import NAN, frame, power_sweep, rows_of

from throughtime import bands, tables


def test_bands_of_a_power_end_at_the_root_of_ten():
    found = bands.find(power_sweep()).set_index("sequence_length")
    for length in (50, 200):
        edge = 10 ** (1 / (length - 1))
        # Linear interpolation: at most step² |r''| / 8 / |r'| = 0.0025² / (8 g).
        assert found.loc[length, "low"] == pytest.approx(1 / edge, abs=1e-6)
        assert found.loc[length, "high"] == pytest.approx(edge, abs=1e-6)
    assert found["num_scales"].tolist() == [81, 81]
    assert bands.find(tables.summarise(power_sweep())).equals(bands.find(power_sweep()))


def test_bands_in_words():
    sweep = frame(
        power_sweep(scales=[0.5, 0.99, 1.0, 1.01]),
        power_sweep(scales=[0.1, 0.2, 4.0], cell="relu", lengths=(50,)).assign(
            log10_gradient_ratio=-40.0
        ),
    )
    assert bands.describe(bands.find(sweep, (50, 200), 0.3)).splitlines() == [
        "relu: within a factor 2 over 50 steps nowhere in 0.1 to 4; over 200 steps not measured",
        "scalar: within a factor 2 over 50 steps for recurrent scale 0.9871 to ≥ 1.01; "
        "over 200 steps for recurrent scale 0.99655 to 1.0035",
    ]


def test_bands_name_what_varies_and_what_is_undefined():
    broken = rows_of(2 * [NAN], recurrent_scale=3.0, status="nonfinite", forget_bias=0.0)
    most = rows_of([0.0], seed=2, recurrent_scale=3.0, forget_bias=0.0)
    sweep = frame(
        *(
            rows_of(3 * [0.1], recurrent_scale=g, forget_bias=b)
            for g in (1.0, 2.0)
            for b in (0.0, 1.0)
        ),
        broken,
        most,
    )
    found = bands.find(sweep, (50,))
    assert found["num_undefined"].tolist() == [1, 0]
    assert bands.describe(found).splitlines() == [
        "lstm, forget_bias 0.0: within a factor 10 over 50 steps for recurrent scale ≤ 1 to ≥ 2 "
        "(undefined at 1 of 3 scales)",
        "lstm, forget_bias 1.0: within a factor 10 over 50 steps for recurrent scale ≤ 1 to ≥ 2",
    ]
