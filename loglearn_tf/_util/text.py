"""Text for people: what was received, as errors show it, and tables."""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
_LONGEST_PATH = 4096  # that Linux opens
_LONGEST_SHOWN = 300  # characters of what was received, in a message


def shown(value: Any) -> str:
    """As errors show what was received: a line without end must not fill the terminal."""
    return printable(repr(value))


def printable(text: str, *, longest: int = _LONGEST_SHOWN) -> str:
    """Cut where it is long; line breaks and escape sequences, which terminals obey, escaped."""
    text = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text):,} characters)"


def path_text(path: "str | os.PathLike[str]") -> str:
    """A path, or part of one, as text, whatever the locale: the bytes of names are mostly UTF-8, and escaped where they
    are not, as `\\xe9`."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # it is no name of a file here
        return os.fspath(path)


def file_name(path: "str | os.PathLike[str]") -> str:
    """A path, whole."""
    try:
        text = os.fsencode(path).decode("utf-8")
    except UnicodeError:  # bytes are escaped as Python holds them
        text = os.fspath(path)
    return printable(text, longest=_LONGEST_PATH)


def first_few(items: Sequence[Item], *, show: Callable[[Item], str] = str, most: int = 5, noun: str = "") -> list[str]:
    """The first of a list that may be long, and how many follow: `["a.wav", "b.wav", "and 1,200 more"]`.

    Args:
        items: All of them.
        show: Makes text of one; called for those that are shown.
        most: How many are.
        noun: What the others are, where it must be said.
    """
    left = len(items) - most
    more = [f"and {left:,} more {noun}".rstrip()] if left > 0 else []
    return [*map(show, items[:most]), *more]


def align(lines: Sequence[Sequence[str]], *, n_names: int = 1) -> str:
    """A table as text: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < n_names else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
