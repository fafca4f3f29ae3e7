"""How programs are compiled: in haste for all tests, with care where it matters how one rounds."""

import functools
import os
import traceback

import pytest

HASTILY = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""XLA_FLAGS of tests, which compile much and compute little: four times as fast so.

The code is slower and differs in the last bits. `test_flags.py` runs a sweep both ways.
"""

CAREFULLY = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
"""Options for `jax.jit`: not in haste."""


def users_flags():
    """The XLA_FLAGS of whoever runs the tests, in which theirs have been added or not."""
    return os.environ.get("XLA_FLAGS", "").replace(HASTILY, "").strip()


def hasty_flags():
    """HASTILY before the XLA_FLAGS of whoever runs the tests: the last word is theirs."""
    return f"{HASTILY} {users_flags()}".strip()


@functools.cache
def float16_compiles():
    """Whether XLA has float16: for x86 CPUs without F16C its code asks for a missing symbol."""
    import jax  # which reads the flags that hasty_flags has to set before

    try:
        jax.jit(lambda x: x.astype("float16"))(jax.numpy.ones(3, "float32"))
    except jax.errors.JaxRuntimeError as error:
        if "Failed to materialize symbols" not in str(error):
            raise
        return False
    return True


def skip_what_does_not_compile(dtype):
    """Skip the test if it is of float16 and XLA has none for this CPU."""
    from jax import numpy as jnp

    if jnp.dtype(dtype) == jnp.float16 and not float16_compiles():
        pytest.skip("XLA compiles no float16 for an x86 CPU without F16C")


def is_for_want_of_float16(error):
    """Recognise the failure of a test that needs float16 where XLA has none for this CPU."""
    text = "".join(traceback.format_exception(error))
    said = "Failed to materialize symbols" in text or "an x86 CPU needs F16C" in text
    return said and not float16_compiles()
