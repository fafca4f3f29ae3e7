"""Where a number comes from: the code, the versions, the commit and the device."""

import ast
import functools
import hashlib
import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from throughtime.devices import instruction_set, summing_threads
from throughtime.settings import PINNED, environment

SCHEMA = 2
"""Changes when the meaning of a record does."""

PACKAGES = ("throughtime", "jax", "jaxlib", "flax", "numpy", "optax", "scipy")
"""Packages that compute: optax the losses of tasks and the updates of a training, scipy the errors
of exponents, and through its LAPACK every decomposition that JAX makes on a CPU."""

BYSTANDERS = ("scikit-learn", "hydra-core", "orbax-checkpoint")
"""Packages that only read or keep: the images, whose file has a hash; a configuration, which is in
the key; a tree of arrays, which comes back to the bit."""

SETTINGS = ("matmul_precision", "environment")

COMPARABLE = ("schema", "source", *PACKAGES, "python", "platform", "device", *SETTINGS)
"""What two records must share for one to stand beside the other."""

NUMERICS = (
    "adjoints",
    "batches",
    "cells",
    "compilation",
    "counting",
    "crews",
    "devices",
    "diagnostics",
    "draws",
    "dynamics",
    "files",
    "initializers",
    "learned",
    "lyapunov",
    "mitigations",
    "names",
    "objectives",
    "options",
    "paths",
    "points",
    "programs",
    "results",
    "scaled",
    "settings",
    "sizes",
    "statistics",
    "sweeps",
    "tasks",
    "training",
    "traced",
    "trainings",
    "watching",
)
"""The modules that a number of a record depends on."""

BESIDE = ("checkpoints", "provenance")
"""Modules that those import, and on which no number depends: they keep runs, and say whence."""


def provenance(device: str | None) -> dict[str, Any]:
    """Where a number comes from, for every row that leaves the program.

    Args:
        device: the kind of device that computes it; None while that is not known.

    Returns:
        schema, source (a hash of the code that makes numbers), commit and whether the tree was
        dirty (``unknown`` outside of git), versions, Python, platform, device, the precision of
        matrix products, what of the environment can change a number; and what of the machine can
        change last bits, which is not compared, as the machines of a cluster differ in it.
    """
    return {
        "schema": SCHEMA,
        "source": source_hash(),
        **_commit(),
        **{package: _version(package) for package in (*PACKAGES, *BYSTANDERS)},
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": device,
        "matmul_precision": PINNED["jax_default_matmul_precision"],
        "environment": environment(),
        "instruction_set": instruction_set(),
        "summing_threads": summing_threads(),
    }


def comparable(device: str | None) -> dict[str, Any]:
    """The part of a provenance that is compared.

    Args:
        device: as of `provenance`.

    Returns:
        The fields of `COMPARABLE`.
    """
    origin = provenance(device)
    return {field: origin[field] for field in COMPARABLE}


def fingerprint(origin: dict[str, Any]) -> str:
    """A short name for a provenance.

    Args:
        origin: from `provenance`.

    Returns:
        12 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:12]


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Why two records must not be mixed.

    Args:
        one: a provenance.
        other: another.

    Returns:
        A phrase for each field of `COMPARABLE` that differs; what is None is not known and does
        not differ.
    """
    pairs = {field: (one.get(field), other.get(field)) for field in COMPARABLE}
    return [
        f"{field} {here} instead of {there}"
        for field, (here, there) in pairs.items()
        if None not in (here, there) and here != there
    ]


@functools.cache
def source_hash() -> str:
    """A hash of the code that makes numbers, which says what ran even outside of git.

    Returns:
        12 hexadecimal digits; comments, docstrings and layout play no part.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0].removesuffix(".py") in NUMERICS:
            digest.update(str(name).encode() + _meaning(path).encode())
    return digest.hexdigest()[:12]


def _meaning(path: Path) -> str:
    """A module's syntax tree without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


@functools.cache
def _commit() -> dict[str, str]:
    """The commit that the package lies in, and whether any tracked file differs from it."""
    return {
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "dirty": {"": "no", None: "unknown"}.get(
            _git("status", "--porcelain", "--untracked-files=no", "--", "."), "yes"
        ),
    }


@functools.cache
def _version(package: str) -> str:
    """The version of a package, of which some are needed by some measurements alone."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str | None:
    """What git answers about the package's folder; None if it does not."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
