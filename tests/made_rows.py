"""Rows as a sweep makes them, with numbers that are known."""

import math

import numpy as np
import pandas as pd

INF, NAN = math.inf, math.nan


def rows_of(ratios, *, seed=0, status="ok", **point):
    """Rows of one point: one network for every ratio."""
    point = {
        "cell": "lstm",
        "recurrent_scale": 1.0,
        "sequence_length": 50,
        "diagnostic": "gradient",
        "dtype": "float32",
    } | point
    count = len(ratios)
    measured = {
        "seed": range(seed, seed + count),
        "log10_gradient_ratio": ratios,
        "rate": [ratio / 49 for ratio in ratios],
        "horizon": 49,
        "horizon_is_bound": True,
        "verdict": "stable" if status == "ok" else "undefined",
        "first_zero_lag": pd.array([None] * count, "Int64"),
        "first_inf_lag": pd.array([None] * count, "Int64"),
        "first_bad_step": pd.array([None] * count, "Int64"),
        "loss": 0.5,
        "status": status,
    }
    provenance = {"run_id": "r1", "commit": "c0ffee", "device": "cpu", "seconds": 0.25}
    return pd.DataFrame(point | measured | provenance, index=range(count))


def frame(*parts):
    return pd.concat(parts, ignore_index=True)


def power_sweep(lengths=(50, 200), scales=None, cell="scalar"):
    """The ratio of h = g h: (T-1) log10 g, the same in six seeds."""
    scales = np.linspace(0.9, 1.1, 81) if scales is None else scales
    points = [(float(g), T) for g in scales for T in lengths]
    return frame(
        *(
            rows_of(6 * [(T - 1) * math.log10(g)], cell=cell, recurrent_scale=g, sequence_length=T)
            for g, T in points
        )
    )


def gating_sweep(cells, scales, lengths=(50, 200), num_seeds=16, spread=0.1):
    """Rows whose rate is that of h = g h with other strengths: `cells` maps a name to its
    (steepness, critical scale), and rate = steepness · ln(g / critical) plus what a seed has."""
    offsets = spread * np.random.default_rng(0).normal(size=num_seeds)
    points = [(c, float(g), T) for c in cells for g in scales for T in lengths]
    parts = []
    for cell, g, T in points:
        steepness, critical = cells[cell]
        rates = steepness * (math.log(g / critical) + offsets)
        part = rows_of((T - 1) * rates / math.log(10), cell=cell, recurrent_scale=g,
                       sequence_length=T)  # fmt: skip
        reach = np.where(rates < 0, np.floor(math.log(0.01) / np.minimum(rates, -1e-9)), np.inf)
        horizons = np.minimum(reach, T - 1).astype(int)
        is_bound = horizons == T - 1
        verdicts = [
            "vanishing" if r * (T - 1) < -math.log(10) else
            "exploding" if r * (T - 1) > math.log(10) else "stable" for r in rates
        ]  # fmt: skip
        parts.append(part.assign(rate=rates, horizon=horizons, horizon_is_bound=is_bound,
                                 verdict=verdicts, state_size=32))  # fmt: skip
    return frame(*parts)
