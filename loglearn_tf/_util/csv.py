"""Rows to CSV files."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, spreadsheet_safe: bool = False) -> bytes:
    """Rows as a CSV file in UTF-8.

    Args:
        columns: The header; other keys of the rows are left out.
        rows: Column -> value; `None` and what is missing stay empty.
        spreadsheet_safe: Whether text goes through `spreadsheet_text`. By default a reader gets back what was written.

    Returns:
        The file's content. Surrogates, which UTF-8 cannot hold, are escaped.
    """
    text = io.StringIO()
    write = row_writer(text, spreadsheet_safe=spreadsheet_safe)
    write(columns)
    for row in rows:
        write([row.get(name) for name in columns])
    return text.getvalue().encode("utf-8", "backslashreplace")


def row_writer(out: TextIO, *, spreadsheet_safe: bool = False) -> Callable[[Iterable[Any]], object]:
    """Writes rows to a file as they come; the arguments are those of `csv_bytes`."""
    # Given a line end of "\n", Python before 3.13 leaves "\r" unquoted, which readers take for the end of a row.
    write = csv.writer(_UnixLines(out), lineterminator="\r\n").writerow
    if not spreadsheet_safe:
        return write
    return lambda row: write(spreadsheet_text(cell) if isinstance(cell, str) else cell for cell in row)


def spreadsheet_text(text: str) -> str:
    """Text with an apostrophe before it where a spreadsheet would run it as a formula: after `=`, `+`, `-` or `@`."""
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
