"""Tables 1 to 4: accuracy, and loglearn minus log-EPS, in Markdown, CSV, LaTeX and HTML."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf.analysis.report.escape import html_text, latex_text, markdown_text
from loglearn_tf.analysis.report.names import compression_name, compressions_in_order, model_name, models_in_order
from loglearn_tf.analysis.statistics import Accuracy, Comparison
from loglearn_tf.analysis.summary import remarks, table_title
from loglearn_tf.study.run_folder import Row

# Told apart by form, and so in grey print, too.
MARKS = {"better": "↑", "worse": "↓", "equivalent": "≈", "undecided": "?"}
_LEGEND = f"{', '.join(f'{mark} {verdict}' for verdict, mark in MARKS.items())}: see “How to read it”."
_FEWER_FOLDS = "†"
# Of `_difference_record`.
_DIFFERENCE_COLUMNS = (
    *("n_pairs", "folds", "difference_points", "std_points", "low_points", "high_points"),
    *("low_within_points", "high_within_points"),
    *("p_value", "p_holm", "p_equivalence", "margin_points", "verdict"),
)
# As the source numbers its tables: data set -> accuracy, differences.
_NUMBERS = {"us8k": (1, 2), "tut": (3, 4), "folder": (5, 6)}


@dataclass(frozen=True)
class Cell:
    """What a cell shows; nothing where it was not run.

    Attributes:
        number: As `52.3` or `+5.0`.
        mark: After it, or empty.
        interval: Below it, or empty.
        tone: A verdict, for the page's colours, or empty.
    """

    number: str = ""
    mark: str = ""
    interval: str = ""
    tone: str = ""


Body = tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Table:
    """One table, ready to be written in any form.

    Attributes:
        stem: Of its files' names.
        title: Says what the numbers are, and are not.
        head: Of the columns that name a row, then of each n.
        body: The names of a row, and its cells, one for each n.
        notes: Sentences below it.
        columns, records: For CSV: the numbers in full, one record a cell.
    """

    stem: str
    title: str
    head: tuple[str, ...]
    body: Body
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    records: tuple[Mapping[str, Any], ...]


# ---- What the tables hold ---------------------------------------------------------------------------------------


def accuracy_table(dataset: str, rows: Sequence[Row], accuracies: Iterable[Accuracy], *, confidence: float) -> Table:
    """Table 1 (US8K), 3 (ASC-TUT) or 5 (own recordings): networks and compressions by n.

    Args:
        dataset: Its name.
        rows: Its runs, failed ones included: they span the table.
        accuracies: Of `statistics.accuracies`.
        confidence: Of their intervals.
    """
    number, _ = _NUMBERS[dataset]
    found = {(one.model, one.compression, one.n_shot): one for one in accuracies if one.dataset == dataset}
    body, records = _body_and_records(dataset, rows, _row_keys(rows), found, _accuracy_cell, _accuracy_record)
    return Table(
        stem=f"table{number}",
        title=f"Table {number}. {table_title(dataset, rows)}",
        head=("Network", "Compression", *(f"n = {n}" for n in _shots(rows))),
        body=body,
        notes=_notes(rows, body, confidence, "n: training clips per class."),
        columns=(
            *("data", "dataset", "model", "compression", "n_shot", "n_runs", "folds"),
            *("accuracy_percent", "std_points", "low_percent", "high_percent"),
        ),
        records=records,
    )


def difference_table(
    dataset: str, rows: Sequence[Row], comparisons: Iterable[Comparison], *, confidence: float
) -> Table:
    """Table 2 (US8K), 4 (ASC-TUT) or 6 (own recordings): loglearn minus log-EPS by network and n, with verdicts.

    Args:
        dataset: Its name.
        rows: Its runs, failed ones included: they span the table.
        comparisons: Of `statistics.compare`.
        confidence: Of their intervals.
    """
    _, number = _NUMBERS[dataset]
    found = {(one.model, one.n_shot): one for one in comparisons if one.dataset == dataset}
    keys = [(model,) for model in models_in_order(row["model"] for row in rows)]
    body, records = _body_and_records(dataset, rows, keys, found, _difference_cell, _difference_record)
    title = table_title(dataset, rows, "loglearn minus log-EPS, points of accuracy, mean over paired runs")
    return Table(
        stem=f"table{number}",
        title=f"Table {number}. {title}",
        head=("Network", *(f"n = {n}" for n in _shots(rows))),
        body=body,
        notes=_notes(rows, body, confidence, _LEGEND),
        columns=("data", "dataset", "model", "n_shot", *_DIFFERENCE_COLUMNS),
        records=records,
    )


def menu_table(
    dataset: str, rows: Sequence[Row], comparisons: Iterable[Comparison], *, confidence: float
) -> Table | None:
    """Every compression minus log-EPS by network and n, each with its verdict.

    Args:
        dataset: Its name.
        rows: Its runs, failed ones included: they span the table.
        comparisons: Of `statistics.compare_all`.
        confidence: Of their intervals.

    Returns:
        `None` where there is none beside loglearn, which has a table of its own.
    """
    _, number = _NUMBERS[dataset]
    keys = [key for key in _row_keys(rows) if key[1] != "logeps"]
    if {compression for _, compression in keys} <= {"loglearn"}:
        return None
    found = {(one.model, one.compression, one.n_shot): one for one in comparisons if one.dataset == dataset}
    body, records = _body_and_records(dataset, rows, keys, found, _difference_cell, _difference_record)
    title = table_title(dataset, rows, "every compression minus log-EPS, points of accuracy, mean over paired runs")
    return Table(
        stem=f"table{number}-all",
        title=f"Table {number}, all compressions. {title}",
        head=("Network", "Compression", *(f"n = {n}" for n in _shots(rows))),
        body=body,
        notes=(
            *_notes(rows, body, confidence, _LEGEND),
            f"Holm's correction is over all {sum(one.p_value is not None for one in found.values())} comparisons here.",
        ),
        columns=("data", "dataset", "model", "n_shot", "compression", *_DIFFERENCE_COLUMNS),
        records=records,
    )


def published_table(
    dataset: str,
    rows: Sequence[Row],
    accuracies: Iterable[Accuracy],
    published: Mapping[str, Mapping[str, Mapping[int, float]]],
) -> Table:
    """Ours beside theirs: every cell of the accuracy table as `ours / published`.

    Args:
        dataset: Its name.
        rows: Its runs.
        accuracies: Ours, of `statistics.accuracies`.
        published: Theirs: model -> compression -> n -> percent.
    """
    number, _ = _NUMBERS[dataset]
    ours = {(one.model, one.compression, one.n_shot): 100 * one.mean for one in accuracies if one.dataset == dataset}
    theirs = {
        (model, compression, n): percent
        for model, by_compression in published.items()
        for compression, by_n in by_compression.items()
        for n, percent in by_n.items()
    }
    models = models_in_order(key[0] for key in (*ours, *theirs))
    compressions = compressions_in_order(key[1] for key in (*ours, *theirs))
    shots = sorted({key[2] for key in (*ours, *theirs)})
    body, records = [], []
    for model in models:
        for compression in compressions:
            cells = []
            for n in shots:
                our, their = ours.get((model, compression, n)), theirs.get((model, compression, n))
                shown = "" if our is None and their is None else f"{_percent(our)} / {_percent(their)}"
                cells.append(Cell(shown))
                records.append(
                    {
                        **_labels(dataset, rows, model, n),
                        "compression": compression,
                        "accuracy_percent": None if our is None else round(our, 4),
                        "published_percent": their,
                    }
                )
            body.append(((model_name(model), compression_name(compression)), tuple(cells)))
    return Table(
        stem=f"table{number}-published",
        title=f"Table {number} beside the published one, ours / published. {table_title(dataset, rows)}",
        head=("Network", "Compression", *(f"n = {n}" for n in shots)),
        body=tuple(body),
        notes=("–: not run, or not published.", *remarks(list(rows))),
        columns=("data", "dataset", "model", "compression", "n_shot", "accuracy_percent", "published_percent"),
        records=tuple(records),
    )


def points(fraction: float) -> str:
    """A difference of accuracies, with its sign: `+5.0`, `−0.3`, `0.0`."""
    rounded = round(100 * fraction, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def points_interval(low: float | None, high: float | None) -> str:
    """Of a difference of accuracies: `−0.3 to +5.0`; empty where there is none."""
    return "" if low is None or high is None else f"{points(low)} to {points(high)}"


def p_text(p_value: float | None) -> str:
    """`0.031`; empty where there is none."""
    if p_value is None:
        return ""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _body_and_records(
    dataset: str,
    rows: Sequence[Row],
    keys: Sequence[tuple[str, ...]],
    found: Mapping[tuple[Any, ...], Any],
    cell_of: Callable[[Any, set[int]], Cell],
    record_of: Callable[[Any], dict[str, Any]],
) -> tuple[Body, tuple[dict[str, Any], ...]]:
    """What `Table` holds of the same cells, to be read and in full.

    Args:
        dataset: Its name.
        rows: Its runs.
        keys: Network, or network and compression, of every row of the table.
        found: What is shown of a key and an n; cells not run are missing.
        cell_of, record_of: Make a cell and a record of one of them, or of `None`.
    """
    folds, shots = _folds(rows), _shots(rows)
    body = tuple(
        (
            (model_name(key[0]), *map(compression_name, key[1:])),
            tuple(cell_of(found.get((*key, n)), folds) for n in shots),
        )
        for key in keys
    )
    records = tuple(
        {
            **_labels(dataset, rows, key[0], n),
            **({"compression": key[1]} if len(key) > 1 else {}),
            **record_of(found.get((*key, n))),
        }
        for key in keys
        for n in shots
    )
    return body, records


def _accuracy_cell(one: Accuracy | None, folds: set[int]) -> Cell:
    if one is None:
        return Cell()
    interval = f"{100 * one.low:.1f} to {100 * one.high:.1f}" if one.low is not None and one.high is not None else ""
    return Cell(f"{100 * one.mean:.1f}", _FEWER_FOLDS if set(one.folds) < folds else "", interval)


def _difference_cell(one: Comparison | None, folds: set[int]) -> Cell:
    if one is None:
        return Cell()
    mark = MARKS[one.verdict] + (_FEWER_FOLDS if set(one.folds) < folds else "")
    return Cell(points(one.mean), mark, points_interval(one.low, one.high), one.verdict)


def _accuracy_record(one: Accuracy | None) -> dict[str, Any]:
    if one is None:
        return {}
    return {
        "n_runs": one.n_runs,
        "folds": " ".join(map(str, one.folds)),
        "accuracy_percent": _hundredfold(one.mean),
        "std_points": _hundredfold(one.std),
        "low_percent": _hundredfold(one.low),
        "high_percent": _hundredfold(one.high),
    }


def _difference_record(one: Comparison | None) -> dict[str, Any]:
    if one is None:
        return {}
    return {
        "n_pairs": one.n_pairs,
        "folds": " ".join(map(str, one.folds)),
        "difference_points": _hundredfold(one.mean),
        "std_points": _hundredfold(one.std),
        "low_points": _hundredfold(one.low),
        "high_points": _hundredfold(one.high),
        "low_within_points": _hundredfold(one.low_within),
        "high_within_points": _hundredfold(one.high_within),
        "p_value": one.p_value,
        "p_holm": one.p_holm,
        "p_equivalence": one.p_equivalence,
        "margin_points": _hundredfold(one.margin),
        "verdict": one.verdict,
    }


def _labels(dataset: str, rows: Sequence[Row], model: str, n_shot: int) -> dict[str, Any]:
    # A CSV file has no title that could say so.
    data = "synthetic" if rows[0]["synthetic"] else "real"
    return {"data": data, "dataset": dataset, "model": model, "n_shot": n_shot}


def _notes(rows: Sequence[Row], body: Body, confidence: float, first: str) -> tuple[str, ...]:
    cells = [cell for _, row in body for cell in row if cell.number]
    notes = [first]
    if any(cell.interval for cell in cells):
        notes.append(f"Below each number its {100 * confidence:g} % interval.")
    if any(not cell.interval for cell in cells):
        notes.append("No interval where there is too little to make one from.")
    if len(_folds(rows)) == 1 and rows[0]["dataset"] != "tut" and any(cell.interval for cell in cells):
        notes.append("Intervals are over the runs of one fold, and say nothing of other folds.")
    if any(_FEWER_FOLDS in cell.mark for cell in cells):
        notes.append(f"{_FEWER_FOLDS} over fewer folds than the title says; the CSV file names them.")
    return (*notes, *remarks(list(rows)))


def _row_keys(rows: Sequence[Row]) -> list[tuple[str, str]]:
    keys = {(row["model"], row["compression"]) for row in rows}
    return [
        (model, compression)
        for model in models_in_order(key[0] for key in keys)
        for compression in compressions_in_order(key[1] for key in keys)
        if (model, compression) in keys
    ]


def _shots(rows: Sequence[Row]) -> list[int]:
    return sorted({row["n_shot"] for row in rows})


def _folds(rows: Sequence[Row]) -> set[int]:
    return {row["fold"] for row in rows}


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _hundredfold(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 4)


# ---- The forms they are written in ------------------------------------------------------------------------------


def to_csv(table: Table) -> bytes:
    """One row a cell, with everything that is known of it; cells not run stay empty."""
    return csv_bytes(table.columns, table.records)


def to_markdown(table: Table) -> str:
    """GitHub's tables: names to the left, numbers to the right."""
    n_names = len(table.head) - len(table.body[0][1])
    lines = [
        [markdown_text(head) for head in table.head],
        ["---"] * n_names + ["--:"] * (len(table.head) - n_names),
        *([markdown_text(text) for text in (*names, *map(_in_a_line, cells))] for names, cells in table.body),
    ]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(markdown_text(note) for note in table.notes)
    return f"**{markdown_text(table.title)}**\n\n{rows}\n\n{notes}\n"


