"""How users have programs compiled, where a test depends on how things are rounded."""

CAREFULLY = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
"""Options for `jax.jit`: not in haste, as conftest.py has it for all tests."""
