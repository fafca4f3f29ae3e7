"""Commands in this process: what one answers and leaves, without the seconds of its imports."""

import contextlib
import io
import runpy
import sys
import warnings
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

SWEEP = str(Path(__file__).parent.parent / "experiments" / "sweep.py")

Done = namedtuple("Done", "returncode stdout stderr")
"""As of `subprocess.run`."""


@contextlib.contextmanager
def of_this_process(cache: Path) -> Iterator[None]:
    """What commands change in this process is changed back for the tests that follow."""
    options = ("jax_default_matmul_precision", "jax_compilation_cache_dir")
    before = {name: getattr(jax.config, name) for name in options}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("JAX_NUM_CPU_DEVICES", "1")
        patch.setattr(sys, "argv", sys.argv)
        patch.chdir(Path.cwd())
        yield
    for name, value in before.items():
        jax.config.update(name, value)


def run(arguments: list[str], folder: Path, warned: str = "default") -> Done:
    """Runs a script in a folder, within `of_this_process`; `warned`: what becomes of a warning."""
    sys.argv, code = arguments, 0
    out, err = io.StringIO(), io.StringIO()
    hydras = warnings.catch_warnings(action=warned, category=UserWarning)
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with contextlib.chdir(folder), streams[0], streams[1], hydras:
        try:
            runpy.run_path(arguments[0], run_name="__main__")
        except SystemExit as stop:
            code = stop.code
    return Done(code, out.getvalue(), err.getvalue())
