"""A section of the report that a module of its own makes: what it gets, and what it gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis.report.document import Block, Picture, Section
from loglearn_tf.analysis.report.run_files import Unreadable
from loglearn_tf.analysis.report.table import Table
from loglearn_tf.analysis.statistics import Comparison
from loglearn_tf.study.run_folder import Row


@dataclass(frozen=True)
class Finished:
    """The runs of a study or a part of one, as a report has them.

    Attributes:
        study_dir: Their folder.
        all_rows: All of them, failed ones included, with both scores.
        rows: Those that have the report's score, in `accuracy`.
        comparisons: All that the report shows.
        score: `"published"` or `"settled"`.
        margin: Of equivalence, a fraction of accuracy.
        confidence: Of all intervals.
        seed: Of all that is drawn.
        unreadable: Takes down files that could not be read.
    """

    study_dir: Path
    all_rows: Sequence[Row]
    rows: Sequence[Row]
    comparisons: Sequence[Comparison]
    score: str
    margin: float
    confidence: float
    seed: int
    unreadable: Unreadable

    @property
    def done(self) -> list[Row]:
        return [row for row in self.rows if row["status"] == "done"]

    @property
    def other_score(self) -> str:
        return "settled" if self.score == "published" else "published"


@dataclass(frozen=True)
class Drawing:
    """A figure, before it is written.

    Attributes:
        stem: Of its files in figures/.
        figure: What is drawn.
        caption: What it shows; read aloud in its place.
        columns, records: Its numbers, of `figures/STEM.csv`; no columns, no file.
    """

    stem: str
    figure: Figure
    caption: str
    columns: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()

    def csv(self) -> bytes | None:
        return csv_bytes(self.columns, self.records) if self.columns else None


@dataclass(frozen=True)
class Part:
    """A section; its tables are written into tables/, its drawings and their numbers into figures/.

    Attributes:
        anchor, title: Of the section.
        blocks: What it shows.
        files: Stem -> a CSV file of further numbers, in tables/.
    """

    anchor: str
    title: str
    blocks: Sequence[Block | Drawing]
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def tables(self) -> list[Table]:
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def drawings(self) -> list[Drawing]:
        return [block for block in self.blocks if isinstance(block, Drawing)]

    def section(self, svgs: Mapping[str, str]) -> Section:
        """As the page has it.

        Args:
            svgs: Stem -> the drawing as written.
        """
        shown: list[Block] = [
            Picture(block.stem, svgs[block.stem], block.caption) if isinstance(block, Drawing) else block
            for block in self.blocks
        ]
        return Section(self.anchor, self.title, shown)


# What a module of a section offers; `None` where a study has nothing that it is about.
Maker = Callable[[Finished], Part | None]


def mean_by_folds(values: Mapping[tuple[int, int], float]) -> float:
    """Of runs by (fold, run): over the runs of a fold, then over folds."""
    return float(np.mean([np.mean(runs) for runs in by_folds(values).values()]))


def by_folds(values: Mapping[tuple[int, int], float]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for (fold, _), value in sorted(values.items()):
        found.setdefault(fold, []).append(value)
    return found
