"""The results of runs as rows: read from a study, checked, and grouped into cells and pairs."""

import csv
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from loglearn_tf._util.text import shown
from loglearn_tf.datasets.n_shot import n_shot_of, size_of
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.run_folder import COLUMNS, LATER_COLUMNS, Row, read_runs, result_files

_log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
# Values by cell and fold: the names of a cell, its folds, and the values of each fold.
Cell = tuple[tuple[Any, ...], tuple[int, ...], list[FloatArray]]

_TEXT = ("dataset", "model", "compression", "status")
_WHOLE = ("fold", "run", "seed")
# Accuracies are multiples of 1 / clips; differences below this are rounding.
DECIMALS = 10
# Scores of the same weights: with batch normalisation as trained, and settled (`training.settling`).
SCORES = {"published": "accuracy", "settled": "accuracy_settled"}


class Frame(Protocol):
    """A table with columns, such as `pandas.DataFrame`."""

    def to_dict(self, orient: Any, /) -> Any: ...


Rows = Iterable[Mapping[str, Any]] | Frame


def read_results(path: Path | str, *, score: str = "published") -> list[Row]:
    """Reads the results of a study.

    Args:
        path: A study's folder or its `results.csv`.
        score: The score to put into the column `accuracy`; see `with_score`.

    Returns:
        One row per run, with the columns of `run_folder.COLUMNS`: `fold`, `run` and `seed` are integers, and so is
        `n_shot` unless it is `all`; numbers are floats, and empty values are `None`, such as the settled score of runs
        of earlier versions. Further columns of a CSV file stay text.

    Raises:
        ConfigError: If there is no such score.
        DataError: If there are no results, or they are not in the form written by `loglearn run`.
    """
    check_score(score)
    return with_score(_read_results(Path(path)), score)


def check_score(score: str) -> None:
    """Raises a `ConfigError` for an unknown score."""
    if score not in SCORES:
        raise ConfigError(f"`score` must be {' or '.join(map(repr, SCORES))}. Received: score={score!r}.")


def with_score(rows: Rows, score: str) -> list[Row]:
    """Returns rows with the chosen score in `accuracy`.

    Finished runs without this score, such as the settled score in runs of earlier versions, are omitted, with a warning
    about their number.

    Args:
        rows: See `Runs`.
        score: `"published"`: with the moving averages of batch normalisation as they are after training. `"settled"`:
            without what remains of their initial values; see `training.settling`.

    Raises:
        ConfigError: If there is no such score.
        DataError: If `rows` is not valid.
    """
    check_score(score)
    found: list[Any] = list(_records(rows))
    if score == "published":
        return found
    column = SCORES[score]
    has = [row.get("status") != "done" or not _is_empty(row.get(column)) for row in found]
    n_without = has.count(False)
    if n_without:
        n_done = sum(row.get("status") == "done" for row in found)
        _log.warning(
            "%d of %d finished runs have no %s score, since they are of an earlier version: they are omitted.",
            n_without,
            n_done,
            score,
        )
    return [{**row, "accuracy": row.get(column)} for row, there in zip(found, has, strict=True) if there]


def both_scores(rows: Rows) -> list[Row]:
    """Returns every run twice: as `loglearn`, and as `loglearn (settled)` with the settled score.

    `compare(both_scores(rows), compression="loglearn", baseline="loglearn (settled)")` gives published minus settled
    for the same weights; runs without a settled score are in no pair.

    Args:
        rows: See `Runs`.
    """
    published = with_score(rows, "published")
    settled = with_score(published, "settled")
    return published + [{**row, "compression": f"{row['compression']} (settled)"} for row in settled]


