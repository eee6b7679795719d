"""Writes rows to CSV files."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, spreadsheet_safe: bool = False) -> bytes:
    """Rows as a CSV file in UTF-8.

    Args:
        columns: The header; other keys of the rows are ignored.
        rows: Column -> value; `None` and missing values are empty.
        spreadsheet_safe: Whether to apply `spreadsheet_text`. By default text is written unchanged.

    Returns:
        The file's content. Surrogates, which UTF-8 cannot represent, are escaped.
    """
    text = io.StringIO()
    write = row_writer(text, spreadsheet_safe=spreadsheet_safe)
    write(columns)
    for row in rows:
        write([row.get(name) for name in columns])
    return text.getvalue().encode("utf-8", "backslashreplace")


def row_writer(out: TextIO, *, spreadsheet_safe: bool = False) -> Callable[[Iterable[Any]], object]:
    """Writes rows to a file one by one; for the arguments see `csv_bytes`."""
    # With line ends of "\n", Python before 3.13 leaves "\r" unquoted, which readers treat as the end of a row.
    write = csv.writer(_UnixLines(out), lineterminator="\r\n").writerow
    if not spreadsheet_safe:
        return write
    return lambda row: write(spreadsheet_text(cell) if isinstance(cell, str) else cell for cell in row)


def spreadsheet_text(text: str) -> str:
    """Prefixes text that a spreadsheet would run as a formula (`=`, `+`, `-` or `@`) with an apostrophe."""
    starts_one = text.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{text}" if starts_one and not _is_number(text) else text


class _UnixLines:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, line: str) -> int:
        return self._out.write(line.removesuffix("\r\n") + "\n")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
