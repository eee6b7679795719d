"""Run folders: how one is written, how all of them become one table."""

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
    "accuracy_settled",
    "norm_residue",
    "norm_scale",
    "norm_shift",
)
# What runs of earlier versions have no value of.
LATER_COLUMNS = COLUMNS[14:]
# Of the accuracies at other levels, which `result.json` has under `levels`.
LEVEL_COLUMNS = ("gain_db", "accuracy", "accuracy_settled")
KEY, _SPEC = COLUMNS[:6], COLUMNS[:7]
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
    for path, row in result_rows(study_dir).items():
        if row["status"] != "done":
            continue
        changed = identity_differences(identity, saved_identity(row))
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
    found = result_rows(study_dir)
    if not found:
        raise DataError(f"No finished run in {study_dir}. Run `loglearn run SETTINGS.yaml` first.")
    check_alike(found)
    return sorted(found.values(), key=_place_of)


def check_alike(found: Mapping[Path, Row]) -> None:
    """Raises a `DataError` where finished runs, by the paths of their `result.json`, cannot stand in one table."""
    first: dict[tuple[str, ...], tuple[Path, Row]] = {}
    for path, row in found.items():
        if row["status"] == "done":
            # All share what every run depends on; runs of one compression the definition of a variant, too; runs whose
            # trainers read the same settings, these.
            identity = saved_identity(row)
            reads = ("reads", *identity.get("reads", ()))
            for kind in ((), ("variant", row["compression"]), reads):
                other, like = first.setdefault((row["dataset"], *kind), (path, identity))
                changed = identity_differences(identity, like)
                if changed:
                    raise DataError(
                        f"{path.parent} was made with other settings than {other.parent}: {'; '.join(changed[:3])}. "
                        "One table must not mix them: move one of the two into the folder of another study."
                    )


def key_of(row: Row) -> tuple[Any, ...]:
    """What tells a run from all others of its study, as `RunSpec.key`."""
    return tuple(row[column] for column in KEY)


def spec_of(row: Row) -> RunSpec:
    """The run that a result is of."""
    return RunSpec(*(row[column] for column in _SPEC))


def _place_of(row: Row) -> tuple[Any, ...]:
    """Sorts runs by cell."""
    return tuple(size_of(row[column]) if column == "n_shot" else row[column] for column in KEY)


def folder_of(row: Row) -> Path:
    """A run's folder, inside the study's, as `RunSpec.folder`."""
    return spec_of(row).folder


def result_files(study_dir: Path) -> Iterator[Path]:
    """The `result.json` of every run in a study's folder."""
    return study_dir.glob("*/*/*/n*/fold*/run*/result.json")


def result_rows(study_dir: Path) -> dict[Path, Row]:
    """The `result.json` of every run in a study's folder, by path; empty where there is none."""
    return {path: _read_json(path) for path in sorted(result_files(study_dir))}


def write_results(study_dir: Path) -> list[Row]:
    """Rebuilds `results.csv` from the run folders, one row a run; returns the rows.

    Where runs were scored at other levels, so is `levels.csv`, one row a run and level.
    """
    rows = read_runs(study_dir)
    write_bytes(study_dir / "results.csv", csv_bytes(COLUMNS, rows))
    at_levels = level_rows(rows)
    if at_levels:
        columns = (*COLUMNS[:7], "status", *LEVEL_COLUMNS)
        write_bytes(study_dir / "levels.csv", csv_bytes(columns, at_levels))
    return rows


def level_rows(rows: Sequence[Row]) -> list[Row]:
    """One row for each run and each level that it was scored at beside its own (`evaluation.gains_db`).

    Args:
        rows: As `read_runs` gives them.

    Returns:
        The same rows with a column `gain_db`, and the accuracies at that level. Those of one level can be compared as
        any others: `compare([row for row in level_rows(read_runs(folder)) if row["gain_db"] == -40])`.
    """
    return [{**row, **level} for row in rows for level in row.get("levels", ())]


def _read_json(path: Path) -> Row:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Remove its folder; the run is done again.") from error
    return parse_result(content, path)


def parse_result(content: bytes, path: Path) -> Row:
    """What a run's `result.json` says.

    Raises:
        DataError: If it is not what a run writes, or lies at the place of another run.
    """
    try:
        row = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}. Remove its folder; the run is done again.") from error
    found = row.get("format") if isinstance(row, dict) else None
    if found != FORMAT:
        raise DataError(
            f"{path} is of another version of loglearn_tf: its `format` must be {FORMAT}. Received: {found!r}. "
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
            f"{path} is no result of a run: {error!r}. Remove its folder; the run is done again."
        ) from error
    # A copied or renamed folder would count for a run that was never done, or twice for one that was.
    if path.parent.parts[-len(folder.parts) :] != folder.parts:
        raise DataError(f"{path} holds the result of {folder}. Remove this folder, or give it that place back.")
    return cast(Row, row)
