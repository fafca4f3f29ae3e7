"""The ledger: the append-only file of an experiment's records; nothing in it is ever changed.

A writer that is killed costs at most the line that it was writing, and its lock is let go by the
system. Records of other code, versions or devices stay where they are and keep their own
provenance; whether they may stand beside new ones is for the user to say.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from throughtime import records
from throughtime.points import InputError, in_one_sentence
from throughtime.provenance import differences, fingerprint
from throughtime.results import Result


class Ledger:
    """The records of an experiment, open for writing.

    Args:
        folder: ``results/<name>/runs``; made if missing.
        shared: whether several processes append in turn, as the jobs of Hydra's own launchers and
            the hosts of one sweep do; otherwise this is the one writer until it is closed.

    Raises:
        InputError: if the folder cannot be written, or another process is writing.
    """

    def __init__(self, folder: Path, *, shared: bool = False):
        self.path = folder / "records.jsonl"
        self.shared = shared
        self._origins: dict[str, list[dict[str, Any]]] = {}
        self._named: set[str] = set()
        with in_one_sentence(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("w")
            self._file = self.path.open("ab+")
            if not shared:
                self._become_the_only_writer(folder)
        for line in records.read_lines(self.path):
            self._origins.setdefault(line.key, []).append(line.origin)
            self._named.add(line.name)

    def done(self, keys: Iterable[str], origin: dict[str, Any], other_records: str) -> set[str]:
        """Which points need not be measured again.

        Args:
            keys: of the points asked for.
            origin: the provenance of what would be measured now.
            other_records: what to do where a point is recorded, but by other code, versions or
                device: ``refuse`` to go on, ``renew`` it, or ``keep`` it as it is.

        Returns:
            Those of the keys whose record counts.

        Raises:
            InputError: if it is to refuse.
        """
        recorded = {key: self._origins[key] for key in keys if key in self._origins}
        if other_records == "keep":
            return set(recorded)
        same = {
            k for k, found in recorded.items() if any(not differences(o, origin) for o in found)
        }
        if other_records == "refuse" and len(same) < len(recorded):
            other = next(found[-1] for key, found in recorded.items() if key not in same)
            raise InputError(
                f"{len(recorded) - len(same)} of these points are recorded in {self.path} by "
                f"another origin ({', '.join(differences(other, origin))}); "
                "add other_records=renew to measure them anew, or other_records=keep to use them."
            )
        return same

    def append(self, results: Sequence[Result], origin: dict[str, Any], run_id: str) -> None:
        """Add what was measured; it is on the disk when this returns.

        Args:
            results: of some points.
            origin: their provenance.
            run_id: of the run that measured them.

        Raises:
            InputError: if the disk refuses; what was written before is safe.
        """
        if not results:
            return
        name = fingerprint(origin)
        lines = [] if name in self._named else [records.encode_origin(name, origin)]
        head = {"run_id": run_id, "created": datetime.now(UTC).isoformat(timespec="seconds")}
        for result in results:
            own = {"key": result.point.key, "origin": name}
            body = {"shared": result.shared, "each": result.each}
            lines.append(records.encode(own | head | body, result.curves))
        with (
            in_one_sentence(self.path, f"; {len(self._origins)} points are safe in it"),
            self._turn(),
        ):
            self._file.write("".join(lines).encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        self._named.add(name)
        for result in results:
            self._origins.setdefault(result.point.key, []).append(origin)

    def close(self) -> None:
        """Close the file and let the next writer in."""
        # A disk that refused a line refuses it again; the torn line is cut by the next writer.
        with contextlib.suppress(OSError):
            self._file.close()
        self._lock.close()

    def _become_the_only_writer(self, folder: Path) -> None:
        """Take the lock for as long as this is open; the system lets go of it if we die."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise InputError(f"another process is writing to {folder}; wait for it.") from error
        cut_torn_line(self._file)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the lock while writing, where others write too."""
        if not self.shared:
            yield
            return
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            cut_torn_line(self._file)
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


def cut_torn_line(file) -> None:
    """Remove what follows the last newline: a record whose writer was killed in the middle.

    Args:
        file: open for reading and appending, in binary.
    """
    end = file.seek(0, os.SEEK_END)
    if end == 0 or (file.seek(end - 1), file.read(1))[1] == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
