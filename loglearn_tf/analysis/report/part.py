"""The interface of report sections that have their own module."""

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
    """The runs of a study or part, as used by a report.

    Attributes:
        study_dir: Their folder.
        all_rows: All runs, including failed ones, with both scores.
        rows: Runs with the report's score, in `accuracy`.
        comparisons: All comparisons in the report.
        score: `"published"` or `"settled"`.
        margin: Margin of equivalence, a fraction of accuracy.
        confidence: Confidence of all intervals.
        seed: Seed of all random draws.
        unreadable: Collects files that could not be read.
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
    """A figure before it is written.

    Attributes:
        stem: Stem of its files in figures/.
        figure: The figure.
        caption: Its caption, also used by screen readers.
        columns, records: Its numbers, for `figures/STEM.csv`; without columns there is no file.
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
    """A section; its tables are written to tables/, its drawings and their numbers to figures/.

    Attributes:
        anchor, title: Anchor and title of the section.
        blocks: Its content.
        files: Stem -> a CSV file with further numbers, in tables/.
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
        """The section for the page.

        Args:
            svgs: Stem -> the written drawing.
        """
        shown: list[Block] = [
            Picture(block.stem, svgs[block.stem], block.caption) if isinstance(block, Drawing) else block
            for block in self.blocks
        ]
        return Section(self.anchor, self.title, shown)


# The function that a section module provides; `None` if the section does not apply.
Maker = Callable[[Finished], Part | None]


def mean_by_folds(values: Mapping[tuple[int, int], float]) -> float:
    """Mean of runs by (fold, run): over the runs of a fold, then over folds."""
    return float(np.mean([np.mean(runs) for runs in by_folds(values).values()]))


def by_folds(values: Mapping[tuple[int, int], float]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for (fold, _), value in sorted(values.items()):
        found.setdefault(fold, []).append(value)
    return found
