"""Parallel in time: orbits and products of Jacobians by scans of depth log T instead of T steps."""

from throughtime.parallel.exponent import leading_exponent
from throughtime.parallel.orbits import ParallelOrbit, parallel_rollout
from throughtime.parallel.products import cumulative_products

__all__ = ["ParallelOrbit", "cumulative_products", "leading_exponent", "parallel_rollout"]
