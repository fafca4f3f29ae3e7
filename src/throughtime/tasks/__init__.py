"""Tasks: sequences to measure gradients on, real or simulated, each a sampler and a loss."""

import inspect
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from throughtime.names import known
from throughtime.tasks.adding import adding_task
from throughtime.tasks.brackets import brackets_task
from throughtime.tasks.copy import copy_task
from throughtime.tasks.delayed_xor import delayed_xor_task
from throughtime.tasks.digits import digits_task
from throughtime.tasks.latching import latching_task
from throughtime.tasks.noise import noise_task
from throughtime.tasks.radar import radar_task
from throughtime.tasks.shepherd import shepherd_task
from throughtime.tasks.task import Sample, Task, weighted_loss
from throughtime.tasks.temporal_order import temporal_order_task
from throughtime.tasks.text import text_task

__all__ = ["TASKS", "Sample", "Task", "make_task", "task_options", "weighted_loss"]

TASKS: dict[str, Callable[..., Task]] = {
    "radar": radar_task,
    "digits": digits_task,
    "text": text_task,
    "noise": noise_task,
    "adding": adding_task,
    "copy": copy_task,
    "temporal_order": temporal_order_task,
    "latching": latching_task,
    "delayed_xor": delayed_xor_task,
    "shepherd": shepherd_task,
    "brackets": brackets_task,
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
        The task; its baseline refuses a length that the task is not defined for.

    Raises:
        ValueError: an unknown name, option or dtype, or a value that the task refuses.
        ImportError: a package that the task's data come from is not installed.
    """
    allowed = task_options(name)
    for option in options:
        known(f"option of task {name!r}", option, allowed)
    if max_length < 2:
        raise ValueError(f"max_length is {max_length}; a sequence has at least 2 steps.")
    task = TASKS[name](max_length, _float_dtype(dtype), **options)
    if task.baseline is None:
        return task
    return task._replace(baseline=_checked(name, task, task.baseline))


def _checked(name: str, task: Task, unchecked: Callable[[int], float]) -> Callable[[int], float]:
    """The baseline of a task, for the lengths that it is defined for."""

    def baseline(length: int) -> float:
        longest = math.inf if task.longest is None else task.longest
        if not task.shortest <= length <= longest:
            raise ValueError(
                f"length is {length}; sequences of task {name!r} have from {task.shortest} to"
                f" {longest} steps."
            )
        return unchecked(length)

    return baseline


def task_options(name: str) -> list[str]:
    """The options that a task takes in `make_task`.

    Args:
        name: a key of `TASKS`.

    Returns:
        Their names, the keyword-only arguments of the task's function.

    Raises:
        ValueError: if there is no such task.
    """
    parameters = inspect.signature(TASKS[known("task", name, TASKS)]).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]


def _float_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype, if JAX computes in it; it would turn float64 into float32 where x64 is off."""
    name = getattr(dtype, "__name__", None) or str(dtype)
    if known("dtype", name, DTYPES) == "float64" and jax.dtypes.canonicalize_dtype(name) != name:
        raise ValueError("dtype is float64, which needs JAX_ENABLE_X64=1 (x64 is off).")
    return jnp.dtype(name)
