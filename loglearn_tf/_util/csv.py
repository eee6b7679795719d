"""Rows to CSV files."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as CSV: `None` stays empty, text is no formula (`csv_text`), and what is no UTF-8 in names is escaped."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(
        {name: csv_text(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
    )
    return text.getvalue().encode("utf-8", "backslashreplace")


def csv_text(text: str) -> str:
    """Text that spreadsheets show as it is: they take `=`, `+`, `-` and `@` for the beginning of a formula."""
    # Numbers are none.
    starts_one = text.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{text}" if starts_one and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
