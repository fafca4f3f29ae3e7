"""Files of the user's own: only regular ones are read, as a pipe or a device may have no end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def of_regular_file(what: str, path: Path) -> Iterator[None]:
    """Refuse in one sentence what is no file that can be read.

    Args:
        what: is read, such as "text file".
        path: of the file.

    Yields:
        Nothing; the file is read meanwhile.

    Raises:
        ValueError: the path is not there, is a folder, a pipe or a device, or the system does not
            let it be read.
    """
    try:
        if not path.is_file():
            raise ValueError(f"the {what} {path} {_standing(path)}.")
        yield
    except OSError as error:
        raise ValueError(f"the {what} {path} cannot be read: {error.strerror}.") from error


def _standing(path: Path) -> str:
    """Why a path is no regular file."""
    if path.is_dir():
        return "is a folder"
    return "is not a regular file" if path.exists() else "does not exist"
