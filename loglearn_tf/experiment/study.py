"""Runs whole studies, from settings to finished runs and their comparison. For example::

    from loglearn_tf import load_settings, run_study

    result = run_study(load_settings("study.yaml", ["workers=2"]))
    for cell in result.comparisons:
        print(cell.model, cell.n_shot, cell.mean, cell.low, cell.high)

Works in a notebook, a thread, or a script without a main guard: networks are trained in separate processes, and the
state of the caller, including TensorFlow, random states and signal handlers, is not touched.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, cast

from loglearn_tf._util.process import call
from loglearn_tf._util.progress import OnProgress, Progress
from loglearn_tf._util.registry import folder_name
from loglearn_tf._util.tensorflow_runtime import available_cores
from loglearn_tf.analysis.statistics import Comparison, compare_all
from loglearn_tf.analysis.summary import format_tables
from loglearn_tf.datasets import load_dataset
from loglearn_tf.datasets.clips import DataSet
from loglearn_tf.datasets.n_shot import NShot
from loglearn_tf.datasets.registry import make_synthetic
from loglearn_tf.experiment.local import Executor, LocalExecutor, run_all
from loglearn_tf.experiment.networks import check_networks, has_to_be_tried
from loglearn_tf.experiment.run import Work
from loglearn_tf.features.build import build_store
from loglearn_tf.features.histogram import MelHistogram, count_mel_histogram, read_mel_histogram, write_mel_histogram
from loglearn_tf.features.store import MelStore
from loglearn_tf.study.grid import RunSpec, check_grid, plan_runs, run_identity
from loglearn_tf.study.run_folder import remove_unfinished, split_done, write_results
from loglearn_tf.study.settings import Settings
from loglearn_tf.study.status import last_line, remember_settings, working_on

_log = logging.getLogger(__name__)


class RunRow(TypedDict):
    """A run of a study, as in its `result.json`, which has more keys on how and where it was run.

    `accuracy` is a fraction; all values from there to `eval_seconds` are `None` for a failed run, and `alpha`, `beta`
    and `knee` also for a compression without them. `status` is `"done"` or `"failed"`.

    `accuracy_settled` is the accuracy of the same weights with settled batch normalisation (`training.settling`), and
    the three `norm_...` values describe its effect on the input without settling: `None` for runs of earlier versions.
    """

    dataset: str
    model: str
    compression: str
    n_shot: NShot
    fold: int
    run: int
    seed: int
    accuracy: float | None
    alpha: float | None
    beta: float | None
    knee: float | None
    train_seconds: float | None
    eval_seconds: float | None
    status: str
    accuracy_settled: float | None
    norm_residue: float | None
    norm_scale: float | None
    norm_shift: float | None


@dataclass(frozen=True)
class StudyResult:
    """The state of a study's folder after `run_study`; `print` shows its tables.

    Attributes:
        settings: The settings of the call.
        rows: Every run in the folder, from this and earlier calls. They can be passed to `compare`, `accuracies`,
            `rank` and `pandas.DataFrame`.
        failed: Failed runs of this call; `run_study` with the same settings retries them.
        comparisons: Accuracy of every compression minus log-EPS, with interval and verdict, one per cell of the grid;
            empty without log-EPS.
        report: Path of `report.html`.
    """

    settings: Settings
    rows: tuple[RunRow, ...] = field(repr=False)
    failed: tuple[RunRow, ...] = field(repr=False)
    comparisons: tuple[Comparison, ...]
    report: Path

    @property
    def study_dir(self) -> Path:
        return self.settings.study_dir

    def folder(self, row: RunRow) -> Path:
        """Where a run's `result.json`, `history.csv`, `predictions.csv` and, if kept, `model.keras` are."""
        return self.study_dir / _spec(row).folder

    def __str__(self) -> str:
        return format_tables(cast(Any, self.rows))


def run_study(settings: Settings, *, on_progress: OnProgress | None = None) -> StudyResult:
    """Executes the remaining runs of a study, compares the results, and writes `results.csv` and the report.

    It can be interrupted in any way and called again to resume. Failed runs do not raise.

    Args:
        settings: From `load_settings`.
        on_progress: Called in this thread with a `Step` after every few clips and every run.

    Raises:
        ConfigError, DataError: Before any work, if the settings do not fit the data set, the data set is incomplete,
            finished runs have other settings, or another process works on this study.
        ClusterError: If `settings.ray` is given and there is no such cluster.
        StorageError: If a folder cannot be written. Finished work is kept.
        WorkerError: If the process that computes the features dies.
    """
    (result,) = run_parts([settings], on_progress=on_progress)
    return result


def run_parts(studies: Sequence[Settings], *, on_progress: OnProgress | None = None) -> Iterator[StudyResult]:
    """Runs `run_study` for each part of a study, as returned by `load_studies`.

    Yields:
        The result of each part, before the next starts. Errors in any part are raised by the call itself.

    Raises:
        LoglearnError: See `run_study`.
    """
    datasets = _load_all(studies)
    for settings, dataset in zip(studies, datasets, strict=True):
        check_grid(settings, dataset)
        split_done(settings.study_dir, [], run_identity(settings, dataset))
    to_build = [
        (settings, len(dataset.classes))
        for settings, dataset in zip(studies, datasets, strict=True)
        if has_to_be_tried(settings)
    ]
    if to_build:
        call(check_networks, to_build)
    for settings in studies:
        if settings.ray is not None:
            from loglearn_tf.experiment.ray import check_address

            check_address(settings.ray.address)
    return _run_parts(studies, datasets, on_progress)


