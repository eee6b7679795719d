"""Stores the finished runs of a study in one small file and restores them, to keep, share or continue a study.

An archive is a folder with `results.csv`, which can be read as it is, and `runs.tar.xz`, from which `restore` makes the
run folders. The archive of a study in parts holds such a folder for each part.
"""

import csv
import io
import json
import lzma
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from loglearn_tf._util.csv import csv_bytes
from loglearn_tf._util.files import write_bytes
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.run_folder import (
    COLUMNS,
    PROBABILITY_DECIMALS,
    Row,
    check_alike,
    decimals_of,
    folder_of,
    parse_result,
    read_runs,
    result_rows,
    spec_of,
    write_run,
)
from loglearn_tf.study.status import working_on

RUNS, RESULTS = "runs.tar.xz", "results.csv"
# Of probabilities, which take up most of the space.
DECIMALS = 4
# Kept of a run's history: every tenth epoch, the first and the last.
EVERY_EPOCH = 10
# Kept of a study's folder: its settings and the distribution of its mel power.
_OF_STUDY = ("study.yaml", "mel_power-*.json")
# Kept of a run's folder; other files can be regenerated or are large.
_OF_RUN = ("predictions.csv", "predictions_settled.csv", "history.csv")


def archive(study_dir: Path, to: Path, *, decimals: int = DECIMALS) -> list[Path]:
    """Writes the finished runs of a study to a small folder, about 3 kB per run with 100 test clips.

    Kept: results, predictions with a few decimals, every tenth epoch of histories, and the study's settings. Left out:
    saved models, event files, machine names and failed runs. The same runs always give the same bytes.

    Args:
        study_dir: The study's folder, such as `runs/us8k`. It may hold a study in parts.
        to: The archive's folder. Runs that it already holds must also be in the study, with as many decimals.
        decimals: Of the predicted probabilities, 1 to 7; each takes a third more space. Classes stay as predicted.

    Returns:
        The files written.

    Raises:
        DataError: If the study has no finished run, or a file cannot be read.
        ConfigError: If the archive holds runs that the study does not, or more decimals than the study and `decimals`
            both leave, or `decimals` is out of range.
        StorageError: If it cannot be written.
    """
    if not 1 <= decimals <= PROBABILITY_DECIMALS:
        raise ConfigError(
            f"`decimals` must be between 1 and {PROBABILITY_DECIMALS}, as many as run folders have. Received: "
            f"{decimals!r}."
        )
    written = []
    for folder, place in _parts(study_dir, to, "study.yaml"):
        rows = [row for row in read_runs(folder) if row["status"] == "done"]
        if not rows:
            raise DataError(f"No finished run in {folder}. Run `loglearn run SETTINGS.yaml` first.")
        _check_loses_nothing(rows, folder, place, decimals)
        members = dict(_members(folder, rows, decimals))
        write_bytes(place / RUNS, _packed(members))
        write_bytes(place / RESULTS, csv_bytes(COLUMNS, rows))
        written += [place / RUNS, place / RESULTS]
    return written


def restore(source: Path, study_dir: Path) -> int:
    """Restores run folders from an archive. Finished runs that already exist are kept.

    Reports, contrasts and tables can then be made, and `loglearn run` continues with the remaining runs.

    Args:
        source: The archive's folder.
        study_dir: The study's folder; created if missing.

    Returns:
        The number of finished runs added.

    Raises:
        DataError: If the archive is damaged, or its runs have other settings than the study.
        ConfigError: If there is no archive, or another process works on the study.
        StorageError: If the folder cannot be written.
    """
    n_added = 0
    if not any(path.is_file() for path in (source / RUNS, *source.glob(f"*/{RUNS}"))):
        raise ConfigError(
            f"{source} must be an archive folder, as written by `loglearn archive`: it contains no {RUNS}, "
            "nor does any of its subfolders."
        )
    for part, folder in _parts(source, study_dir, RUNS):
        archived = part / RUNS
        members = _unpacked(archived)
        runs = {
            Path(name).parent: parse_result(content, archived / name)
            for name, content in members.items()
            if name.endswith("/result.json")
        }
        before = result_rows(folder)
        check_alike({**before, **{archived / name / "result.json": row for name, row in runs.items()}})
        done = {path.parent.relative_to(folder) for path, row in before.items() if row["status"] == "done"}
        with working_on(folder):
            for name, content in members.items():
                # Only names that a study uses: anything else in an archive is not written.
                if "/" not in name and any(Path(name).match(one) for one in _OF_STUDY) and not (folder / name).exists():
                    write_bytes(folder / name, content)
            for place, row in runs.items():
                names = {kind: (place / kind).as_posix() for kind in _OF_RUN}
                files = {kind: members[name] for kind, name in names.items() if name in members}
                write_run(folder, spec_of(row), files, row)
                n_added += place not in done
    return n_added


