"""Unfinished training runs on disk: an interrupted run goes on to the same bits."""

import hashlib
import json
import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from throughtime.points import InputError, in_one_sentence

DESCRIPTION = "description.json"

ONE_AT_A_TIME = threading.Lock()
"""Orbax takes two saves in two threads for one, and makes the folder of one of them twice."""


def save(folder: Path, tree: PyTree, description: dict[str, Any], notes: Any = None) -> None:
    """Keep a tree of arrays; what was kept in the folder before is replaced as a whole.

    Args:
        folder: of this checkpoint alone.
        tree: of arrays and random keys.
        description: what the tree belongs to; JSON.
        notes: anything else to keep; JSON.

    Raises:
        InputError: if the disk refuses.
    """
    beside = folder.with_name(f".{folder.name}.new")
    with in_one_sentence(folder):
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        with ONE_AT_A_TIME, ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(beside.absolute() / "tree", _plain(tree))
        said = {"of": description, "notes": notes}
        said["digest"] = _digest(beside / "tree", said)
        (beside / DESCRIPTION).write_text(json.dumps(said))
        _put_away(folder)
        beside.rename(folder)
        shutil.rmtree(_aside(folder), ignore_errors=True)


def restore(folder: Path, like: PyTree, description: dict[str, Any]) -> tuple[PyTree, Any] | None:
    """Bring back a tree of arrays.

    Args:
        folder: of the checkpoint.
        like: a tree of the same structure, shapes and dtypes; its values play no part.
        description: what the tree must belong to.

    Returns:
        The tree and the notes; None if there is no checkpoint.

    Raises:
        InputError: if the checkpoint belongs to something else, or cannot be read.
    """
    if not folder.exists():
        return None
    try:
        said = json.loads((folder / DESCRIPTION).read_text())
        found, notes = said["of"], said["notes"]
    except (ValueError, OSError, KeyError) as error:
        raise _unreadable(folder, error) from error
    wanted = json.loads(json.dumps(description))
    for name in {**wanted, **found}:
        if found.get(name) != wanted.get(name):
            raise InputError(
                f"the checkpoint {folder} is of another configuration: {name} is "
                f"{found.get(name)!r} there and {wanted.get(name)!r} here; remove it to start anew."
            )
    try:
        # Before Orbax reads: of a damaged file it also complains from threads of its own.
        if _digest(folder / "tree", {"of": found, "notes": notes}) != said.get("digest"):
            raise ValueError("it is not what was written")
        with ONE_AT_A_TIME, ocp.StandardCheckpointer() as checkpointer:
            plain = checkpointer.restore(folder.absolute() / "tree", _plain(like))
    except (ValueError, OSError, KeyError) as error:
        raise _unreadable(folder, error) from error
    pairs = zip(jax.tree.leaves(like), sorted(plain), strict=True)
    leaves = [_as(one, plain[name]) for one, name in pairs]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), notes


def forget(folder: Path, keys: Collection[str]) -> None:
    """Remove all that was kept of points, which are recorded now.

    Args:
        folder: of the checkpoints, each named after its point's key, a hyphen and a seed.
        keys: of the points.
    """
    for path in sorted(folder.glob("*-*")):
        if path.name.lstrip(".").partition("-")[0] in keys:
            shutil.rmtree(path, ignore_errors=True)


def _aside(folder: Path) -> Path:
    """Where a checkpoint is put before it is removed: half of one must not look like a whole."""
    return folder.with_name(f".{folder.name}.old")


def _put_away(folder: Path) -> None:
    """Take a checkpoint out of its place in one step, if there is one."""
    if folder.exists():
        shutil.rmtree(_aside(folder), ignore_errors=True)
        folder.rename(_aside(folder))


def _digest(tree: Path, said: dict[str, Any]) -> str:
    """A hash of all files of a tree, and of what is said of it."""
    digest = hashlib.sha256(json.dumps(said).encode())
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(tree)).encode() + path.read_bytes())
    return digest.hexdigest()


def _unreadable(folder: Path, error: Exception) -> InputError:
    """A checkpoint that is damaged."""
    reason = str(error).strip().split("\n")[0]
    return InputError(f"the checkpoint {folder} cannot be read ({reason}); remove it.")


def _is_key(leaf) -> bool:
    """Whether a leaf is an array of typed random keys."""
    return jnp.issubdtype(getattr(leaf, "dtype", np.float64), jax.dtypes.prng_key)


def _plain(tree: PyTree) -> PyTree:
    """NumPy arrays alone, numbered: random keys as their words, and no structure to keep."""
    leaves = [jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(tree)]
    return {f"{number:04d}": np.asarray(leaf) for number, leaf in enumerate(leaves)}


def _as(like, plain):
    """A leaf as it was."""
    array = jnp.asarray(plain)
    if not _is_key(like):
        return array
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(like))
