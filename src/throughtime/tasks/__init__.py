"""Tasks: sequences to measure gradients on, real or simulated, each a sampler and a loss."""

import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from throughtime.names import known
from throughtime.tasks.digits import digits_task
from throughtime.tasks.noise import noise_task
from throughtime.tasks.radar import radar_task
from throughtime.tasks.task import Sample, Task
from throughtime.tasks.text import text_task

__all__ = ["TASKS", "Sample", "Task", "make_task"]

TASKS: dict[str, Callable[..., Task]] = {
    "radar": radar_task,
    "digits": digits_task,
    "text": text_task,
    "noise": noise_task,
}

DTYPES = ("float64", "float32", "bfloat16", "float16")


def make_task(
    name: str, *, max_length: int, dtype: DTypeLike = jnp.float32, **options: object
) -> Task:
    """Make a task by its name.

    A batch is `jax.vmap(task.sample, (0, None))(keys, length)`. A sequence depends on the key, the
    length and the options, not on `max_length`, which only adds zeros in front (two programs may
    round the last bits of a radar track differently).

    Args:
        name: a key of `TASKS`.
        max_length: T, steps of a padded sequence, at least 2.
        dtype: of the floats: float64 (with x64 enabled), float32, bfloat16 or float16.
        **options: the keyword arguments of the task's own function in `TASKS`.

    Returns:
        The task.

    Raises:
        ValueError: an unknown name, option or dtype, or a value that the task refuses.
        ImportError: a package that the task's data come from is not installed.
    """
    allowed = _options(TASKS[known("task", name, TASKS)])
    for option in options:
        known(f"option of task {name!r}", option, allowed)
    if max_length < 2:
        raise ValueError(f"max_length is {max_length}; a sequence has at least 2 steps")
    return TASKS[name](max_length, _float_dtype(dtype), **options)


def _options(task: Callable[..., Task]) -> list[str]:
    """The keyword-only arguments of a task's function."""
    parameters = inspect.signature(task).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]


def _float_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype, if JAX computes in it; it would turn float64 into float32 where x64 is off."""
    name = getattr(dtype, "__name__", None) or str(dtype)
    if known("dtype", name, DTYPES) == "float64" and jax.dtypes.canonicalize_dtype(name) != name:
        raise ValueError("dtype is float64, which needs JAX_ENABLE_X64=1 (x64 is off)")
    return jnp.dtype(name)
