"""The tables of a report, as an open list: accuracy, differences with verdicts, and ours next to the published."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loglearn_tf._util.registry import Registry
from loglearn_tf._util.text import shown
from loglearn_tf.analysis.names import (
    compression_name,
    compressions_in_order,
    model_name,
    models_in_order,
    n_test_folds,
)
from loglearn_tf.analysis.regret import RegretCell, worst_regrets
from loglearn_tf.analysis.report.table import (
    MARKS,
    Body,
    Cell,
    DatasetResults,
    ReportTable,
    StudyResults,
    Table,
    points,
    verdict_interval,
)
from loglearn_tf.analysis.results import Runs
from loglearn_tf.analysis.statistics import Accuracy, Comparison
from loglearn_tf.analysis.summary import remarks, table_title
from loglearn_tf.datasets.n_shot import NShot, in_order, size_of
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.run_folder import Row

_LEGEND = f"{', '.join(f'{mark} {verdict}' for verdict, mark in MARKS.items())}: see “How to read it”."
_FEWER_FOLDS = "†"
# Networks, or networks and compressions: the rows of a table.
_Keys = Sequence[tuple[str, ...]]


def _accuracy(results: DatasetResults, _: Sequence[Comparison]) -> Table:
    """Table 1 (US8K) or 3 (ASC-TUT): networks and compressions by n."""
    found = {(one.model, one.compression, one.n_shot): one for one in results.accuracies}
    body, records = _body_and_records(results, _row_keys(results.rows), found, _accuracy_cell, _accuracy_record)
    return Table(
        caption=table_title(results.dataset, results.rows, f"{results.accuracy} in %, mean over runs"),
        head=("Network", "Compression", *_heads(_shots(results.rows))),
        body=body,
        notes=_notes(results, body, "n: training clips per class."),
        columns=(*_LABELS, "n_runs", "folds", "accuracy_percent", "std_points", "low_percent", "high_percent"),
        records=records,
    )


def _differences(results: DatasetResults, comparisons: Sequence[Comparison]) -> Table:
    """Table 2 (US8K) or 4 (ASC-TUT): loglearn minus log-EPS by network and n, with verdicts."""
    keys = [(model,) for model in models_in_order(row["model"] for row in results.rows)]
    ours = [one for one in comparisons if one.compression == "loglearn"]
    found: dict[tuple[Any, ...], Comparison] = {(one.model, one.n_shot): one for one in ours}
    return _table_of_differences(results, keys, found, "loglearn minus log-EPS")


def _all_differences(results: DatasetResults, comparisons: Sequence[Comparison]) -> Table:
    """Every compression minus the baseline, log-EPS, by network and n, with verdicts."""
    keys = [key for key in _row_keys(results.rows) if key[1] != results.baseline]
    found: dict[tuple[Any, ...], Comparison] = {(one.model, one.compression, one.n_shot): one for one in comparisons}
    what = f"every compression minus {compression_name(results.baseline)}"
    return _table_of_differences(results, keys, found, what)


def _published(results: DatasetResults, _: Sequence[Comparison]) -> Table:
    """Ours next to the published: every cell of the accuracy table as `ours / published`."""
    ours = {(one.model, one.compression, one.n_shot): 100 * one.mean for one in results.accuracies}
    theirs: dict[tuple[str, str, NShot], float] = {
        (model, compression, n): percent
        for model, by_compression in (results.published or {}).items()
        for compression, by_n in by_compression.items()
        for n, percent in by_n.items()
    }
    found = {key: (ours.get(key), theirs.get(key)) for key in (*ours, *theirs)}
    models, compressions = models_in_order(key[0] for key in found), compressions_in_order(key[1] for key in found)
    keys = [(model, compression) for model in models for compression in compressions]
    shots = in_order(key[2] for key in found)
    body, records = _body_and_records(results, keys, found, _beside, _record_beside, shots)
    return Table(
        caption=table_title(results.dataset, results.rows, f"{results.accuracy} in %, mean over runs"),
        head=("Network", "Compression", *_heads(shots)),
        body=body,
        notes=("–: not run, or not published.", *remarks(list(results.rows))),
        columns=(*_LABELS, "accuracy_percent", "published_percent"),
        records=records,
    )


def _regret(results: StudyResults, _: Sequence[Comparison]) -> Table:
    """How far each compression is behind the best one, over all parts, networks and n."""
    found = worst_regrets(
        _regret_cells(results),
        compressions=results.compressions,
        confidence=results.confidence,
        seed=results.seed,
    )
    shown = [
        (
            (compression_name(one.compression),),
            (
                Cell(f"{100 * one.worst:.1f}", interval=_plain_interval(one.low, one.high)),
                Cell(", ".join((one.where[0], model_name(one.where[1]), f"n = {one.where[2]}"))),
                Cell(f"{100 * one.mean:.1f}"),
                Cell(f"{100 * one.smallest:.0f} %"),
            ),
        )
        for one in found.of
    ]
    best = found.of[0]
    n_cells = f"{len(found.cells)} cells of part, network and n"
    notes = [
        f"Regret: the difference to the best mean accuracy in the same cell, {results.score} score. "
        f"{compression_name(best.compression)} has the smallest worst-case regret, also in {100 * best.smallest:.0f} % "
        "of the resamples of folds and runs, each with its own best compression and worst cell.",
        "Being the best of several is partly luck, and so is the worst cell: these numbers are biased upwards, more so "
        "with few runs per cell. Intervals are percentiles, too narrow with few folds; the order is more reliable.",
    ]
    if found.left_out:
        notes.append(f"Not included, since they were not run together with the others: {', '.join(found.left_out)}.")
    if any(row["synthetic"] for part in results.parts for row in part.rows):
        notes.append("SYNTHETIC DATA.")
    return Table(
        caption=f"Worst-case regret of each compression over {n_cells}, points of accuracy",
        head=("Compression", "Worst regret", "Where", "Mean regret", "Smallest worst"),
        body=tuple(shown),
        notes=tuple(notes),
        columns=("compression", "part", "model", "n_shot", "regret_points", *_REGRET_COLUMNS),
        records=tuple(
            {
                "compression": one.compression,
                **dict(zip(("part", "model", "n_shot"), cell, strict=True)),
                "regret_points": _hundredfold(regret),
                "worst_points": _hundredfold(one.worst),
                "low_points": _hundredfold(one.low),
                "high_points": _hundredfold(one.high),
                "mean_points": _hundredfold(one.mean),
                "smallest_percent": _hundredfold(one.smallest),
            }
            for one in found.of
            for cell, regret in zip(found.cells, one.by_cell, strict=True)
        ),
    )


_REGRET_COLUMNS = ("worst_points", "low_points", "high_points", "mean_points", "smallest_percent")


def _has_regret(results: StudyResults) -> bool:
    """Whether there are several parts, and compressions with shared cells."""
    if len(results.parts) < 2:
        return False
    try:
        worst_regrets(_regret_cells(results), compressions=results.compressions, resamples=1)
    except DataError:
        return False
    return True


def _regret_cells(results: StudyResults) -> list[RegretCell]:
    cells = []
    for part in results.parts:
        accuracy: dict[tuple[str, NShot], dict[str, dict[tuple[int, int], float]]] = {}
        for _, model, n_shot, compression, fold, run, value in Runs(part.rows):
            accuracy.setdefault((model, n_shot), {}).setdefault(compression, {})[fold, run] = value
        cells += [
            RegretCell((part.folder.name, model, str(n_shot)), part.data, n_shot, of)
            for (model, n_shot), of in sorted(accuracy.items(), key=lambda item: (item[0][0], size_of(item[0][1])))
        ]
    return cells


def _plain_interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"


def _adopt(name: str, found: Any) -> ReportTable:
    if isinstance(found, ReportTable):
        return found
    if callable(found):
        return ReportTable(name.rpartition(":")[2], found)
    raise ConfigError(
        f"A report table must be a `ReportTable` or a function that builds a `Table`. Received: {shown(found)} "
        f"for {name}."
    )


ACCURACY = ReportTable("accuracy", _accuracy, numbered=(0, ""))
DIFFERENCES = ReportTable("differences", _differences, baseline="logeps", numbered=(1, ""))
ALL_DIFFERENCES = ReportTable(
    "all-differences",
    _all_differences,
    # Loglearn has its own table.
    applies=lambda results: not {row["compression"] for row in results.rows} <= {"loglearn", "logeps"},
    baseline="logeps",
    numbered=(1, "-all"),
    label="Table {}, all compressions",
)
PUBLISHED = ReportTable(
    "published",
    _published,
    applies=lambda results: bool(results.published),
    numbered=(0, "-published"),
    label="Table {} beside the published one, ours / published",
)
REGRET = ReportTable("regret", _regret, applies=_has_regret, scope="study")
TABLES: Registry[ReportTable] = Registry(
    "report table",
    group="loglearn_tf.tables",
    own={table.name: table for table in (ACCURACY, DIFFERENCES, ALL_DIFFERENCES, PUBLISHED, REGRET)},
    adopt=_adopt,
)


# ---- Shared code --------------------------------------------------------------------------------------------------

_LABELS = ("data", "dataset", "model", "compression", "n_shot")
# Columns of `_difference_record`.
_DIFFERENCE_COLUMNS = (
    *("n_pairs", "folds", "difference_points", "std_points", "low_points", "high_points"),
    *("low_90_points", "high_90_points", "low_within_points", "high_within_points"),
    *("p_value", "p_holm", "n_corrected", "p_equivalence", "margin_points", "verdict"),
)


def _table_of_differences(
    results: DatasetResults, keys: _Keys, found: Mapping[tuple[Any, ...], Comparison], what: str
) -> Table:
    body, records = _body_and_records(results, keys, found, _difference_cell, _difference_record)
    notes = list(_notes(results, body, _LEGEND))
    if any(one.verdict == "equivalent" for one in found.values()):
        notes.append("For ≈ it is the 90 % interval, on which equivalence rests.")
    n_corrected = max((one.n_corrected for one in found.values()), default=0)
    if n_corrected > 1:
        notes.append(f"Holm's correction is over all {n_corrected} comparisons of this data set in the report.")
    # With a single compression, its name is in the caption.
    names = ("Network", "Compression")[: len(keys[0])] if keys else ("Network",)
    columns = [name for name in _LABELS if len(names) > 1 or name != "compression"]
    return Table(
        caption=table_title(
            results.dataset, results.rows, f"{what}, points of {results.accuracy}, mean over paired runs"
        ),
        head=(*names, *_heads(_shots(results.rows))),
        body=body,
        notes=tuple(notes),
        columns=(*columns, *_DIFFERENCE_COLUMNS),
        records=records,
        comparisons=tuple(found.values()),
    )


def _body_and_records(
    results: DatasetResults,
    keys: _Keys,
    found: Mapping[tuple[Any, ...], Any],
    cell_of: Callable[[Any, set[int]], Cell],
    record_of: Callable[[Any], dict[str, Any]],
    shots: Sequence[NShot] | None = None,
) -> tuple[Body, tuple[dict[str, Any], ...]]:
    """The cells and records of a `Table`.

    Args:
        results: Results of the data set.
        keys: Network, or network and compression, of every row of the table.
        found: Content by key and n; cells that were not run are missing.
        cell_of, record_of: Make a cell and a record from one item.
        shots: Columns of the table; by default all n of the runs.
    """
    folds, shots = _folds(results.rows), _shots(results.rows) if shots is None else shots
    body, records = [], []
    for key in keys:
        ours = [found.get((*key, n)) for n in shots]
        cells = tuple(Cell() if one is None else cell_of(one, folds) for one in ours)
        body.append(((model_name(key[0]), *map(compression_name, key[1:])), cells))
        for n, one in zip(shots, ours, strict=True):
            records.append({**_labels(results, key, n), **({} if one is None else record_of(one))})
    return tuple(body), tuple(records)


def _accuracy_cell(one: Accuracy, folds: set[int]) -> Cell:
    mark = _FEWER_FOLDS if set(one.folds) < folds else ""
    return Cell(f"{100 * one.mean:.1f}", mark, _plain_interval(one.low, one.high))


def _difference_cell(one: Comparison, folds: set[int]) -> Cell:
    mark = MARKS[one.verdict] + (_FEWER_FOLDS if set(one.folds) < folds else "")
    return Cell(points(one.mean), mark, verdict_interval(one), one.verdict)


def _beside(percents: tuple[float | None, float | None], _: set[int]) -> Cell:
    return Cell(" / ".join("–" if percent is None else f"{percent:.1f}" for percent in percents))


def _accuracy_record(one: Accuracy) -> dict[str, Any]:
    return {
        "n_runs": one.n_runs,
        "folds": " ".join(map(str, one.folds)),
        "accuracy_percent": _hundredfold(one.mean),
        "std_points": _hundredfold(one.std),
        "low_percent": _hundredfold(one.low),
        "high_percent": _hundredfold(one.high),
    }


def _difference_record(one: Comparison) -> dict[str, Any]:
    kept = ("n_pairs", "p_value", "p_holm", "n_corrected", "p_equivalence", "verdict")
    in_points = ("std", "low", "high", "low_90", "high_90", "low_within", "high_within", "margin")
    return {
        **{name: getattr(one, name) for name in kept},
        **{f"{name}_points": _hundredfold(getattr(one, name)) for name in in_points},
        "difference_points": _hundredfold(one.mean),
        "folds": " ".join(map(str, one.folds)),
    }


def _record_beside(percents: tuple[float | None, float | None]) -> dict[str, Any]:
    ours, theirs = percents
    return {"accuracy_percent": None if ours is None else round(ours, 4), "published_percent": theirs}


def _labels(results: DatasetResults, key: Sequence[str], n_shot: NShot) -> dict[str, Any]:
    # A CSV file has no title for this.
    data = "synthetic" if results.rows[0]["synthetic"] else "real"
    return {
        "data": data,
        "dataset": results.dataset,
        "n_shot": n_shot,
        **dict(zip(("model", "compression"), key, strict=False)),
    }


def _notes(results: DatasetResults, body: Body, first: str) -> tuple[str, ...]:
    rows = results.rows
    cells = [cell for _, row in body for cell in row if cell.number]
    notes = [first]
    if any(cell.interval for cell in cells):
        notes.append(f"Below each number its {100 * results.confidence:g} % interval.")
    if any(not cell.interval for cell in cells):
        notes.append("No interval where there are too few data for one.")
    if len(_folds(rows)) == 1 and n_test_folds(results.dataset) != 1 and any(cell.interval for cell in cells):
        notes.append("Intervals are over the runs of one fold and say nothing about other folds.")
    if any(_FEWER_FOLDS in cell.mark for cell in cells):
        notes.append(f"{_FEWER_FOLDS} over fewer folds than the title says; the CSV file lists them.")
    return (*notes, *remarks(list(rows)))


def _row_keys(rows: Sequence[Row]) -> list[tuple[str, str]]:
    keys = {(row["model"], row["compression"]) for row in rows}
    return [
        (model, compression)
        for model in models_in_order(key[0] for key in keys)
        for compression in compressions_in_order(key[1] for key in keys)
        if (model, compression) in keys
    ]


def _heads(shots: Sequence[NShot]) -> list[str]:
    return [f"n = {n}" for n in shots]


def _shots(rows: Sequence[Row]) -> list[NShot]:
    return in_order(row["n_shot"] for row in rows)


def _folds(rows: Sequence[Row]) -> set[int]:
    return {row["fold"] for row in rows}


def _hundredfold(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 4)
