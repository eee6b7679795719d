"""Run folders: how one is written, how all of them become one table."""

import csv
import io
import json
import math
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.files import remove_scratch, storage, write_bytes, write_json
from loglearn_tf.study import RunSpec, identity_differences

# Of `result.json`: raise it when what is in there changes its meaning.
FORMAT = 1
COLUMNS = (
    "dataset",
    "model",
    "compression",
    "n_shot",
    "fold",
    "run",
    "seed",
    "accuracy",
    "alpha",
    "beta",
    "knee",
    "train_seconds",
    "eval_seconds",
    "status",
)
_KEY, _SPEC = COLUMNS[:6], COLUMNS[:7]
# With the number of folds, where it is always the same.
_TITLES = {"us8k": ("UrbanSound8K", 10), "tut": ("TUT Acoustic Scenes 2017", 1), "folder": ("Own recordings", None)}
# Unfinished run folders; on the same file system, so that a rename makes them appear.
_UNFINISHED = ".unfinished"

Row = dict[str, Any]


def write_run(study_dir: Path, spec: RunSpec, files: Mapping[str, bytes], result: Row) -> Row:
    """Writes a run's folder, which appears whole, by one rename, or not at all.

    A finished run is never replaced; a failed one is.

    Args:
        study_dir: The study's folder.
        spec: The run.
        files: Name -> content.
        result: Of `result.json`, which marks the run as done.

    Returns:
        What stands there now: `result`, or that of a run that was finished before.

    Raises:
        StorageError: If it cannot be written.
    """
    before = read_result(study_dir, spec)
    if before is not None and before["status"] == "done":
        return before
    final = study_dir / spec.folder
    scratch = study_dir / _UNFINISHED / uuid.uuid4().hex
    try:
        with storage(final):
            scratch.mkdir(parents=True)
            for name, content in files.items():
                write_bytes(scratch / name, content)
            write_json(scratch / "result.json", result)
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists():
                shutil.rmtree(final)
            scratch.rename(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return result


def remove_unfinished(study_dir: Path) -> None:
    """Clears away what killed jobs left; only while no other process works on the study."""
    shutil.rmtree(study_dir / _UNFINISHED, ignore_errors=True)
    for folder in (study_dir, study_dir / "figures", study_dir / "tables"):
        remove_scratch(folder)


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


def read_result(study_dir: Path, spec: RunSpec) -> Row | None:
    """The run's `result.json`, or `None` where there is none yet."""
    path = study_dir / spec.folder / "result.json"
    return _read_json(path) if path.is_file() else None


def split_done(
    study_dir: Path, specs: Sequence[RunSpec], identity: Mapping[str, Any]
) -> tuple[list[RunSpec], list[RunSpec]]:
    """The runs that are done, and those to do.

    Raises:
        ConfigError: If any run in the study's folder, also one that is not asked for, was done with other settings or
            other clips: the study's table must not mix the two.
    """
    finished = set()
    for path, row in _rows(study_dir):
        if row["status"] != "done":
            continue
        changed = identity_differences(identity, row["identity"])
        if changed:
            raise ConfigError(
                f"{path.parent} was made with other settings: {'; '.join(changed[:3])}. "
                f"Give this study another name (`name=...`), or remove {study_dir}."
            )
        finished.add(path.parent)
    done = [spec for spec in specs if study_dir / spec.folder in finished]
    return done, [spec for spec in specs if study_dir / spec.folder not in finished]


def read_runs(study_dir: Path) -> list[Row]:
    """The `result.json` of every run folder, ordered by cell.

    Folders of one study made on several machines can be merged before.

    Raises:
        DataError: If there is none, one cannot be read, or finished runs of a data set were made with different
            settings.
    """
    found = list(_rows(study_dir))
    if not found:
        raise DataError(f"No finished run in {study_dir}. Run `loglearn run SETTINGS.yaml` first.")
    first: dict[tuple[str, ...], tuple[Path, Row]] = {}
    for path, row in found:
        if row["status"] == "done":
            # Runs of one compression share the definition of a variant, too.
            for kind in ((row["dataset"],), (row["dataset"], row["compression"])):
                other, like = first.setdefault(kind, (path, row))
                changed = identity_differences(row["identity"], like["identity"])
                if changed:
                    raise DataError(
                        f"{path.parent} was made with other settings than {other.parent}: {'; '.join(changed[:3])}. "
                        "One table must not mix them: move one of the two into the folder of another study."
                    )
    return sorted((row for _, row in found), key=key_of)


def key_of(row: Row) -> tuple[Any, ...]:
    """What tells a run from all others of its study, as `RunSpec.key`."""
    return tuple(row[column] for column in _KEY)


def result_files(study_dir: Path) -> Iterator[Path]:
    """The `result.json` of every run in a study's folder."""
    return study_dir.glob("*/*/*/n*/fold*/run*/result.json")


def _rows(study_dir: Path) -> Iterator[tuple[Path, Row]]:
    for path in sorted(result_files(study_dir)):
        yield path, _read_json(path)


def write_results(study_dir: Path) -> list[Row]:
    """Rebuilds `results.csv` from the run folders, one row a run; returns the rows."""
    rows = read_runs(study_dir)
    write_bytes(study_dir / "results.csv", csv_bytes(COLUMNS, rows))
    return rows


def format_tables(rows: Sequence[Row]) -> str:
    """Per data set: mean accuracy, and every compression minus log-EPS over the pairs that both finished.

    Means over runs, then over folds, in percent; differences in points.
    """
    return "\n\n".join(
        _format_table(name, [row for row in rows if row["dataset"] == name])
        for name in sorted({row["dataset"] for row in rows})
    )


def _format_table(dataset: str, rows: Sequence[Row]) -> str:
    done = [row for row in rows if row["status"] == "done"]
    shots = sorted({row["n_shot"] for row in rows})
    accuracy = {tuple(row[column] for column in _KEY[1:]): row["accuracy"] for row in done}

    lines = [["model", "compression", *(f"n={n}" for n in shots)]]
    for model in sorted({row["model"] for row in rows}):
        for compression in sorted({row["compression"] for row in rows if row["model"] == model}):
            cells = [
                _mean_over_folds(
                    (fold, value)
                    for (m, c, n, fold, _), value in accuracy.items()
                    if (m, c, n) == (model, compression, shot)
                )
                for shot in shots
            ]
            lines.append([model, compression, *("" if cell is None else f"{100 * cell:.1f}" for cell in cells)])
        for compression in sorted({row["compression"] for row in rows if row["model"] == model} - {"logeps"}):
            gains = [
                _mean_over_folds(
                    (fold, value - accuracy[model, "logeps", n, fold, run])
                    for (m, c, n, fold, run), value in accuracy.items()
                    if (m, c, n) == (model, compression, shot) and (model, "logeps", n, fold, run) in accuracy
                )
                for shot in shots
            ]
            if any(gain is not None for gain in gains):
                shown = ("" if gain is None else f"{100 * gain:+.1f}" for gain in gains)
                lines.append([model, f"{compression} - logeps", *shown])
    return "\n".join([table_title(dataset, rows), align(lines, n_names=2), *remarks(rows)])


def table_title(dataset: str, rows: Sequence[Row], what: str = "accuracy in %, mean over runs") -> str:
    """Says what a table is of: which folds, and whether its sounds are real.

    Args:
        dataset: Its name.
        rows: Its runs.
        what: Its numbers, down to the mean over the runs of a fold.
    """
    name, n_folds = _TITLES[dataset]
    folds = sorted({row["fold"] for row in rows})
    title = f"{name}: {what}"
    if n_folds is None:
        title += f", then over folds {', '.join(map(str, folds))}" if len(folds) > 1 else f", fold {folds[0]}"
    elif n_folds > 1:
        which = f"all {n_folds} folds" if len(folds) == n_folds else f"{len(folds)} of {n_folds} folds"
        title += f", then over {which}"
        if len(folds) < n_folds:
            title += f" ({', '.join(map(str, folds))})"
    return f"SYNTHETIC DATA, not {title}" if any(row["synthetic"] for row in rows) else title


def remarks(rows: Sequence[Row]) -> list[str]:
    """What must be said below a table: failed runs, missing clips."""
    found = []
    failed = sum(row["status"] == "failed" for row in rows)
    if failed:
        found.append(f"{failed} of {len(rows)} runs failed and are in no mean; their result.json says why.")
    missing = max(row["missing_clips"] for row in rows)
    if missing:
        found.append(f"{missing:,} clips of the data set were missing and left out (data.allow_missing).")
    return found


def _mean_over_folds(values: "Iterator[tuple[int, float]]") -> float | None:
    by_fold: dict[int, list[float]] = defaultdict(list)
    for fold, value in values:
        by_fold[fold].append(value)
    if not by_fold:
        return None
    return sum(sum(runs) / len(runs) for runs in by_fold.values()) / len(by_fold)


def align(lines: Sequence[Sequence[str]], *, n_names: int = 1) -> str:
    """A table as text: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < n_names else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _read_json(path: Path) -> Row:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. Remove its folder; the run is done again.") from error
    found = row.get("format") if isinstance(row, dict) else None
    if found != FORMAT:
        raise DataError(
            f"{path} is of another version of loglearn_tf: its `format` must be {FORMAT}. Received: {found!r}. "
            "Read it with that version, or give this study another name (`name=...`)."
        )
    try:
        folder = RunSpec(*(row[column] for column in _SPEC)).folder
        lacking = [column for column in (*COLUMNS, "identity") if column not in row]
        if lacking:
            raise KeyError(lacking[0])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no result of a run: {error!r}. Remove its folder; the run is done again."
        ) from error
    # A copied or renamed folder would count for a run that was never done, or twice for one that was.
    if path.parent.parts[-len(folder.parts) :] != folder.parts:
        raise DataError(f"{path} holds the result of {folder}. Remove this folder, or give it that place back.")
    return cast(Row, row)
