"""Run folders: writing one, and collecting all of them into one table."""

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf._util.files import remove_scratch, storage, write_bytes, write_json
from loglearn_tf.datasets.n_shot import size_of
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.grid import RunSpec, identity_differences, saved_identity

# Format of `result.json`: increase it when the meaning of its content changes.
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
    "accuracy_settled",
    "norm_residue",
    "norm_scale",
    "norm_shift",
)
# Columns without a value in runs of earlier versions.
LATER_COLUMNS = COLUMNS[14:]
# Of the probabilities in the tables of predictions.
PROBABILITY_DECIMALS = 7
# Columns of the accuracies at other levels, stored under `levels` in `result.json`.
LEVEL_COLUMNS = ("gain_db", "accuracy", "accuracy_settled")
KEY, _SPEC = COLUMNS[:6], COLUMNS[:7]
# Unfinished run folders; on the same file system, so that a rename publishes them.
_UNFINISHED = ".unfinished"

Row = dict[str, Any]


def write_run(study_dir: Path, spec: RunSpec, files: Mapping[str, bytes], result: Row) -> Row:
    """Writes a run's folder atomically: it appears complete, by one rename, or not at all.

    A finished run is never replaced; a failed one is.

    Args:
        study_dir: The study's folder.
        spec: The run.
        files: Name -> content.
        result: Content of `result.json`, which marks the run as done.

    Returns:
        The result now on disk: `result`, or that of a run that had already finished.

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
    """Removes the remains of killed jobs; call it only while no other process works on the study."""
    shutil.rmtree(study_dir / _UNFINISHED, ignore_errors=True)
    for folder in (study_dir, study_dir / "figures", study_dir / "tables"):
        remove_scratch(folder)


def read_result(study_dir: Path, spec: RunSpec) -> Row | None:
    """The run's `result.json`, or `None` if it does not exist yet."""
    path = study_dir / spec.folder / "result.json"
    return _read_json(path) if path.is_file() else None


def split_done(
    study_dir: Path, specs: Sequence[RunSpec], identity: Mapping[str, Any]
) -> tuple[list[RunSpec], list[RunSpec]]:
    """Splits runs into finished and remaining ones.

    Raises:
        ConfigError: If any run in the study's folder, whether or not it is in this grid, has other settings or other
            clips: the study's table must not mix them.
    """
    finished = set()
    for path, row in result_rows(study_dir).items():
        if row["status"] != "done":
            continue
        changed = identity_differences(identity, saved_identity(row))
        if changed:
            raise ConfigError(
                f"{path.parent} was made with other settings: {'; '.join(changed[:3])}. "
                f"Give this study another name (`name=...`) or remove {study_dir}."
            )
        finished.add(path.parent)
    done = [spec for spec in specs if study_dir / spec.folder in finished]
    return done, [spec for spec in specs if study_dir / spec.folder not in finished]


def read_runs(study_dir: Path) -> list[Row]:
    """The `result.json` of every run folder, ordered by cell.

    Folders of one study from several machines can be merged first.

    Raises:
        DataError: If there are none, one cannot be read, or finished runs of a data set have different
            settings.
    """
    found = result_rows(study_dir)
    if not found:
        raise DataError(f"No finished run in {study_dir}. Run `loglearn run SETTINGS.yaml` first.")
    check_alike(found)
    return sorted(found.values(), key=_place_of)


def check_alike(found: Mapping[Path, Row]) -> None:
    """Raises a `DataError` where finished runs, by the paths of their `result.json`, do not belong in one table."""
    first: dict[tuple[str, ...], tuple[Path, Row]] = {}
    for path, row in found.items():
        if row["status"] == "done":
            # All runs share the settings that every run depends on; runs of one compression share its definition; runs
            # whose trainers read the same settings share these.
            identity = saved_identity(row)
            reads = ("reads", *identity.get("reads", ()))
            for kind in ((), ("variant", row["compression"]), reads):
                other, like = first.setdefault((row["dataset"], *kind), (path, identity))
                changed = identity_differences(identity, like)
                if changed:
                    raise DataError(
                        f"{path.parent} was made with other settings than {other.parent}: {'; '.join(changed[:3])}. "
                        "A table must not mix them: move one of the two to another study's folder."
                    )


