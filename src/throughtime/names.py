"""Names given by a user: refused with the nearest one that exists."""

import difflib
from collections.abc import Iterable
from typing import Any


def sentence(text: str) -> str:
    """A message with one full stop at its end, which those of other packages may lack.

    Args:
        text: of an exception, of one line.

    Returns:
        The sentence.
    """
    return f"{text.strip().rstrip('.')}."


def shown(value: Any) -> str:
    """A value as the command line takes it: null, true and false for Python's None, True and False.

    Args:
        value: what was given.

    Returns:
        Its text.
    """
    plain = {None: "null", True: "true", False: "false"}
    return plain[value] if value is None or isinstance(value, bool) else repr(value)


def unknown(kind: str, name: Any, allowed: Iterable[str]) -> str:
    """One sentence that refuses a name and offers the nearest.

    Args:
        kind: what it is a name of.
        name: what was given instead of a name.
        allowed: the names there are.

    Returns:
        The sentence.
    """
    allowed = list(allowed)
    near = nearest(str(name), allowed)
    hint = f"; did you mean {near!r}?" if near else ";"
    return f"unknown {kind} {shown(name)}{hint} known: {', '.join(allowed)}."


def known(kind: str, name: str, allowed: Iterable[str]) -> str:
    """The name, if it is one of those that exist.

    Args:
        kind: what it is a name of.
        name: the name given.
        allowed: the names there are.

    Returns:
        The name.

    Raises:
        ValueError: if it is not; the nearest is named.
    """
    allowed = list(allowed)
    if name not in allowed:
        raise ValueError(unknown(kind, name, allowed))
    return name


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The name most like the one given: nearly the same, else containing it, else resembling it.

    Args:
        name: the name given; upper and lower case are one.
        allowed: the names there are.

    Returns:
        One of them, or None if none is near.
    """
    spelled = {each.lower(): each for each in allowed}
    name = name.lower()
    close = difflib.get_close_matches(name, spelled, 1, cutoff=0.75)
    containing = [each for each in spelled if name and name in each]
    alike = difflib.get_close_matches(name, spelled, 1, cutoff=0.4)
    found = next(iter(close + containing + alike), None)
    return None if found is None else spelled[found]
