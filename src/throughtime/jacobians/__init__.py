"""Jacobians along an orbit, and all singular values of their product, right at any length."""

from throughtime.jacobians.chains import (
    SingularDirections,
    effective_rank,
    effective_rank_by_lag,
    log_condition_number,
    log_singular_values,
    product,
    singular_directions,
)
from throughtime.jacobians.orbit import jacobian_log_singular_values, jacobians

__all__ = [
    "SingularDirections",
    "effective_rank",
    "effective_rank_by_lag",
    "jacobian_log_singular_values",
    "jacobians",
    "log_condition_number",
    "log_singular_values",
    "product",
    "singular_directions",
]