def key_of(row: Row) -> tuple[Any, ...]:
    """Identifies a run within its study, like `RunSpec.key`."""
    return tuple(row[column] for column in KEY)


def spec_of(row: Row) -> RunSpec:
    """The run that a result belongs to."""
    return RunSpec(*(row[column] for column in _SPEC))


def _place_of(row: Row) -> tuple[Any, ...]:
    """Sorts runs by cell."""
    return tuple(size_of(row[column]) if column == "n_shot" else row[column] for column in KEY)


def folder_of(row: Row) -> Path:
    """A run's folder, relative to the study's, like `RunSpec.folder`."""
    return spec_of(row).folder


def decimals_of(row: Row) -> int:
    """With how many decimals a run's probabilities are stored: fewer if it comes from an archive."""
    found: int = row.get("archived", {}).get("decimals", PROBABILITY_DECIMALS)
    return found


def result_files(study_dir: Path) -> Iterator[Path]:
    """The `result.json` of every run in a study's folder."""
    return study_dir.glob("*/*/*/n*/fold*/run*/result.json")


def result_rows(study_dir: Path) -> dict[Path, Row]:
    """The `result.json` of every run in a study's folder, by path; may be empty."""
    return {path: _read_json(path) for path in sorted(result_files(study_dir))}


def write_results(study_dir: Path) -> list[Row]:
    """Rebuilds `results.csv` from the run folders, one row per run, and returns the rows.

    If runs were scored at other levels, also writes `levels.csv`, one row per run and level.
    """
    rows = read_runs(study_dir)
    write_bytes(study_dir / "results.csv", csv_bytes(COLUMNS, rows))
    at_levels = level_rows(rows)
    if at_levels:
        columns = (*COLUMNS[:7], "status", *LEVEL_COLUMNS)
        write_bytes(study_dir / "levels.csv", csv_bytes(columns, at_levels))
    return rows


def level_rows(rows: Sequence[Row]) -> list[Row]:
    """One row for each run and each additional level that it was scored at (`evaluation.gains_db`).

    Args:
        rows: From `read_runs`.

    Returns:
        The same rows with a column `gain_db` and the accuracies at that level. Rows of one level can be compared like
        any others: `compare([row for row in level_rows(read_runs(folder)) if row["gain_db"] == -40])`.
    """
    return [{**row, **level} for row in rows for level in row.get("levels", ())]


def _read_json(path: Path) -> Row:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Remove its folder; the run is then repeated.") from error
    return parse_result(content, path)


def parse_result(content: bytes, path: Path) -> Row:
    """Reads a run's `result.json`.

    Raises:
        DataError: If it is not a valid result, or is in the folder of another run.
    """
    try:
        row = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}. Remove its folder; the run is then repeated.") from error
    found = row.get("format") if isinstance(row, dict) else None
    if found != FORMAT:
        raise DataError(
            f"{path} is from another version of loglearn_tf: its `format` must be {FORMAT}. Received: {found!r}. "
            "Read it with that version, or give this study another name (`name=...`)."
        )
    row = {**dict.fromkeys(LATER_COLUMNS), **row}
    try:
        folder = folder_of(row)
        lacking = [column for column in (*COLUMNS, "identity") if column not in row]
        if lacking:
            raise KeyError(lacking[0])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a valid result: {error!r}. Remove its folder; the run is then repeated."
        ) from error
    # A copied or renamed folder would count as a run that was never done, or count one run twice.
    if path.parent.parts[-len(folder.parts) :] != folder.parts:
        raise DataError(f"{path} holds the result of {folder}. Remove this folder or move it back there.")
    return cast(Row, row)
