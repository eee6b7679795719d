"""The number of training clips per class: a number, or `all`."""

import math
from collections.abc import Iterable
from typing import Any, Final, Literal

ALL: Final = "all"
NShot = int | Literal["all"]


def size_of(n_shot: NShot) -> float:
    """Sort key: `all` comes after every number."""
    return math.inf if n_shot == ALL else float(n_shot)


def in_order(n_shots: Iterable[NShot]) -> list[NShot]:
    """Sorted distinct values, `all` last."""
    return sorted(set(n_shots), key=size_of)


def n_shot_of(value: Any) -> NShot:
    """Parses a value from a file or data frame.

    Raises:
        ValueError: If it is neither a whole number nor `all`.
    """
    if type(value) is int or value == ALL:
        return ALL if value == ALL else int(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not number.is_integer():
        raise ValueError(f"n_shot must be a whole number or {ALL}. Received: {value!r}.")
    return int(number)


def folder_of_n(n_shot: NShot) -> str:
    """The name of its folder: `n005`, `nall`."""
    return f"n{n_shot}" if n_shot == ALL else f"n{n_shot:03d}"
