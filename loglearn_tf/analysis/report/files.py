"""Writes the files of a report's tables and figures, and removes those of an earlier report."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from loglearn_tf._util.files import storage, write_bytes
from loglearn_tf.analysis.report import figures
from loglearn_tf.analysis.report.part import Drawing
from loglearn_tf.analysis.report.table import FORMS, STEMS, Table


def write_tables(folder: Path, made: Iterable[Table], more: Mapping[str, bytes] | None = None) -> None:
    """Writes tables in every format, and the CSV files in `more` under their stems."""
    written = set()
    for stem, content in (more or {}).items():
        path = folder / f"{stem}.csv"
        write_bytes(path, content)
        written.add(path)
    for table in made:
        for ending, form in FORMS.items():
            path = folder / f"{table.stem}.{ending}"
            write_bytes(path, form(table))
            written.add(path)
    remove_others(folder, rf"{STEMS}\.({'|'.join(FORMS)})", written)


# Endings of figure stems in all reports, as a pattern.
_FIGURES = "|".join(
    (
        *("accuracy", "trajectories", "classes", "confusion", "curves", "ranks"),
        *("reliability", "learning", "compressed", "levels"),
    )
)


def write_drawings(folder: Path, drawings: Iterable[Drawing]) -> dict[str, str]:
    """Writes figures as SVG and PDF, and their numbers, if any, as CSV.

    Returns:
        Stem -> SVG, for the page.
    """
    written, svgs = set(), {}
    for drawing in drawings:
        svgs[drawing.stem] = figures.to_svg(drawing.figure)
        contents = {
            "svg": svgs[drawing.stem].encode(),
            "pdf": figures.to_pdf(drawing.figure),
            "csv": drawing.csv(),
        }
        for ending, content in contents.items():
            if content is not None:
                path = folder / f"{drawing.stem}.{ending}"
                write_bytes(path, content)
                written.add(path)
    remove_others(folder, rf".+-({_FIGURES})\.(svg|pdf|csv)", written)
    return svgs


def remove_others(folder: Path, ours: str, written: set[Path]) -> None:
    """Removes files of an earlier report, which could be mistaken for files of this one."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path not in written and re.fullmatch(ours, path.name):
                with storage(path):
                    path.unlink()
