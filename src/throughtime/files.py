"""Files that a task reads, each known by what it holds and not by where it lies."""

import dataclasses
import functools
import hashlib
import importlib.util
import stat
from pathlib import Path
from typing import Any

MANUAL = ("pydoc_data", "topics.py")

OWN_DATA = {
    "text": MANUAL,
    "brackets": MANUAL,
    "digits": ("sklearn", "datasets/data/digits.csv.gz"),
}
"""The data of tasks that read none of the user's: a package, and the file in it. The versions of
Python and of scikit-learn would be a stand-in for it: distributions change files and keep those."""


@dataclasses.dataclass(frozen=True)
class DataFile:
    """A file as it was when it was asked for; two of the same content are the same.

    It is an `os.PathLike`: what takes a path takes it.

    Attributes:
        path: where to read it, absolute; no part of what it is.
        size: in bytes; None if it is not a regular file that can be read.
        sha256: of the content, hexadecimal; None likewise.
        unread: the path of a file that cannot be read, which nothing else tells from another.
    """

    path: str = dataclasses.field(compare=False)
    size: int | None
    sha256: str | None
    unread: str = ""

    @classmethod
    def at(cls, path: str | Path) -> "DataFile":
        """Look at a file.

        Args:
            path: of the file; a relative one is taken from the current directory.

        Returns:
            The file; whoever reads it says why, if it cannot be read.
        """
        place = Path(path).absolute()
        try:
            found = place.stat()
            if not stat.S_ISREG(found.st_mode):  # a pipe could be read only once
                return cls(str(place), None, None, str(place))
            changes = (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)
            return cls(str(place), *_content(str(place), changes))
        except (OSError, ValueError):  # of a NUL in the path
            return cls(str(place), None, None, str(place))

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def is_unchanged(self) -> bool:
        """Read the file again and compare its content.

        Returns:
            Whether it holds what it held; False if it cannot be read any more.
        """
        _content.cache_clear()
        return DataFile.at(self.path) == self

    def columns(self, name: str) -> dict[str, Any]:
        """The file as columns of a row.

        Args:
            name: of the first column.

        Returns:
            The file's name without its folder, its size in bytes and the hash of its content.
        """
        said = {name: Path(self.path).name}
        return said | {f"{name}_bytes": self.size, f"{name}_sha256": self.sha256}

    def content(self) -> dict[str, Any]:
        """The part of the file that decides a number, for the key of a point.

        Returns:
            Size and hash; and the path if there are none.
        """
        said = {"bytes": self.size, "sha256": self.sha256}
        return said | ({"unread": self.unread} if self.unread else {})


@functools.lru_cache(maxsize=1024)
def _content(path: str, changes: tuple[int, ...]) -> tuple[int, str]:
    """Size and hash of a file, read once as long as the system notes no change of it."""
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")  # piece by piece
        return file.tell(), digest.hexdigest()


def own_data(task: str, options: tuple[tuple[str, Any], ...]) -> DataFile | None:
    """The file of a task's own data.

    Args:
        task: name of the task.
        options: its options, as pairs.

    Returns:
        The file; None if the task has none, if the user names a file instead, or if the package
        that holds it is not installed.
    """
    if task not in OWN_DATA or any(isinstance(value, DataFile) for _, value in options):
        return None
    package, name = OWN_DATA[task]
    folder = _folder(package)
    file = DataFile.at(folder / name) if folder else None
    return None if file is None or file.unread else file


@functools.cache
def _folder(package: str) -> Path | None:
    """The folder of a package, found without importing it."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(places[0]) if places else None
