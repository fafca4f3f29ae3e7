"""What the project says about itself: its versions, its dependencies, and what an import costs."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax.numpy as jnp
import pytest
import yaml
from jaxtyping import TypeCheckError
from packaging.requirements import Requirement

import throughtime

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
LOCKED = [Requirement(line) for line in LOCK.splitlines() if not line.startswith("#")]
UNLOCKED_EXTRAS = {"peers", "cuda12", "cuda13", "tpu"}


def declared():
    """The requirements of pyproject.toml that the lock covers."""
    extras = PROJECT["optional-dependencies"].items()
    covered = [line for name, lines in extras if name not in UNLOCKED_EXTRAS for line in lines]
    requirements = map(Requirement, PROJECT["dependencies"] + covered)
    return [requirement for requirement in requirements if requirement.name != PROJECT["name"]]


def satisfied(requirement):
    """Whether the lock names the package, and within bounds for every Python it tells apart."""
    pins = [pin for pin in LOCKED if pin.name == requirement.name]
    versions = [specifier.version for pin in pins for specifier in pin.specifier]
    return versions and all(requirement.specifier.contains(version) for version in versions)


def test_importing_needs_neither_hydra_nor_matplotlib():
    blocked = "dict.fromkeys(['hydra', 'omegaconf', 'matplotlib'])"
    used = "import throughtime as t; [getattr(t, name) for name in t.__all__]"
    program = f"import sys; sys.modules.update({blocked}); {used}"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_lock_names_versions_and_no_addresses():
    assert re.findall(r"://|@|--|\.\./", LOCK) == []
    loose = [str(pin) for pin in LOCKED if not re.fullmatch(r"==[\w.]+", str(pin.specifier))]
    assert loose == []


def test_lock_satisfies_what_is_declared():
    assert [str(requirement) for requirement in declared() if not satisfied(requirement)] == []


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert throughtime.__version__ == PROJECT["version"] == citation["version"]
    assert citation["license"] == PROJECT["license"]


def test_annotated_shapes_are_checked():
    with pytest.raises(TypeCheckError):
        throughtime.rollout(lambda h, x: h, jnp.zeros((2, 2)), jnp.zeros((3, 1)))


def test_imports_go_down_only():
    linter = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