def _parts(source: Path, target: Path, marker: str) -> list[tuple[Path, Path]]:
    """Each folder and its destination; for a study in parts, those of its parts."""
    parts = sorted(path.parent for path in source.glob(f"*/{marker}"))
    return [(part, target / part.name) for part in parts] or [(source, target)]


def _check_loses_nothing(rows: Sequence[Row], study_dir: Path, place: Path, decimals: int) -> None:
    if not (place / RUNS).is_file():
        return
    left = {f"{folder_of(row).as_posix()}/result.json": decimals_of(row) for row in rows}
    kept = {name: content for name, content in _unpacked(place / RUNS).items() if name.endswith("/result.json")}
    lost = sorted(kept.keys() - left.keys())
    if lost:
        raise ConfigError(
            f"{place / RUNS} holds {len(lost):,} runs that are missing from {study_dir}; the first is "
            f"{lost[0].removesuffix('/result.json')}. Restore them with `loglearn restore` first, or choose "
            "another folder."
        )
    # Fewer because they are asked for are no loss; fewer because the study comes from another archive are.
    coarser = sorted(
        name
        for name, content in kept.items()
        if left[name] < min(decimals, decimals_of(parse_result(content, place / RUNS / name)))
    )
    if coarser:
        raise ConfigError(
            f"{place / RUNS} holds {len(coarser):,} runs with more decimals of their predictions than {study_dir}, "
            f"which comes from another archive; the first is {coarser[0].removesuffix('/result.json')}. Choose another "
            "folder."
        )


def _members(study_dir: Path, rows: Sequence[Row], decimals: int) -> Iterator[tuple[str, bytes]]:
    """Name -> content. Similar files are kept together, which compresses better."""
    for pattern in _OF_STUDY:
        for path in sorted(study_dir.glob(pattern)):
            yield path.name, path.read_bytes()
    # Within a fold in the order of `read_runs`, where `all` comes after every number.
    ordered = sorted(rows, key=lambda row: row["fold"])
    # Of a run that comes from an archive, no more are left than that had.
    left = [min(decimals, decimals_of(row)) for row in ordered]
    for row, n in zip(ordered, left, strict=True):
        kept = {key: value for key, value in row.items() if key != "host"}
        kept["archived"] = {"decimals": n, "every_epoch": EVERY_EPOCH}
        yield f"{folder_of(row).as_posix()}/result.json", (json.dumps(kept, sort_keys=True) + "\n").encode()
    for name in _OF_RUN:
        for row, n in zip(ordered, left, strict=True):
            path = study_dir / folder_of(row) / name
            if path.is_file():
                yield f"{folder_of(row).as_posix()}/{name}", _thinned(path, n)


def _thinned(path: Path, decimals: int) -> bytes:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        columns = list(rows[0])
        if path.name == "history.csv":
            last = rows[-1]["epoch"]
            rows = [row for row in rows if row["epoch"] in ("1", last) or int(row["epoch"]) % EVERY_EPOCH == 0]
            rounded = [{key: _number(value, ".6g") for key, value in row.items()} for row in rows]
        else:
            rounded = [
                {k: _number(value, f".{decimals}f") if k.startswith("p_") else value for k, value in row.items()}
                for row in rows
            ]
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise DataError(f"Cannot read {path}: {error!r}. Remove the run's folder; the run is then repeated.") from error
    return csv_bytes(columns, rounded)


def _number(text: str, form: str) -> str:
    return format(float(text), form) if text else ""


def _packed(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    # Without times and owners, so that the same runs give the same bytes. The highest preset takes up to twice the time
    # of the usual one, and 2 to 7 % less space.
    with (
        lzma.open(packed, "wb", preset=9 | lzma.PRESET_EXTREME) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as file,
    ):
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            file.addfile(header, io.BytesIO(content))
    return packed.getvalue()


def _unpacked(path: Path) -> dict[str, bytes]:
    members = {}
    try:
        with tarfile.open(path, "r:xz") as file:
            for header in file:
                content = file.extractfile(header) if header.isfile() else None
                if content is None:
                    raise tarfile.TarError(f"{header.name!r} is not a regular file")
                members[header.name] = content.read()
    except (OSError, tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path} cannot be read or is damaged: {error}. Get another copy.") from error
    return members
