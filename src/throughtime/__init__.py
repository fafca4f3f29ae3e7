"""How gradients travel through time in recurrent networks: measured, at any length, without loss.

Names are imported when they are first used, so that a command's ``--help`` does not wait for JAX.
"""

import importlib
from importlib.metadata import version

_HOMES = {
    "adjoints": (
        "LostLags",
        "StepwiseLoss",
        "adjoint_log_norms",
        "adjoint_states",
        "lost_lags",
        "parameter_gradient_by_lag",
        "plain_adjoints",
    ),
    "cells": ("ACTIVATIONS", "CELLS", "CellStep", "StackedCell", "as_step", "make_cell"),
    "depth": ("GradientsByDirection", "gradients_by_direction", "gradients_by_layer"),
    "diagnostics": ("GradientDiagnostics", "gradient_diagnostics"),
    "dynamics": ("Step", "rollout"),
    "initializers": ("INITIALIZERS",),
    "jacobians": ("jacobian_log_singular_values",),
    "lyapunov": ("LyapunovSpectrum", "lyapunov_spectrum"),
    "models": (
        "Model",
        "encode_decode",
        "many_to_many",
        "many_to_one",
        "one_to_many",
        "one_to_one",
    ),
    "paths": ("GradientPaths", "gradient_paths"),
    "parallel": ("cumulative_products", "parallel_rollout"),
    "scaled": ("Scaled", "log_norm"),
    "measured": ("Measured", "measure"),
    "mitigations": ("MITIGATIONS", "Mitigation", "combine", "make_mitigation"),
    "objectives": ("Network", "Recipe"),
    "training": (
        "TrainInfo",
        "TrainState",
        "fit",
        "start_training",
        "train_step",
    ),
    "counting": ("Counts", "counted"),
    "watching": ("GradientWatch", "watch_gradients"),
    "tasks": ("TASKS", "Sample", "Task", "make_task"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = version("throughtime")
__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