def to_latex(table: Table) -> str:
    """A `table` environment for `\\input`; where it is wider than the page, it shrinks to fit."""
    n_names = len(table.head) - len(table.body[0][1])
    lines: list[str] = []
    network = ""
    for names, cells in table.body:
        # A network's name stands at its first row, with a little air above it.
        again = n_names > 1 and names[0] == network
        if lines and not again:
            lines.append(r"\addlinespace")
        network = names[0]
        shown = ["" if again else network, *names[1:], *(f"{cell.number} {cell.mark}" for cell in cells)]
        lines.append(rf"{' & '.join(map(latex_text, shown))} \\")
        if any(cell.interval for cell in cells):
            below = [rf"\scriptsize {latex_text(cell.interval)}" if cell.interval else "" for cell in cells]
            lines.append(rf"{' & '.join([*[''] * n_names, *below])} \\")
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs,graphicx}.",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex_text(table.title.partition('. ')[2])}.}}",
            rf"  \label{{tab:{table.stem}}}",
            r"  \footnotesize",
            r"  \setlength{\tabcolsep}{4pt}",
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"  \begin{{tabular}}{{{'l' * n_names}{'r' * (len(table.head) - n_names)}}}",
            r"    \toprule",
            rf"    {' & '.join(map(latex_text, table.head))} \\",
            r"    \midrule",
            *(f"    {line}" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}}",
            *(rf"  \par\smallskip {latex_text(note)}" for note in table.notes),
            r"\end{table}",
            "",
        ]
    )


