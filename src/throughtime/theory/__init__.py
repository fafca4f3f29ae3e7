"""Closed forms and mean-field predictions, in NumPy and float64, to stand beside what is measured.

Logs are natural, λ is in nats per step, and the gain g means W_ij ~ N(0, g²/N). Each function says
whether it is exact or a limit: a prediction quoted outside its range is no reference.
"""

from throughtime.theory.autonomous import Autonomous, autonomous_network, autonomous_spectrum
from throughtime.theory.averages import PRESETS, Activation, gaussian_mean
from throughtime.theory.diagonal import (
    MEMORY_EXPONENTS,
    MemoryExponents,
    MemoryMoments,
    memory_moments,
    ring_log_moment,
    ring_power_law,
)
from throughtime.theory.gates import (
    ChronoRange,
    PerCell,
    chrono_range,
    critical_scales,
    decay_time,
    mingru_exponent,
    minlstm_exponent,
    rest_multipliers,
    time_constant,
)
from throughtime.theory.mean_field import (
    MeanField,
    critical_gain,
    driven_network,
    log_rms_gradient,
)
from throughtime.theory.products import (
    ProductGrowth,
    gaussian_product_critical_gain,
    gaussian_product_exponents,
    gaussian_product_growth,
    ginibre_product_exponents,
    jordan_log_norm,
    tied_exponent,
)
from throughtime.theory.rate_network import RateNetwork, rate_network
from throughtime.theory.scalars import (
    Cliff,
    cliff,
    cliff_saddle_nodes,
    dtype_horizon,
    pascanu_threshold,
    scalar_log_first_input,
    scalar_log_gradient,
)

__all__ = [
    "MEMORY_EXPONENTS",
    "PRESETS",
    "Activation",
    "Autonomous",
    "ChronoRange",
    "Cliff",
    "MeanField",
    "MemoryExponents",
    "MemoryMoments",
    "PerCell",
    "ProductGrowth",
    "RateNetwork",
    "autonomous_network",
    "autonomous_spectrum",
    "chrono_range",
    "cliff",
    "cliff_saddle_nodes",
    "critical_gain",
    "critical_scales",
    "decay_time",
    "driven_network",
    "dtype_horizon",
    "gaussian_mean",
    "gaussian_product_critical_gain",
    "gaussian_product_exponents",
    "gaussian_product_growth",
    "ginibre_product_exponents",
    "jordan_log_norm",
    "log_rms_gradient",
    "memory_moments",
    "mingru_exponent",
    "minlstm_exponent",
    "pascanu_threshold",
    "rate_network",
    "rest_multipliers",
    "ring_log_moment",
    "ring_power_law",
    "scalar_log_first_input",
    "scalar_log_gradient",
    "tied_exponent",
    "time_constant",
]