def _read_results(path: Path) -> list[Row]:
    if path.is_dir():
        # The run folders are always current; results.csv may be all that was kept.
        if next(result_files(path), None) is not None:
            return [{column: row[column] for column in COLUMNS} for row in read_runs(path)]
        path /= "results.csv"
    remedy = "Name the folder of a study, or of one of its parts, or a results.csv written by `loglearn results`."
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = list(reader.fieldnames or ())
            lacking = [column for column in COLUMNS if column not in (*names, *LATER_COLUMNS)]
            if lacking:
                raise ValueError(f"it has no column {lacking[0]}")
            later = dict.fromkeys(column for column in LATER_COLUMNS if column not in names)
            return [{**_typed(row, reader.line_num), **later} for row in reader]
    except FileNotFoundError as error:
        raise DataError(f"No results at {path}. {remedy}") from error
    except (OSError, ValueError, csv.Error, DataError) as error:
        raise DataError(f"Cannot read the results {path}: {error}. {remedy}") from error


class Runs:
    """Finished runs as arrays: the values of a column are indices into its sorted `levels`.

    Args:
        rows: Runs, finished or not: mappings with the columns dataset, model, compression, n_shot, fold, run, status
            and accuracy, or a data frame. Numbers may be text, as `csv.DictReader` reads them.
        score: The score to use; see `with_score`.

    Raises:
        ConfigError: If there is no such score.
        DataError: If a column is missing, a value has the wrong type, a finished run has no accuracy between 0 and 1,
            or
            a run occurs twice.
    """

    _COLUMNS = ("dataset", "model", "n_shot", "compression", "fold", "run")

    def __init__(self, rows: Rows, *, score: str = "published") -> None:
        self.levels: dict[str, list[Any]] = {}
        self._codes: dict[str, IntArray] = {}
        try:
            done = [row for row in with_score(rows, score) if row["status"] == "done"]
            for name in self._COLUMNS:
                column = [_value(name, row[name]) for row in done]
                self.levels[name] = sorted(set(column), key=size_of if name == "n_shot" else None)
                number = {value: at for at, value in enumerate(self.levels[name])}
                self._codes[name] = np.fromiter(map(number.__getitem__, column), np.int64, len(column))
            received = [row["accuracy"] for row in done]
        except KeyError as error:
            raise DataError(
                f"Every row must have the column {error}. One has not; `results.read_results` returns valid rows."
            ) from error
        self.accuracy: FloatArray = np.fromiter(map(_float, received), np.float64, len(received))
        wrong = np.flatnonzero(~((self.accuracy >= 0) & (self.accuracy <= 1)))
        if len(wrong):
            raise DataError(
                f"`accuracy` of a finished run must be a number between 0 and 1. Received: {received[wrong[0]]!r} for "
                f"{_describe(done[wrong[0]])}. Remove this run's folder; the run is then repeated."
            )
        key = self._key(*self._COLUMNS)
        order = np.argsort(key, kind="stable")
        twice = np.flatnonzero(np.diff(key[order]) == 0)
        if len(twice):
            at, other = order[twice[0]], order[twice[0] + 1]
            raise DataError(
                f"A run must occur only once in the rows. Received: {received[at]!r} and {received[other]!r} for "
                f"{_describe(done[at])}. Pass the rows of one study only."
            )

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Data set, model, n, compression, fold, run and accuracy of every run."""
        columns = ([self.levels[name][code] for code in self._codes[name]] for name in self._COLUMNS)
        return zip(*columns, self.accuracy.tolist(), strict=True)

    def cells(self) -> Iterator[Cell]:
        """The accuracies of every (data set, model, n, compression), in that order."""
        columns = self._COLUMNS[:4]
        key = self._key(*self._COLUMNS)
        order = np.argsort(key)
        return self._grouped(key[order], self.accuracy[order], columns)

    def pairs(self, compression: str, baseline: str) -> Iterator[Cell]:
        """The differences of accuracy of every (data set, model, n), over the runs finished by both."""
        columns = ("dataset", "model", "n_shot")
        key = self._key(*columns, "fold", "run")
        sides = [np.flatnonzero(self._is_compression(name)) for name in (compression, baseline)]
        pairs, ours, theirs = np.intersect1d(key[sides[0]], key[sides[1]], assume_unique=True, return_indices=True)
        # Rounded: 0.5 - 0.4 and 0.4 - 0.3 must tie.
        values = np.round(self.accuracy[sides[0][ours]] - self.accuracy[sides[1][theirs]], DECIMALS)
        return self._grouped(pairs, values, columns)

    def _key(self, *columns: str) -> IntArray:
        """One number per row, in the sort order of the columns."""
        codes = tuple(self._codes[name] for name in columns)
        return np.asarray(np.ravel_multi_index(codes, self._shape(columns)), np.int64)

    def _is_compression(self, name: str) -> npt.NDArray[np.bool_]:
        levels = self.levels["compression"]
        return np.equal(self._codes["compression"], levels.index(name) if name in levels else -1)

    def _grouped(self, key: IntArray, values: FloatArray, columns: tuple[str, ...]) -> Iterator[Cell]:
        """Groups values by cell and fold; `key` is sorted and consists of `columns`, fold and run."""
        if not len(key):
            return
        n_folds, n_runs = self._shape(("fold", "run"))
        cell_and_fold, start = np.unique(key // n_runs, return_index=True)
        per_fold = np.split(values, start[1:])
        cell, first = np.unique(cell_and_fold // n_folds, return_index=True)
        names = zip(*np.unravel_index(cell, self._shape(columns)), strict=True)
        for codes, begin, end in zip(names, first, [*first[1:], len(start)], strict=True):
            folds = tuple(self.levels["fold"][code] for code in cell_and_fold[begin:end] % n_folds)
            named = tuple(self.levels[column][code] for column, code in zip(columns, codes, strict=True))
            yield named, folds, per_fold[begin:end]

    def _shape(self, columns: Sequence[str]) -> tuple[int, ...]:
        return tuple(max(len(self.levels[name]), 1) for name in columns)


def independent(per_fold: Sequence[FloatArray]) -> FloatArray:
    """The independent values of a mean: the fold means, or the runs of a single fold."""
    return per_fold[0] if len(per_fold) == 1 else np.array([runs.mean() for runs in per_fold])


def _records(rows: Rows) -> Iterable[Mapping[str, Any]]:
    found = rows if not hasattr(rows, "to_dict") else rows.to_dict("records")
    if isinstance(found, (str, Mapping, Path)) or not isinstance(found, Iterable):
        raise DataError(
            "`rows` must be a sequence of mappings, one per run, or a data frame. "
            f"Received: {shown(rows)}. `results.read_results` reads those of a study."
        )
    return found


def _typed(row: Mapping[str | None, Any], line: int) -> Row:
    try:
        return {str(name): _value(str(name), text) for name, text in row.items()}
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from error


def _value(column: str, value: Any) -> Any:
    """A cell's value in the type of its column."""
    if column == "n_shot":
        try:
            return n_shot_of(value)
        except ValueError:
            raise DataError(f"`n_shot` of a run must be a whole number or all. Received: {shown(value)}") from None
    if column in _WHOLE:
        if type(value) is int:
            return value
        number = _float(value)
        if number.is_integer():
            return int(number)
        raise DataError(f"`{column}` of a run must be a whole number. Received: {shown(value)}")
    if column in _TEXT:
        if isinstance(value, str) and value:
            return value
        raise DataError(f"`{column}` of a run must be a name. Received: {shown(value)}")
    if column in COLUMNS:
        return None if value in ("", None) else float(value)
    return value


def _is_empty(value: Any) -> bool:
    """Whether a value is missing, also in the forms used by data frames and text files."""
    return value is None or value == "" or value != value


def _float(value: Any) -> float:
    """The value as a float, NaN if it is not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _describe(row: Mapping[str, Any]) -> str:
    return "{dataset} {model} {compression} n={n_shot} fold {fold} run {run}".format(**row)
