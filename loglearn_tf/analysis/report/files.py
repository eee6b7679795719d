"""The files of a report: those of its tables, and none that an earlier report left."""

import re
from collections.abc import Iterable
from pathlib import Path

from loglearn_tf._util.files import storage, write_bytes
from loglearn_tf.analysis.report.table import FORMS, STEMS, Table


def write_tables(folder: Path, made: Iterable[Table]) -> None:
    """Writes tables in every form."""
    written = set()
    for table in made:
        for ending, form in FORMS.items():
            path = folder / f"{table.stem}.{ending}"
            write_bytes(path, form(table))
            written.add(path)
    remove_others(folder, rf"{STEMS}\.({'|'.join(FORMS)})", written)


def remove_others(folder: Path, ours: str, written: set[Path]) -> None:
    """An earlier report's files would pass for this one's, where it had more to show."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path not in written and re.fullmatch(ours, path.name):
                with storage(path):
                    path.unlink()
