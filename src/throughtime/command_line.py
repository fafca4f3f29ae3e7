"""What a command says when it cannot do what it was asked: one sentence and exit code 2."""

import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from throughtime.names import unknown
from throughtime.options import MITIGATIONS
from throughtime.points import InputError, known_keys, known_options

HYDRAS = ("hydra", "omegaconf")


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
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except InputError as error:
        _refuse(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(hydra_sentence(error))
    except (OSError, ValueError, TypeError, AttributeError, AssertionError) as error:
        # Hydra refuses some overrides by whatever breaks on them: cell=3, hydra.verbose=3.
        if not _is_hydras_own(error):
            raise
        _refuse(hydra_sentence(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _refuse(sentence: str) -> None:
    """Say why not, and exit."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def _is_hydras_own(error: Exception) -> bool:
    """Whether Hydra's code or OmegaConf's raised an exception, or called what did in Python's."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    names = [frame.f_globals.get("__name__", "").split(".")[0] for frame in frames]
    return [name for name in names if name not in sys.stdlib_module_names][-1] in HYDRAS


def hydra_sentence(error: Exception) -> str:
    """Hydra's own message as one sentence, with the nearest name where a name is unknown.

    Args:
        error: raised in Hydra's code or OmegaConf's.

    Returns:
        The sentence.
    """
    kind, _, name = str(getattr(error, "missing_cfg_file", "")).rpartition("/")
    # Of a list of choices Hydra does not say what there is.
    options = MITIGATIONS if kind == "mitigation" else getattr(error, "options", None)
    if options:
        return unknown(kind, name, options)
    cause = error.__cause__ if error.__cause__ is not None else error
    first, reason = (str(each).split("\n")[0].rstrip(".: ") for each in (error, cause))
    key = re.match(r"Could not override '((?!hydra)[^']*)'", first)
    if key:
        return _unknown_key(getattr(cause, "full_key", None) or key[1])
    if first.startswith("Error in call to target"):  # the launcher or the sweeper refuses
        return f"{reason}."
    if first.startswith("Ambiguous value"):
        return f"{first}: to sweep over several values, add -m."
    if first.startswith("LexerNoViableAlt"):
        return f"cannot read the override {first.partition(': ')[2]!r}; quote what is special."
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write to {error.filename}: {error.strerror}."
    if isinstance(error, TypeError | AttributeError | AssertionError):
        reason = ": ".join(filter(None, (type(error).__name__, reason)))
        return f"Hydra cannot use one of these overrides ({reason})."
    return ": ".join(dict.fromkeys(line for line in (first, reason) if line)) + "."


def _unknown_key(key: str) -> str:
    """A key that no configuration has, with the nearest one."""
    group, _, option = key.rpartition(".")
    if group in ("cell", "task", "diagnostic"):
        if option in known_options():
            return (
                f"the {group} chosen has no option {option!r}; conf/{group}/ lists those of each."
            )
        return unknown(f"option of {group}", option, known_options())
    return unknown("key", key, known_keys())