def _run_parts(
    studies: Sequence[Settings], datasets: Sequence[DataSet], on_progress: OnProgress | None
) -> Iterator[StudyResult]:
    for settings, dataset in zip(studies, datasets, strict=True):
        if settings.part:
            _log.info("Part %s:", settings.part)
        with working_on(settings.study_dir):
            result = _run_part(settings, dataset, on_progress)
        yield result


def _run_part(settings: Settings, dataset: DataSet, on_progress: OnProgress | None) -> StudyResult:
    from loglearn_tf.analysis.report import write_report

    study_dir = settings.study_dir
    remove_unfinished(study_dir)
    specs = plan_runs(settings)
    done, to_do = split_done(study_dir, specs, run_identity(settings, dataset))
    if done:
        _log.info("%s of %s runs are already done.", f"{len(done):,}", f"{len(specs):,}")
    # Also if all is done, since other settings give another grid.
    remember_settings(settings)
    if to_do:
        _do(to_do, settings, dataset, on_progress)
    rows = cast(list[RunRow], write_results(study_dir))
    report = write_report(study_dir)
    by_spec = {_spec(row): row for row in rows}
    return StudyResult(
        settings=settings,
        rows=tuple(rows),
        failed=tuple(by_spec[spec] for spec in specs if by_spec[spec]["status"] != "done"),
        comparisons=tuple(compare_all(rows)),
        report=report,
    )


def _do(specs: Sequence[RunSpec], settings: Settings, dataset: DataSet, on_progress: OnProgress | None) -> None:
    store = prepare_store(settings, dataset, on_progress=on_progress)
    _write_mel_power(settings, dataset, store)
    work = Work(settings, dataset, store.folder)
    progress = Progress(on_progress, "Runs", len(specs), unit="runs")

    def tell(spec: RunSpec, result: dict[str, Any]) -> None:
        if result["status"] == "done":
            seconds = result["train_seconds"] + result["eval_seconds"]
            progress.advance(f"{spec.describe()}: accuracy {100 * result['accuracy']:.1f} % ({seconds:.0f} s)")
        else:
            progress.advance(f"{spec.describe()}: FAILED: {last_line(result['error'])}", failed=True)

    run_all(specs, work, _executor(work), on_result=tell)


def _executor(work: Work) -> Executor:
    settings = work.settings
    if settings.ray is not None:
        from loglearn_tf.experiment.ray import RayExecutor

        return RayExecutor(work, settings.ray)
    return LocalExecutor(work, settings.workers or available_cores())


# ---- Inputs of runs ---------------------------------------------------------------------------------------------


def load_data(settings: Settings) -> DataSet:
    """Loads the data set of the settings; a synthetic one is created first if missing.

    Raises:
        ConfigError, DataError: See `load_dataset` and `make_synthetic`.
        StorageError: If a synthetic data set cannot be written.
    """
    data = settings.data
    if data.synthetic is not None:
        made = data.synthetic
        make_synthetic(
            data.name,
            data.root,
            clips_per_class=made.clips_per_class,
            folds=made.folds,
            seed=made.seed,
            duration_s=made.duration_s,
        )
    dataset = load_dataset(
        data.name,
        data.root,
        validation_fold=data.validation_fold,
        n_folds=data.n_folds,
        allow_missing=data.allow_missing,
    )
    if dataset.missing:
        _log.warning("%s clips are missing under %s and are skipped.", f"{len(dataset.missing):,}", dataset.root)
    return dataset


def _load_all(studies: Sequence[Settings]) -> list[DataSet]:
    loaded: dict[str, DataSet] = {}  # most parts share their data set
    for settings in studies:
        key = settings.data.model_dump_json()
        if key not in loaded:
            loaded[key] = load_data(settings)
    return [loaded[settings.data.model_dump_json()] for settings in studies]


def prepare_store(settings: Settings, dataset: DataSet, *, on_progress: OnProgress | None = None) -> MelStore:
    """Opens the mel store of a study and computes what is missing.

    Raises:
        DataError, StorageError, WorkerError: See `build_store`.
    """
    features = settings.features
    return build_store(
        dataset.clips,
        name=folder_name(dataset.name),
        front_end=features.front_end,
        store_dir=features.store_dir,
        compression=features.compression,
        gain_db=features.gain_db,
        workers=settings.workers,
        on_progress=on_progress,
    )


def mel_power_of(settings: Settings, dataset: DataSet, store: MelStore) -> MelHistogram | None:
    """The distribution of mel power in a data set; `None` for a store of logarithms."""
    if settings.features.compression != "none":
        return None
    return count_mel_histogram(
        store,
        dataset.clips,
        dataset=dataset.name,
        classes=dataset.classes,
        front_end=settings.features.front_end,
    )


def _write_mel_power(settings: Settings, dataset: DataSet, store: MelStore) -> None:
    """The distribution of the data set's mel power for the report, computed once per study."""
    name = store.folder.name
    if read_mel_histogram(settings.study_dir, dataset.name, store=name) is None:
        power = mel_power_of(settings, dataset, store)
        if power is not None:
            write_mel_histogram(settings.study_dir, power, store=name)


def _spec(row: RunRow) -> RunSpec:
    return RunSpec(
        row["dataset"], row["model"], row["compression"], row["n_shot"], row["fold"], row["run"], row["seed"]
    )
