"""Settings of the process that could change a number: pinned, recorded and compared, or harmless.

A command pins those of JAX, whatever the environment says. What acts before a command can do
anything (compiler flags, the instruction sets of NumPy and of BLAS) is recorded in the origin, and
records that differ in it are not mixed.
"""

import os
from pathlib import Path

PINNED = {
    # Every array here has a stated dtype; x64 lets float64 points share a process with float32.
    "jax_enable_x64": True,
    # float32 means float32: by default matrix products on GPU and TPU round to fewer digits.
    "jax_default_matmul_precision": "highest",
    # What is drawn.
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_enable_custom_prng": False,
    "jax_high_dynamic_range_gumbel": False,
    # How a function is differentiated: other formulas round otherwise.
    "jax_softmax_custom_jvp": False,
    "jax_use_direct_linearize": True,
    "jax_custom_vjp3": False,
    "jax_remat3": False,
    "jax_scan3": False,
    # How it is compiled: what is fused rounds otherwise.
    "eager_constant_folding": False,
    "jax_use_simplified_jaxpr_constants": False,
    "jax_embedded_constants_max_bytes": 32,
    "jax_disable_most_optimizations": False,
    "jax_optimization_level": "UNKNOWN",
    "jax_exec_time_optimization_effort": 0.0,
    "jax_memory_fitting_level": "O2",
    "jax_memory_fitting_effort": 0.0,
    "jax_compiler_enable_remat_pass": True,
    "jax_allow_f16_reductions": True,
    "jax_enable_pgle": False,
    "jax_xla_profile_version": 0,
    # A gradient that leaves the float range is a result here, with a status, and no error.
    "jax_debug_nans": False,
    "jax_debug_infs": False,
}
"""Settings of JAX, and what a command sets them to: JAX's defaults but for the first two."""

RECORDED = {
    "XLA_FLAGS": "how programs are compiled; also a file that holds the flags",
    "LIBTPU_INIT_ARGS": "the same on a TPU",
    "NVIDIA_TF32_OVERRIDE": "products of float32 with 10 bits of mantissa on a GPU",
    "CUBLAS_WORKSPACE_CONFIG": "which algorithm multiplies on a GPU",
    "OPENBLAS_CORETYPE": "which instructions LAPACK uses",
    "NPY_DISABLE_CPU_FEATURES": "which instructions NumPy uses",
    "NPY_ENABLE_CPU_FEATURES": "the same",
    "GLIBC_TUNABLES": "which instructions exp and log use",
}
"""Variables of the environment that are part of the origin and compared, and what each changes."""

NOT_COMPARED = {
    "instruction_set": "how many numbers the CPU adds at once",
    "summing_threads": "among how many threads of a CPU a sum is split, of tens of thousands of "
    "numbers or more; NPROC and JAX_NUM_CPU_DEVICES change it",
}
"""What of the machine changes last bits, and is recorded in the origin and not compared: else the
machines of one cluster could not share a sweep."""

NO_NUMBER = ("--xla_dump", "--xla_force_host_platform_device_count")
"""How flags of XLA begin that change no number: what is written down, and how many devices share
the work, each of which has a program of its own."""

HARMLESS = {
    "OPENBLAS_NUM_THREADS, OMP_NUM_THREADS": "`devices.start` sets one thread for LAPACK, which "
    "the first of them decides",
    "JAX_NUM_CPU_DEVICES": "every device has a program of its own; but see `NOT_COMPARED`",
    "jax_numpy_dtype_promotion, jax_numpy_rank_promotion": "they refuse an operation or do nothing",
    "jax_explicit_x64_dtypes": "plays a part only where x64 is off",
    "jax_legacy_prng_key, jax_debug_key_reuse": "they refuse a key or do nothing",
    "jax_threefry_gpu_kernel_lowering": "the same integers; and draws are made on the CPU",
    "jax_disable_jit": "refused: operation by operation a sweep takes for ever",
    "jax_platforms, jax_default_device": "the device that measures is in the origin",
    "numpy.seterr, numpy.set_printoptions": "NumPy warns or prints otherwise; records hold floats "
    "of Python, and NumPy 2.4 knows no other promotion of types",
    "PYTHONHASHSEED, numpy.random.seed": "what is drawn or ordered has a seed of its own",
}
"""Settings that look as if they could change a number, and why they cannot."""


def pin() -> None:
    """Set JAX to `PINNED`; a setting that this version of JAX does not have is left out."""
    import jax

    for name, value in PINNED.items():
        if name in jax.config.values:
            jax.config.update(name, value)


def environment() -> str:
    """Say what of `RECORDED` is set, and whether this thread flushes subnormal numbers to zero.

    Returns:
        Names with their values, or ``none``.
    """
    flags = {name: os.environ.get(name, "").strip() for name in RECORDED}
    flags["XLA_FLAGS"] = _without_neutral(flags["XLA_FLAGS"])
    said = [f"{name}={' '.join(value.split())}" for name, value in flags.items() if value]
    return "; ".join(said + ["subnormals=flushed"] * _flushes_subnormals()) or "none"


def _without_neutral(flags: str) -> str:
    """The flags that can change a number, in one order; XLA reads a file where no flag is given."""
    if flags and not flags.startswith("-"):
        path = Path(flags)
        flags = path.read_text() if path.is_file() else flags
    return " ".join(sorted(flag for flag in flags.split() if not flag.startswith(NO_NUMBER)))


def _flushes_subnormals() -> bool:
    """Test whether arithmetic of this thread takes subnormal numbers for zero.

    A library that was linked with ``-ffast-math`` switches that on for whoever loads it.
    """
    smallest, one = float.fromhex("0x1p-1074"), float("1")
    return smallest * one == 0.0
