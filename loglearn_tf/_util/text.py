"""Text for messages: received values, paths and tables."""

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
_LONGEST_PATH = 4096  # limit of Linux
_LONGEST_SHOWN = 300  # characters of a received value in a message


def shown(value: Any) -> str:
    """A received value as shown in errors, limited in length."""
    return printable(repr(value))


def printable(text: str, *, longest: int = _LONGEST_SHOWN) -> str:
    """Shortens long text and escapes line breaks and terminal control sequences."""
    text = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text):,} characters)"


def path_text(path: "str | os.PathLike[str]") -> str:
    """A path, or part of one, as text, whatever the locale: bytes of names are decoded as UTF-8 if possible, otherwise
    escaped as in `\\xe9`."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # not a valid file name here
        return os.fspath(path)


def file_name(path: "str | os.PathLike[str]") -> str:
    """A path as text, not shortened."""
    try:
        text = os.fsencode(path).decode("utf-8")
    except UnicodeError:  # undecodable bytes stay escaped
        text = os.fspath(path)
    return printable(text, longest=_LONGEST_PATH)


def first_few(items: Sequence[Item], *, show: Callable[[Item], str] = str, most: int = 5, noun: str = "") -> list[str]:
    """The first items of a long list and the number of others: `["a.wav", "b.wav", "and 1,200 more"]`.

    Args:
        items: All items.
        show: Formats an item; called only for those shown.
        most: Maximum number shown.
        noun: What the others are, if needed.
    """
    left = len(items) - most
    more = [f"and {left:,} more {noun}".rstrip()] if left > 0 else []
    return [*map(show, items[:most]), *more]


def align(lines: Sequence[Sequence[str]], *, n_names: int = 1) -> str:
    """A table as text: names left-aligned, numbers right-aligned."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < n_names else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
