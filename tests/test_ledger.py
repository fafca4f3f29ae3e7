"""The ledger: nothing lost, nothing doubled, nothing mixed."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from made_results import point, result

from throughtime.ledger import Ledger
from throughtime.points import InputError
from throughtime.provenance import provenance
from throughtime.records import read_lines

ORIGIN = provenance("cpu")


def append(folder, *scales, origin=ORIGIN, shared=False):
    book = Ledger(folder, shared=shared)
    book.append([result(scale) for scale in scales], origin, "run")
    book.close()


def written(folder):
    return [line.decode()["shared"]["recurrent_scale"] for line in read_lines(folder)]


def done(folder, *scales, origin=ORIGIN, other_records="refuse"):
    book = Ledger(folder)
    try:
        keys = {point(scale).key: scale for scale in scales}
        return {keys[key] for key in book.done(keys, origin, other_records)}
    finally:
        book.close()


def test_a_torn_last_line_costs_only_itself(tmp_path):
    append(tmp_path, 1.0)
    path = tmp_path / "records.jsonl"
    first = len(path.read_bytes())
    append(tmp_path, 2.0)
    whole = path.read_bytes()
    for shared in (False, True):
        for end in {first + 1, first + 40, (first + len(whole)) // 2, len(whole) - 1}:
            path.write_bytes(whole[:end])
            append(tmp_path, 3.0, shared=shared)
            assert written(path) == [1.0, 3.0]
    path.write_bytes(whole[: first // 3])  # torn in the line that names the origin
    append(tmp_path, 3.0)
    assert written(path) == [3.0]


@pytest.mark.parametrize("field", ["source", "jax", "device", "matmul_precision"])
def test_records_of_another_origin_are_refused_renewed_or_kept(tmp_path, field):
    append(tmp_path, 1.0, origin=ORIGIN | {field: "other"})
    append(tmp_path, 2.0)
    why = f"1 of these points are recorded .* by another origin .{field} other instead of"
    with pytest.raises(InputError, match=why):
        done(tmp_path, 1.0, 2.0, 3.0)
    assert done(tmp_path, 1.0, 2.0, other_records="renew") == {2.0}
    assert done(tmp_path, 1.0, 2.0, 3.0, other_records="keep") == {1.0, 2.0}
    # Nobody asks for the point of the other origin, so nothing is mixed.
    assert done(tmp_path, 2.0, 3.0) == {2.0}
    append(tmp_path, 1.0)
    assert done(tmp_path, 1.0) == {1.0}


def test_what_is_not_known_yet_is_not_another_origin(tmp_path):
    append(tmp_path, 1.0, origin=ORIGIN | {"device": "NVIDIA H100"})
    assert done(tmp_path, 1.0, origin=ORIGIN | {"device": None}) == {1.0}
    assert done(
        tmp_path,
        1.0,
        origin=ORIGIN | {"commit": "another", "dirty": "yes"} | {"device": "NVIDIA H100"},
    ) == {1.0}


def opened_elsewhere(folder, shared):
    program = (
        "import sys, pathlib; from throughtime.ledger import Ledger;"
        f"book = Ledger(pathlib.Path(sys.argv[1]), shared={shared});"
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "open\n"
    return process


def test_one_writer_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path):
    with opened_elsewhere(tmp_path, shared=False) as other:
        with pytest.raises(InputError, match="another process is writing"):
            Ledger(tmp_path)
        other.kill()
    append(tmp_path, 1.0)
    assert written(tmp_path / "records.jsonl") == [1.0]


def test_those_who_share_a_ledger_write_in_turn(tmp_path):
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[2]);"
        "from test_ledger import append\n"
        "for i in range(20): append(pathlib.Path(sys.argv[1]), float(sys.argv[3]) + i, shared=True)"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(Path(__file__).parent)]
    writers = [subprocess.Popen([*command, str(start)]) for start in (100, 200)]
    assert [writer.wait() for writer in writers] == [0, 0]
    expected = [float(start + i) for start in (100, 200) for i in range(20)]
    assert sorted(written(tmp_path / "records.jsonl")) == expected


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*file.*: Not a directory\."):
        Ledger(tmp_path / "file" / "runs")


def test_a_full_disk_is_one_sentence_and_the_rest_is_safe(tmp_path):
    append(tmp_path, 1.0)
    path = tmp_path / "records.jsonl"
    book = Ledger(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on the size of files stands in for the disk: the line is torn where it ends.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, before[1]))
    try:
        with pytest.raises(InputError, match="File too large; 1 points are safe in it"):
            book.append([result(2.0)] * 20, ORIGIN, "run")
        book.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not path.read_bytes().endswith(b"\n")
    append(tmp_path, 3.0)
    assert written(path) == [1.0, 3.0]
