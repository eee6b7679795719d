"""Report tables and their Markdown, CSV and LaTeX formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis.names import table_numbers
from loglearn_tf.analysis.planned import Outcome, StudyPart
from loglearn_tf.analysis.report.escape import file_stem, latex_text, markdown_text
from loglearn_tf.analysis.statistics import Accuracy, Comparison
from loglearn_tf.study.run_folder import Row

# Distinguished by shape, so also in greyscale print.
MARKS = {"better": "↑", "worse": "↓", "equivalent": "≈", "undecided": "?"}


@dataclass(frozen=True)
class Cell:
    """The content of a cell; empty if it was not run.

    Attributes:
        number: Such as `52.3` or `+5.0`.
        mark: Mark after the number, or empty.
        interval: Text below the number, or empty.
        tone: A verdict, for the page's colours, or empty.
    """

    number: str = ""
    mark: str = ""
    interval: str = ""
    tone: str = ""


Body = tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Table:
    """One table, ready to be written in any format.

    Attributes:
        caption: Explains the numbers.
        head: Headings of the columns that name a row, then of the others.
        body: For each row, its names and cells.
        notes: Sentences below it.
        columns, records: For CSV: the full numbers, one record per cell.
        comparisons: Comparisons whose verdicts it shows; the report lists all their numbers below it.
        stem, label: Name of its files, and the label before its caption; both are set by `ReportTable`.
    """

    caption: str
    head: tuple[str, ...]
    body: Body
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    stem: str = ""
    label: str = ""

    @property
    def title(self) -> str:
        return f"{self.label}. {self.caption}" if self.label else self.caption

    @property
    def n_names(self) -> int:
        """Columns that name a row."""
        return len(self.body[0][0]) if self.body else len(self.head)


@dataclass(frozen=True)
class DatasetResults:
    """The results of one data set, from which tables are made.

    Attributes:
        dataset: Its name.
        rows: Its runs, including failed ones, which define the rows and columns.
        accuracies: Accuracy of every cell.
        confidence: Confidence of all intervals.
        published: Published accuracy in percent: model -> compression -> n.
        score: The accuracy in the rows; see `results.with_score`.
        baseline: The compression that all others are compared with.
    """

    dataset: str
    rows: Sequence[Row]
    accuracies: Sequence[Accuracy] = ()
    confidence: float = 0.95
    published: Mapping[str, Mapping[str, Mapping[int, float]]] | None = None
    score: str = "published"
    baseline: str = "logeps"

    @property
    def accuracy(self) -> str:
        """Name of the score in captions."""
        return "accuracy" if self.score == "published" else f"{self.score} accuracy"


@dataclass(frozen=True)
class StudyResults:
    """The results from which tables across the parts of a study are made.

    Attributes:
        parts: Parts of the study, whose runs hold the accuracy of `score`.
        confidence: Confidence of all intervals.
        seed: Seed of every bootstrap.
        score: The accuracy used; see `results.with_score`.
        compressions: For tables of regret, the compressions to choose from; `None` for those that were run in more than
            half of the cells.
    """

    parts: Sequence[StudyPart]
    confidence: float = 0.95
    seed: int = 0
    score: str = "published"
    compressions: Sequence[str] | None = None


@dataclass(frozen=True)
class ReportTable:
    """A kind of report table, listed in `loglearn_tf.analysis.report.tables.TABLES`.

    Attributes:
        name: Its files are named `DATASET-table-NAME`, unless the source numbers it.
        build: Makes it from a data set's results and the comparisons with `baseline` (none if that is `None`). All
            comparisons of a data set in a report are corrected together, so p and verdict of a cell are the same
            everywhere. With scope `"study"`: from a `StudyResults`, without comparisons.
        applies: Whether it applies to these results.
        baseline: The compression whose accuracy is subtracted; `None` if it compares nothing.
        numbered: For a table of the source: whether it is numbered with the tables of accuracy (0) or of differences
            (1), and the suffix after the number in its file names, which are then `tableNUMBER`.
        label: Text before its caption; `{}` is the number in the source.
        scope: `"data set"`: one table for each; `"study"`: one across the parts of a study, in the report of the whole
            study.
    """

    name: str
    build: Callable[[Any, Sequence[Comparison]], Table]
    applies: Callable[[Any], bool] = lambda results: True
    baseline: str | None = None
    numbered: tuple[int, str] | None = None
    label: str = "Table {}"
    scope: Literal["data set", "study"] = "data set"

    def of_study(self, results: StudyResults) -> Table:
        """Builds a table with scope `"study"` and sets its name."""
        return replace(self.build(results, ()), stem=file_stem("study", "table", self.name))

    def table(self, results: DatasetResults, comparisons: Sequence[Comparison] = ()) -> Table:
        """Builds the table and sets its names.

        Args:
            results: Results of one data set.
            comparisons: Comparisons of all data sets and baselines; those of the table are selected.
        """
        ours = [one for one in comparisons if (one.dataset, one.baseline) == (results.dataset, self.baseline)]
        table = self.build(results, ours)
        numbers = table_numbers(results.dataset)
        if self.numbered is None or numbers is None:
            return replace(table, stem=file_stem(results.dataset, "table", self.name))
        which, suffix = self.numbered
        return replace(table, stem=f"table{numbers[which]}{suffix}", label=self.label.format(numbers[which]))


# Pattern of the file names of all tables.
STEMS = r"(table\d+(-\w+)?|.+-table-.+)"


# ---- Numbers as text ----------------------------------------------------------------------------------------------


def points(fraction: float) -> str:
    """A difference of accuracies, with its sign: `+5.0`, `−0.3`, `0.0`."""
    rounded = round(100 * fraction, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def points_interval(low: float | None, high: float | None) -> str:
    """An interval of a difference of accuracies: `−0.3 to +5.0`, or empty."""
    return "" if low is None or high is None else f"{points(low)} to {points(high)}"


def verdict_interval(one: Comparison | Outcome) -> str:
    """The interval behind a verdict; for "equivalent" the 90 % interval, marked as such: `90 %: −0.3 to +1.0`."""
    if one.verdict == "equivalent":
        return f"90 %: {points_interval(one.low_90, one.high_90)}"
    return points_interval(one.low, one.high)


def p_text(p_value: float | None) -> str:
    """`0.031`, or empty."""
    if p_value is None:
        return ""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


# ---- Formats of tables ---------------------------------------------------------------------------------------------


def to_csv(table: Table) -> bytes:
    """One row per cell with all its numbers; cells that were not run are empty."""
    return csv_bytes(table.columns, table.records)


def to_markdown(table: Table) -> str:
    """GitHub's tables: names left-aligned, numbers right-aligned."""
    body = [(*names, *map(_in_a_line, cells)) for names, cells in table.body]
    notes = "\n".join(map(markdown_text, table.notes))
    return f"**{markdown_text(table.title)}**\n\n{markdown_table(table.head, body, table.n_names)}\n\n{notes}\n"


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]], n_names: int) -> str:
    rule = ["---" if at < n_names else "--:" for at in range(len(head))]
    lines = [list(map(markdown_text, head)), rule, *(list(map(markdown_text, line)) for line in body)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_latex(table: Table) -> str:
    """A `table` environment for `\\input`, which shrinks if it is wider than the page."""
    lines: list[str] = []
    network = ""
    for names, cells in table.body:
        # A network's name is in its first row, with a little space above it.
        again = table.n_names > 1 and names[0] == network
        if lines and not again:
            lines.append(r"\addlinespace")
        network = names[0]
        shown = ["" if again else network, *names[1:], *(f"{cell.number} {cell.mark}" for cell in cells)]
        lines.append(rf"{' & '.join(map(latex_text, shown))} \\")
        if any(cell.interval for cell in cells):
            below = [rf"\scriptsize {latex_text(cell.interval)}" if cell.interval else "" for cell in cells]
            lines.append(rf"{' & '.join([*[''] * table.n_names, *below])} \\")
    body = "\n".join(f"    {line}" for line in lines)
    notes = "".join(f"\n  \\par\\smallskip {latex_text(note)}" for note in table.notes)
    return rf"""% Needs \usepackage{{booktabs,graphicx}}.
\begin{{table}}
  \centering
  \caption{{{latex_text(table.caption)}.}}
  \label{{tab:{table.stem}}}
  \footnotesize
  \setlength{{\tabcolsep}}{{4pt}}
  \resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{%
  \begin{{tabular}}{{{"l" * table.n_names}{"r" * (len(table.head) - table.n_names)}}}
    \toprule
    {" & ".join(map(latex_text, table.head))} \\
    \midrule
{body}
    \bottomrule
  \end{{tabular}}}}{notes}
\end{{table}}
"""


def _in_a_line(cell: Cell) -> str:
    text = f"{cell.number} {cell.mark}".strip()
    return f"{text} ({cell.interval})" if cell.interval else text


FORMS: dict[str, Callable[[Table], bytes]] = {
    "md": lambda table: to_markdown(table).encode(),
    "csv": to_csv,
    "tex": lambda table: to_latex(table).encode(),
}
