"""Provenance: no field that cannot fail, and no code that makes numbers left out."""

import json
import subprocess
import sys

from throughtime import provenance


def test_it_never_claims_a_clean_commit_outside_of_git(monkeypatch):
    monkeypatch.setattr(provenance, "_git", lambda *arguments: None)
    provenance._commit.cache_clear()
    assert provenance._commit() == {"commit": "unknown", "dirty": "unknown"}
    provenance._commit.cache_clear()


def test_it_is_data_and_has_every_field_that_is_compared():
    origin = provenance.provenance("cpu")
    assert json.loads(json.dumps(origin)) == origin
    assert set(provenance.COMPARABLE) <= set(origin)
    assert provenance.fingerprint(origin) != provenance.fingerprint(origin | {"jax": "0"})
    assert provenance.differences(origin, origin | {"dirty": "other"}) == []
    assert provenance.differences(origin, origin | {"jax": "0"}) == [
        f"jax {origin['jax']} instead of 0"
    ]


def test_no_module_behind_a_number_is_left_out_of_the_hash():
    program = "import sys, throughtime.sweeps; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    used = {name.split(".")[1] for name in done.stdout.split() if name.startswith("throughtime.")}
    assert used == {*provenance.NUMERICS, *provenance.BESIDE}


def test_comments_and_docstrings_do_not_change_what_code_means(tmp_path):
    meaning = {}
    for name, code in {
        "plain": "def f(x):\n    return x + 1\n",
        "told": '"""Told."""\n# so\ndef f(x):\n    """Why."""\n    return (x\n    + 1)  # here\n',
        "other": "def f(x):\n    return x + 2\n",
    }.items():
        path = tmp_path / f"{name}.py"
        path.write_text(code)
        meaning[name] = provenance._meaning(path)
    assert meaning["plain"] == meaning["told"] != meaning["other"]
