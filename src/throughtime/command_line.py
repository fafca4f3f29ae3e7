"""What a command says when it cannot do what it was asked: one sentence and exit code 2."""

import codecs
import io
import os
import re
import signal
import sys
import traceback
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from throughtime.names import sentence, unknown
from throughtime.options import MITIGATIONS
from throughtime.points import InputError, known_keys, known_options

HYDRAS = ("hydra", "omegaconf")

PLAIN = {"−": "-", "–": "-", "…": "...", "≥": ">=", "≤": "<=", "≈": "~", "×": "x", "·": "*"}
PLAIN |= {"∞": "inf", "‖": "||", "∂": "d", "→": "->", "λ": "lambda", "ρ": "rho"}
"""What is printed where a terminal's encoding lacks a sign."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Answer bad input with one sentence on stderr and exit code 2; bugs keep their traceback.

    Use it around a Hydra main, for what Hydra refuses, and inside of it, since Hydra announces an
    exception that leaves a job in lines of its own.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    _print_what_can_be_shown()
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


def _refuse(text: str) -> None:
    """Say why not, and exit."""
    print(f"error: {text if chr(10) in text else sentence(text)}", file=sys.stderr)
    sys.exit(2)


def _print_what_can_be_shown() -> None:
    """Let stdout and stderr spell out what their encoding lacks: an answer is worth a minus sign.

    Otherwise a code page without "−" would end a sweep, after it was measured, with a traceback.
    """
    codecs.register_error("throughtime", _spelled_out)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="throughtime")


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    """ASCII for the signs that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(sign: str) -> str:
    """ASCII for one sign: that of `PLAIN`, the letter without its accent, or a question mark."""
    parts = unicodedata.normalize("NFKD", sign)
    return PLAIN.get(sign) or parts.encode("ascii", "ignore").decode() or "?"


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
        return _unknown_key(key[1], getattr(cause, "full_key", None) or key[1])
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


def _unknown_key(key: str, missing: str) -> str:
    """A key that the configuration chosen does not have, with the nearest one.

    Hydra applies a value to the configuration that is chosen outside of the sweep, before the
    sweep, and only ``++`` adds a key where there is none.

    Args:
        key: as it was given.
        missing: the part of it that does not exist.
    """
    group, _, option = max(key, missing, key=len).rpartition(".")
    if group.startswith("mitigation."):
        return _unknown_option_of_mitigation(key, missing)
    if group not in ("cell", "task", "diagnostic"):
        return unknown("key", missing, known_keys())
    if option not in [*known_options(), *["label"] * (group == "cell")]:
        return unknown(f"option of {group}", option, known_options())
    return (
        f"the {group} configuration at hand sets no {option!r}; ++{_given(key)} sets it in every "
        f"{group} chosen, and a {group} without this option refuses it."
    )


def _unknown_option_of_mitigation(key: str, missing: str) -> str:
    """An option of a remedy that is not chosen, or that its configuration does not set."""
    _, name, *options = key.split(".")
    if name not in MITIGATIONS:
        return unknown("mitigation", name, MITIGATIONS)
    if missing in ("mitigation", f"mitigation.{name}"):
        return f"mitigation {name!r} is not chosen; mitigation=[{name}] chooses it."
    return (
        f"the configuration of mitigation {name!r} sets no {'.'.join(options)!r}; ++{_given(key)} "
        "sets it, and is refused if the mitigation has no such option."
    )


def _given(key: str) -> str:
    """The override of a key as it was given."""
    return next((each for each in sys.argv[1:] if each.startswith(f"{key}=")), f"{key}=<value>")
