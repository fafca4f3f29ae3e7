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
from throughtime.jacobians.factors import matmul
from throughtime.jacobians.orbit import (
    jacobian_log_singular_values,
    jacobians,
    jacobians_from,
)

__all__ = [
    "SingularDirections",
    "effective_rank",
    "effective_rank_by_lag",
    "jacobian_log_singular_values",
    "jacobians",
    "jacobians_from",
    "log_condition_number",
    "log_singular_values",
    "matmul",
    "product",
    "singular_directions",
]
