"""Strict JAX, and shapes checked on every call, set before any test imports `throughtime`."""

import gc
import os

from compiled import hasty_flags, is_for_want_of_float16

os.environ["XLA_FLAGS"] = hasty_flags()
# As throughtime.devices has it, before NumPy loads its BLAS.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

jaxtyping.install_import_hook("throughtime", "beartype.beartype")

# No test is timed: the first example of a property pays for the compilation.
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")

# Tracing makes many objects and few cycles: to look for these every 700 is 5 % of the time.
gc.set_threshold(50_000, 20, 100)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """Skip a test that needs float16 where XLA compiles none: what it is about cannot run there."""
    try:
        return (yield)
    except Exception as error:
        if is_for_want_of_float16(error):
            pytest.skip("XLA compiles no float16 for an x86 CPU without F16C")
        raise
