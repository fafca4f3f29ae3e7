"""What tests of Lyapunov exponents share: a measurement of a system, linear maps, made growth."""

from functools import partial

import jax
import jax.numpy as jnp
import systems
from compiled import CAREFULLY

from throughtime import lyapunov as ly


def measure(system, length, num_exponents=None, measure=ly.lyapunov_spectrum, **options):
    """The spectrum of an autonomous system, compiled with care: long orbits run faster so."""
    if num_exponents is not None:
        options["num_exponents"] = num_exponents
    inputs = systems.no_inputs(length, system.h0.dtype)

    @partial(jax.jit, compiler_options=CAREFULLY)
    def measured():
        return measure(system.step, system.h0, inputs, **options)

    return measured()


def linear(matrix, dtype=jnp.float64):
    """A fixed matrix, at the origin, where nothing overflows."""
    matrix = jnp.asarray(matrix, dtype)
    return systems.System(lambda h, x: matrix @ h, jnp.zeros(len(matrix), dtype), 0.0)


def made(growth):
    """A spectrum of a growth that is made up."""
    growth = jnp.asarray(growth)
    codes = jnp.int32(0), jnp.int32(-1)
    return ly.LyapunovSpectrum(
        growth.mean(axis=0), growth, *codes, jnp.array(-30.0), jnp.bool_(False)
    )
