"""Checkpoints of unfinished trainings: whole, of one configuration, or refused in a sentence."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from trained import BASE, begin, bits, point, train

from throughtime import checkpoints
from throughtime.points import InputError
from throughtime.results import Failure


def edited(name, value):
    def edit(kept):
        path = kept / checkpoints.DESCRIPTION
        said = json.loads(path.read_text())
        said["of"][name] = value
        path.write_text(json.dumps(said))

    return edit


def truncate(pattern):
    def cut(kept):
        path = max(kept.glob(pattern), key=lambda path: path.stat().st_size)
        path.write_bytes(path.read_bytes()[:-5])

    return cut


def remove(pattern):
    return lambda kept: max(kept.glob(pattern), key=lambda path: path.stat().st_size).unlink()


def retouch(kept):
    """Another validation loss in the notes: nothing but the digest can tell."""
    path = kept / checkpoints.DESCRIPTION
    said = json.loads(path.read_text())
    said["notes"]["looks"][0]["numbers"]["validation_loss"] /= 2
    path.write_text(json.dumps(said))


DAMAGE = {
    "hidden": (edited("hidden_features", 5), "hidden_features is 5 there and 4 here"),
    "source": (edited("source", "0c0ffee"), "source is '0c0ffee' there and "),
    "device": (edited("device", "H100"), "device is 'H100' there and 'cpu' here"),
    "truncated": (truncate("tree/d/*"), "cannot be read (it is not what was written); remove it."),
    "missing": (remove("tree/d/*"), "cannot be read (it is not what was written); remove it."),
    "manifest": (truncate("tree/manifest.ocdbt"), "it is not what was written"),
    "notes": (retouch, "cannot be read (it is not what was written); remove it."),
    "half a description": (truncate(checkpoints.DESCRIPTION), "cannot be read ("),
    "no description": (remove(checkpoints.DESCRIPTION), "No such file"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The checkpoint of a run that was stopped after two updates."""
    folder = tmp_path_factory.mktemp("kept")
    begin(2, BASE, folder=folder)
    (place,) = folder.iterdir()
    return place


@pytest.mark.parametrize(("damage", "sentence"), DAMAGE.values(), ids=DAMAGE)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_sentence(
    tmp_path, kept, damage, sentence, capfd
):
    place = tmp_path / kept.name
    shutil.copytree(kept, place)
    damage(place)
    (failure,) = train(BASE, folder=tmp_path)
    assert isinstance(failure, Failure)
    assert failure.reason.startswith(f"the checkpoint {place} ")
    assert sentence in failure.reason
    assert failure.reason.endswith(("remove it to start anew.", "remove it."))
    assert "\n" not in failure.reason
    assert capfd.readouterr().err == ""
    assert place.exists()


def test_a_refused_checkpoint_stops_no_other_point(tmp_path, kept):
    other = point(seed=2)
    shutil.copytree(kept, tmp_path / kept.name)
    edited("hidden_features", 5)(tmp_path / kept.name)
    failure, result = train(BASE, other, folder=tmp_path)
    assert "hidden_features" in failure.reason
    assert bits(result) == bits(train(other)[0])
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]


def test_checkpoints_of_several_threads_are_each_their_own(tmp_path):
    def keep(number):
        tree = {"a": np.full(3, number, np.float32), "key": jax.random.key(number)}
        place = tmp_path / f"k-{number % 4}"
        checkpoints.save(place, tree, {"number": number % 4}, [number])
        back, notes = checkpoints.restore(place, tree, {"number": number % 4})
        same_key = jax.random.key_data(back["key"]) == jax.random.key_data(tree["key"])
        return notes == [number] and bool(same_key.all()) and back["a"].tolist() == 3 * [number]

    with ThreadPoolExecutor(4) as threads:
        for first in range(0, 12, 4):
            assert all(threads.map(keep, range(first, first + 4)))
    assert len(list(tmp_path.iterdir())) == 4
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write to .*: "):
        checkpoints.save(tmp_path / "file" / "k-1", {"a": np.ones(1)}, {})