def to_html(table: Table) -> str:
    """A `figure` that scrolls by itself where the page is too narrow for it."""
    n_names = len(table.head) - len(table.body[0][1])
    head = "".join(
        f'<th scope="col"{"" if at < n_names else " class=number"}>{html_text(text)}</th>'
        for at, text in enumerate(table.head)
    )
    notes = "".join(f"<li>{html_text(note)}</li>" for note in table.notes)
    return (
        f'<figure class="table" id="{html_text(table.stem)}"><figcaption>{html_text(table.title)}</figcaption>'
        f'<div class="wide" tabindex="0" role="region" aria-label="{html_text(table.title)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(_html_rows(table))}</tbody></table></div>"
        f'<ul class="notes">{notes}</ul></figure>'
    )


def _html_rows(table: Table) -> Iterator[str]:
    of_network = Counter(names[0] for names, _ in table.body)
    previous = ""
    for names, cells in table.body:
        heads = "".join(f'<th scope="row">{html_text(name)}</th>' for name in names[1:])
        start = ""
        if names[0] != previous:
            previous, start = names[0], ' class="first"'
            heads = f'<th scope="rowgroup" rowspan="{of_network[previous]}">{html_text(previous)}</th>' + heads
        yield f"<tr{start}>{heads}{''.join(map(_html_cell, cells))}</tr>"


def _html_cell(cell: Cell) -> str:
    tone = f" {html_text(cell.tone)}" if cell.tone else ""
    mark = f' <span class="mark">{html_text(cell.mark)}</span>' if cell.mark else ""
    interval = f"<small>{html_text(cell.interval)}</small>" if cell.interval else ""
    return f'<td class="number{tone}">{html_text(cell.number)}{mark}{interval}</td>'


def _in_a_line(cell: Cell) -> str:
    text = f"{cell.number} {cell.mark}".strip()
    return f"{text} ({cell.interval})" if cell.interval else text


FORMS: dict[str, Callable[[Table], bytes]] = {
    "md": lambda table: to_markdown(table).encode(),
    "csv": to_csv,
    "tex": lambda table: to_latex(table).encode(),
}
