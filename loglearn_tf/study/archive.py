"""The finished runs of a study in one small file, and back: to keep them, to share them, to go on elsewhere.

An archive of a study is a folder that holds `results.csv`, to be read as it is, and `runs.tar.xz`, from which `restore`
makes the run folders again. That of a study in parts holds such a folder for each part.
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
    Row,
    check_alike,
    folder_of,
    key_of,
    parse_result,
    read_runs,
    result_rows,
    spec_of,
    write_run,
)
from loglearn_tf.study.status import working_on

RUNS, RESULTS = "runs.tar.xz", "results.csv"
# Probabilities have seven decimals in run folders, and take most of the space.
DECIMALS = 4
# Of the history of a run, every tenth epoch, the first and the last.
EVERY_EPOCH = 10
# Of a study's folder: its settings, and how its mel power is distributed.
_OF_STUDY = ("study.yaml", "mel_power-*.json")
# Of a run's folder; what else there is can be made again, or is large.
_OF_RUN = ("predictions.csv", "predictions_settled.csv", "history.csv")


def archive(study_dir: Path, to: Path) -> list[Path]:
    """Writes the finished runs of a study to a small folder, about 3 kB a run of 100 test clips.

    Kept are results, predictions with four decimals, every tenth epoch of histories, and the study's settings. Left
    out are saved models, event files, the names of the machines, and failed runs. The same runs make the same bytes.

    Args:
        study_dir: The study's folder, as `runs/us8k`; also of a study in parts.
        to: The archive's folder. Runs that it holds already must be in the study, too.

    Returns:
        The files that were written.

    Raises:
        DataError: If the study has no finished run, or a file cannot be read.
        ConfigError: If the archive holds runs that the study does not.
        StorageError: If it cannot be written.
    """
    written = []
    for folder, place in _parts(study_dir, to, "study.yaml"):
        rows = [row for row in read_runs(folder) if row["status"] == "done"]
        if not rows:
            raise DataError(f"No finished run in {folder}. Run `loglearn run SETTINGS.yaml` first.")
        _check_loses_nothing(rows, folder, place)
        members = dict(_members(folder, rows))
        write_bytes(place / RUNS, _packed(members))
        write_bytes(place / RESULTS, csv_bytes(COLUMNS, rows))
        written += [place / RUNS, place / RESULTS]
    return written


def restore(source: Path, study_dir: Path) -> int:
    """Makes run folders of an archive. A finished run that is there stays as it is.

    `loglearn run` then does the runs that are left, and reports, contrasts and tables can be made at once.

    Args:
        source: The archive's folder.
        study_dir: The study's folder; it is made where there is none.

    Returns:
        The number of finished runs that were added.

    Raises:
        DataError: If the archive is damaged, or its runs were made with other settings than those of the study.
        ConfigError: If there is no archive, or another process works on the study.
        StorageError: If the folder cannot be written.
    """
    n_added = 0
    if not any(path.is_file() for path in (source / RUNS, *source.glob(f"*/{RUNS}"))):
        raise ConfigError(
            f"{source} must be the folder of an archive, as `loglearn archive` writes it: there is no {RUNS} in it, "
            "nor in a folder of it."
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
                # Names that the study knows, and no others: whatever else stands in an archive is not written.
                if "/" not in name and any(Path(name).match(one) for one in _OF_STUDY) and not (folder / name).exists():
                    write_bytes(folder / name, content)
            for place, row in runs.items():
                names = {kind: (place / kind).as_posix() for kind in _OF_RUN}
                files = {kind: members[name] for kind, name in names.items() if name in members}
                write_run(folder, spec_of(row), files, row)
                n_added += place not in done
    return n_added


def _parts(source: Path, target: Path, marker: str) -> list[tuple[Path, Path]]:
    """Folders and where each goes: of a study in parts, those of its parts."""
    parts = sorted(path.parent for path in source.glob(f"*/{marker}"))
    return [(part, target / part.name) for part in parts] or [(source, target)]


def _check_loses_nothing(rows: Sequence[Row], study_dir: Path, place: Path) -> None:
    if (place / RUNS).is_file():
        names = {f"{folder_of(row).as_posix()}/result.json" for row in rows}
        lost = sorted(name for name in _unpacked(place / RUNS) if name.endswith("/result.json") and name not in names)
        if lost:
            raise ConfigError(
                f"{place / RUNS} holds {len(lost):,} runs that {study_dir} does not, the first "
                f"{lost[0].removesuffix('/result.json')}. Bring them back with `loglearn restore` first, or name "
                "another folder."
            )


def _members(study_dir: Path, rows: Sequence[Row]) -> Iterator[tuple[str, bytes]]:
    """Name -> content. Files of one kind and fold stand together, since they repeat one another."""
    for pattern in _OF_STUDY:
        for path in sorted(study_dir.glob(pattern)):
            yield path.name, path.read_bytes()
    ordered = sorted(rows, key=lambda row: (row["fold"], key_of(row)))
    for row in ordered:
        kept = {key: value for key, value in row.items() if key != "host"}
        kept["archived"] = {"decimals": DECIMALS, "every_epoch": EVERY_EPOCH}
        yield f"{folder_of(row).as_posix()}/result.json", (json.dumps(kept, sort_keys=True) + "\n").encode()
    for name in _OF_RUN:
        for row in ordered:
            path = study_dir / folder_of(row) / name
            if path.is_file():
                yield f"{folder_of(row).as_posix()}/{name}", _thinned(path)


def _thinned(path: Path) -> bytes:
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
                {k: _number(value, f".{DECIMALS}f") if k.startswith("p_") else value for k, value in row.items()}
                for row in rows
            ]
    except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise DataError(f"Cannot read {path}: {error!r}. Remove the run's folder; the run is done again.") from error
    return csv_bytes(columns, rounded)


def _number(text: str, form: str) -> str:
    return format(float(text), form) if text else ""


def _packed(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    # Without times and owners: the same runs make the same bytes.
    with tarfile.open(fileobj=packed, mode="w:xz", preset=6, format=tarfile.PAX_FORMAT) as file:
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
                    raise tarfile.TarError(f"{header.name!r} is no file")
                members[header.name] = content.read()
    except (OSError, tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path} cannot be read, or is damaged: {error}. Get it again.") from error
    return members
