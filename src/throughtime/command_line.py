"""What a command says when it cannot do what it was asked: one sentence and exit code 2."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from throughtime.names import unknown
from throughtime.points import InputError, known_keys, known_options


@contextmanager
def one_sentence() -> Iterator[None]:
    """Answer bad input with one sentence on stderr and exit code 2; bugs keep their traceback.

    Use it around a Hydra main, for what Hydra refuses, and inside of it, since Hydra announces an
    exception that leaves a job in lines of its own.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    # Hydra hands exceptions on, instead of printing them and exiting with 1, when this is set.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except InputError as error:
        _refuse(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(hydra_sentence(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _refuse(sentence: str) -> None:
    """Say why not, and exit."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def hydra_sentence(error: Exception) -> str:
    """Hydra's own message as one sentence, with the nearest name where a name is unknown.

    Args:
        error: from Hydra or OmegaConf.

    Returns:
        The sentence.
    """
    options = getattr(error, "options", None)
    if options:
        kind, _, name = str(getattr(error, "missing_cfg_file", "")).rpartition("/")
        return unknown(kind, name, options)
    key = re.match(r"Could not override '([^']*)'", str(error))
    if key:
        group, _, option = key[1].rpartition(".")
        if group in ("cell", "task"):
            return unknown(f"option of {group}", option, known_options())
        return unknown("key", key[1], known_keys())
    cause = error.__cause__ if error.__cause__ is not None else error
    lines = [str(error).split("\n")[0], str(cause).split("\n")[0]]
    if lines[0].startswith("Ambiguous value"):
        return f"{lines[0]}: to sweep over several values, add -m."
    return ": ".join(dict.fromkeys(line.rstrip(".") for line in lines if line)) + "."
