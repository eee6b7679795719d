"""Evaluates the contrasts that a study planned before its runs."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from loglearn_tf.analysis import mixed
from loglearn_tf.analysis.answers import StudyAnswers
from loglearn_tf.analysis.mixed import Estimate
from loglearn_tf.analysis.recordings import ClipDifferences, two_way
from loglearn_tf.analysis.results import SCORES, FloatArray
from loglearn_tf.analysis.statistics import in_one_family
from loglearn_tf.datasets.n_shot import NShot
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.study.run_folder import Row, folder_of, read_runs, result_files
from loglearn_tf.study.settings import ContrastSettings, Settings, load_studies
from loglearn_tf.study.status import remembered_settings
from loglearn_tf.study.yaml_file import experiment_names


@dataclass(frozen=True)
class StudyPart:
    """One part of a study, or a whole study without parts.

    Attributes:
        settings: The settings of the part.
        folder: Folder of its runs.
        rows: Its runs; none if it has not started.
    """

    settings: Settings
    folder: Path
    rows: Sequence[Row]

    @property
    def data(self) -> Hashable:
        """Identifies its data set: parts with the same data set share test clips, with the same `seed` also draws of
        training clips."""
        return self.settings.data.name, self.settings.data.root


@dataclass(frozen=True)
class Outcome:
    """The result of a planned contrast. All differences are fractions of accuracy: 0.02 is 2 points.

    Attributes:
        name, contrast: The contrast.
        waiting: Why there is no result, e.g. `"not run yet: 12 of 60 runs"`; empty if there is one.
        n_runs: Number of runs needed.
        n_done, n_failed: How many of them are done, or have failed and are in no pair.
        n_before: Finished runs whose settings do not contain this contrast: they were done before it was written in its
            present form.
        n_archived: Finished runs that come from an archive, which does not tell that.
        n_folds, n_pairs: Number of folds, where those of different data sets count separately; number of pairs in all
            cells.
        over_runs: Whether every cell has a single fold: then runs are the clusters, and intervals and p say nothing
            about other folds.
        mean: Mean over runs, then folds, then cells, with equal weights.
        low, high: 95 % interval by Student's t over folds, or over runs (`over_runs`). `None` if nothing varied.
        low_90, high_90: Its 90 % interval, on which equivalence rests.
        low_recordings, high_recordings: 95 % interval by source recordings and runs, see `recordings.two_way`; no
            verdict rests on it.
        no_recordings: Why this interval is missing; empty if it is not.
        p_value: Two-sided, by t.
        p_holm: The same, corrected by Holm's method over all contrasts of the file, those not run yet included.
        n_corrected: Number of contrasts in the correction.
        p_equivalence: Two one-sided tests against `margin`; the larger p.
        margin: Differences within it count as zero.
        verdict: As in `Comparison`.
        differences: By cell, then fold (a number for each of `n_folds`), or run if `over_runs`, the differences of its
            runs, for `power.spread_of`.
    """

    name: str
    contrast: ContrastSettings
    waiting: str
    n_runs: int
    n_done: int
    n_failed: int
    n_before: int
    n_folds: int = 0
    n_pairs: int = 0
    over_runs: bool = False
    n_archived: int = 0
    mean: float = float("nan")
    low: float | None = None
    high: float | None = None
    low_90: float | None = None
    high_90: float | None = None
    low_recordings: float | None = None
    high_recordings: float | None = None
    no_recordings: str = ""
    p_value: float | None = None
    p_holm: float | None = None
    n_corrected: int = 0
    p_equivalence: float | None = None
    margin: float = 0.02
    verdict: str = "undecided"
    differences: tuple[Mapping[int, FloatArray], ...] = ()


def read_parts(study_dir: Path) -> list[StudyPart]:
    """Reads a study's folder, part by part.

    Raises:
        ConfigError: If it is not a study's folder.
        DataError: If a result cannot be read.
    """
    folders = sorted(path.parent for path in study_dir.glob("*/study.yaml")) or [study_dir]
    return [part_of(remembered_settings(folder), folder) for folder in folders]


def find_parts(study: str | Path, overrides: Sequence[str] = ()) -> list[StudyPart]:
    """Reads the parts of a study from its folder, YAML file or built-in experiment.

    Args:
        study: A folder, a file, or the name of an experiment, which takes precedence over a folder of that name.
        overrides: Settings to override, `key=value`; not for a folder, whose settings are fixed.

    Raises:
        ConfigError: If there is no such study, settings are invalid, or a folder is given overrides.
        DataError: If a result cannot be read.
    """
    if Path(study).is_dir() and str(study) not in experiment_names():
        if overrides:
            raise ConfigError(
                "Settings can be overridden for a YAML file or an experiment, not for a study folder. Received: "
                f"{overrides[0]} for {study}. Omit it."
            )
        return read_parts(Path(study))
    return [part_of(settings, settings.study_dir) for settings in load_studies(study, overrides)]


def part_of(settings: Settings, folder: Path) -> StudyPart:
    """Reads the available runs of a part.

    Raises:
        DataError: If a result cannot be read.
    """
    there = next(result_files(folder), None) is not None
    return StudyPart(settings, folder, read_runs(folder) if there else [])


def contrasts_of(parts: Sequence[StudyPart]) -> dict[str, ContrastSettings]:
    """The contrasts in the settings of the parts.

    Raises:
        ConfigError: If parts have different contrasts of the same name.
    """
    found: dict[str, tuple[ContrastSettings, StudyPart]] = {}
    for part in parts:
        for name, contrast in part.settings.contrasts.items():
            other, holder = found.setdefault(name, (contrast, part))
            if other != contrast:
                raise ConfigError(
                    f"`contrasts.{name}` must be the same in all parts of a study. Received: one in {holder.folder}, "
                    f"another in {part.folder}; the file was changed between their runs. Name the YAML file instead of "
                    "the folder, or rerun `loglearn run` for all parts, which keeps finished runs."
                )
    return {name: contrast for name, (contrast, _) in found.items()}


def evaluate(parts: Sequence[StudyPart]) -> list[Outcome]:
    """Evaluates a study's contrasts on the runs so far.

    A contrast is evaluated only once all of its runs are done: repeated looks would sooner or later find something. The
    mean difference of its cells (part, network and n, with equal weights) is tested by Student's t over folds
    (`mixed.over_folds`): a fold of a data set is one cluster across all parts, networks and n. If every part has a
    single fold (TUT), runs are the clusters. The interval by source recordings and runs is given in addition. p is
    corrected by Holm's method over all contrasts of the file; verdicts are those of `statistics.compare`.

    Args:
        parts: From `read_parts`, or from the current settings of a file.

    Returns:
        One for each contrast, in the file's order.

    Raises:
        ConfigError: If parts have different contrasts of the same name.
        DataError: If existing predictions cannot be read.
    """
    written = _Written()
    found = [_outcome(name, contrast, parts, written) for name, contrast in contrasts_of(parts).items()]
    # Contrasts without a result yet also count as tests, or the correction would grow with every look.
    judged = in_one_family([replace(one, p_value=1.0) if one.p_value is None else one for one in found])
    return [
        replace(one, n_corrected=after.n_corrected, p_holm=after.p_holm, verdict=after.verdict)
        if one.p_value is not None
        else replace(one, n_corrected=after.n_corrected)
        for one, after in zip(found, judged, strict=True)
    ]


@dataclass(frozen=True)
class _Cell:
    """The parts of the compression and of the baseline (mostly the same), network and n."""

    ours: StudyPart
    theirs: StudyPart
    model: str
    n_shot: NShot

    @property
    def data(self) -> Hashable:
        return self.ours.data


def _outcome(name: str, contrast: ContrastSettings, parts: Sequence[StudyPart], written: "_Written") -> Outcome:
    of_part = {part.settings.part: part for part in parts}
    cells = [
        _Cell(of_part[cell.ours.part], of_part[cell.theirs.part], cell.model, cell.n_shot)
        for cell in contrast.cells([part.settings for part in parts])
    ]
    absent = [part for part in (*(contrast.parts or ()), *(contrast.baseline_parts or ())) if part not in of_part]
    runs = [run for cell in cells for run in _runs(cell, contrast)]
    there = [(part, row) for part, row in runs if row is not None]
    done = [(part, row) for part, row in there if row["status"] == "done" and _has_scores(row, contrast)]
    n_failed = sum(row["status"] == "failed" for _, row in there)
    n_before = sum(written.lacks(part.folder, row, name, contrast) for part, row in done)
    nothing = Outcome(
        *(name, contrast, "", len(runs), len(done), n_failed, n_before),
        n_folds=len({(cell.data, fold) for cell in cells for fold in cell.ours.settings.folds}),
        over_runs=bool(cells) and all(len(cell.ours.settings.folds) == 1 for cell in cells),
        n_archived=sum(_is_silent(part.folder, row) for part, row in done),
        margin=contrast.margin,
    )
    if absent:
        return replace(nothing, waiting=f"not run yet: part {absent[0]} has no runs")
    for cell in cells:
        for part, compression in _sides(cell, contrast):
            if not _is_planned(part.settings, cell, compression):
                where = f" of part {part.settings.part}" if part.settings.part else ""
                what = f"{cell.model}, n = {cell.n_shot} with {compression}"
                return replace(nothing, waiting=f"not run yet: {what} is not in the last grid{where}")
    if len(done) + n_failed < len(runs):
        unscored = len(there) - n_failed - len(done)
        older = f", and {unscored:,} of an earlier version without a settled score" if unscored else ""
        return replace(nothing, waiting=f"not run yet: {len(done):,} of {len(runs):,} runs{older}")
    try:
        return _judged(nothing, contrast, cells)
    except DataError as error:
        return replace(nothing, waiting=f"cannot be evaluated: {error}")


def _judged(outcome: Outcome, contrast: ContrastSettings, cells: Sequence[_Cell]) -> Outcome:
    clusters = _Clusters(cells, one_fold=outcome.over_runs)
    found = []
    for cell in cells:
        by_cluster: dict[int, list[float]] = {}
        for (fold, run), difference in _differences(cell, contrast).items():
            by_cluster.setdefault(clusters.number(cell, fold, run), []).append(difference)
        if len(by_cluster) < 2:
            varied = "runs" if outcome.over_runs else "folds"
            part = f" of part {cell.ours.settings.part}" if cell.ours.settings.part else ""
            raise DataError(
                f"since runs failed, {cell.model}, n = {cell.n_shot}{part} has pairs in fewer than two {varied}. "
                "`loglearn run` retries them"
            )
        found.append({number: np.array(values) for number, values in by_cluster.items()})
    estimate = mixed.over_folds(*found)
    low, high = estimate.interval()
    low_90, high_90 = estimate.interval(0.9)
    crossed = _by_recordings(contrast, cells)
    low_recordings, high_recordings = crossed.interval() if isinstance(crossed, Estimate) else (None, None)
    return replace(
        outcome,
        n_pairs=sum(len(values) for cell in found for values in cell.values()),
        mean=estimate.mean,
        low=low,
        high=high,
        low_90=low_90,
        high_90=high_90,
        low_recordings=low_recordings,
        high_recordings=high_recordings,
        no_recordings="" if isinstance(crossed, Estimate) else crossed,
        p_value=estimate.p_value,
        p_equivalence=estimate.p_within(contrast.margin),
        differences=tuple(found),
    )


class _Clusters:
    """Numbers the clusters: folds, the same in all parts of a data set, or the runs of single folds.

    A run is the same in all parts with the same data set and seed, and another one with another seed. If one side of a
    cell has another seed than the other, cells may share one of them, and seeds do not count.
    """

    def __init__(self, cells: Sequence[_Cell], *, one_fold: bool) -> None:
        self._one_fold = one_fold
        self._by_seed = all(cell.ours.settings.seed == cell.theirs.settings.seed for cell in cells)
        self._numbers: dict[Hashable, int] = {}

    def number(self, cell: _Cell, fold: int, run: int) -> int:
        seed = cell.ours.settings.seed if self._by_seed else None
        key: Hashable = (cell.data, fold, cell.n_shot, seed, run) if self._one_fold else (cell.data, fold)
        return self._numbers.setdefault(key, len(self._numbers))


def _sides(cell: _Cell, contrast: ContrastSettings) -> tuple[tuple[StudyPart, str], tuple[StudyPart, str]]:
    return (cell.ours, contrast.compression), (cell.theirs, contrast.baseline)


def _is_planned(settings: Settings, cell: _Cell, compression: str) -> bool:
    return cell.model in settings.models and cell.n_shot in settings.n_shot and compression in settings.compressions


def _runs(cell: _Cell, contrast: ContrastSettings) -> list[tuple[StudyPart, Row | None]]:
    """Every run that the cell needs; `None` if it does not exist yet."""
    found: list[tuple[StudyPart, Row | None]] = []
    for part, compression in _sides(cell, contrast):
        if _is_planned(part.settings, cell, compression):
            there = _rows(part, cell, compression)
            found += [
                (part, there.get((fold, run)))
                for fold in part.settings.folds
                for run in range(part.settings.runs_for(cell.n_shot))
            ]
    return found


def _rows(part: StudyPart, cell: _Cell, compression: str) -> dict[tuple[int, int], Row]:
    asked = (part.settings.data.name, cell.model, compression, cell.n_shot)
    return {
        (row["fold"], row["run"]): row
        for row in part.rows
        if (row["dataset"], row["model"], row["compression"], row["n_shot"]) == asked
    }


def _has_scores(row: Row, contrast: ContrastSettings) -> bool:
    return all(row.get(SCORES[score]) is not None for score in _scores(contrast))


def _scores(contrast: ContrastSettings) -> tuple[str, ...]:
    return (contrast.score,) if contrast.minus_score is None else (contrast.score, contrast.minus_score)


def _differences(cell: _Cell, contrast: ContrastSettings) -> dict[tuple[int, int], float]:
    """(fold, run) -> the difference of a pair, for the planned runs."""
    ours, theirs = (_rows(part, cell, compression) for part, compression in _sides(cell, contrast))
    settings = cell.ours.settings
    found = {}
    for fold in settings.folds:
        for run in range(settings.runs_for(cell.n_shot)):
            one, other = ours.get((fold, run)), theirs.get((fold, run))
            if one is not None and other is not None and one["status"] == other["status"] == "done":
                by_score = [float(one[SCORES[score]]) - float(other[SCORES[score]]) for score in _scores(contrast)]
                found[fold, run] = by_score[0] - sum(by_score[1:])
    return found


def _by_recordings(contrast: ContrastSettings, cells: Sequence[_Cell]) -> Estimate | str:
    """The mean with recordings and runs as the sample, or the reason why it is not available."""
    scores = _scores(contrast)
    clusters, runs = _Clusters(cells, one_fold=False), _Clusters(cells, one_fold=True)
    difference, fold, run, recording, weight = [], [], [], [], []
    answers: dict[Path, StudyAnswers] = {}
    for cell in cells:
        ours, theirs = (
            answers.setdefault(part.folder, StudyAnswers(part.folder, part.rows)) for part in (cell.ours, cell.theirs)
        )
        name = cell.ours.settings.data.name
        try:
            recordings = ours.recordings(name)
            asked = (name, cell.model, cell.n_shot, contrast.compression, contrast.baseline)
            by_score = [ours.pairs(*asked, score=score, baseline_from=theirs) for score in scores]
        except DataError as error:
            return str(error)
        planned = _differences(cell, contrast).keys()
        pairs = [both for both in zip(*by_score, strict=True) if (both[0].fold, both[0].run) in planned]
        folds = [both[0].fold for both in pairs]
        for both in pairs:
            first = both[0]
            if not all(clip in recordings for clip in first.clips):
                return "the recordings of its clips are unknown, since its runs are of an earlier version"
            # If two differences are subtracted, the result is halved to stay within -1 and 1.
            values = first.difference - sum(other.difference for other in both[1:])
            difference.append(values / len(scores))
            n = len(values)
            fold.append(np.full(n, clusters.number(cell, first.fold, 0)))
            run.append(np.full(n, runs.number(cell, first.fold, first.run)))
            recording += [(cell.data, recordings[clip]) for clip in first.clips]
            weight.append(np.full(n, 1 / (len(cells) * len(set(folds)) * folds.count(first.fold) * n)))
    clips = ClipDifferences(np.concatenate(difference), np.concatenate(fold), np.concatenate(run), recording)
    crossed = two_way(clips, weights=np.concatenate(weight))
    if crossed.too_few is not None:
        return crossed.too_few
    one = crossed.estimate
    return replace(one, mean=one.mean * len(scores), error=one.error * len(scores))


def _is_silent(folder: Path, row: Row) -> bool:
    """Whether a run comes from an archive, which has no `config.yaml`."""
    return "archived" in row and not (folder / folder_of(row) / "config.yaml").is_file()


class _Written:
    """The contrasts that runs were started with, according to their `config.yaml`."""

    def __init__(self) -> None:
        self._known: dict[bytes, Mapping[str, Any] | None] = {}

    def lacks(self, folder: Path, row: Row, name: str, contrast: ContrastSettings) -> bool:
        """Whether a run was started before this contrast was written down, or while it was different."""
        try:
            content = (folder / folder_of(row) / "config.yaml").read_bytes()
        except OSError:
            return False
        key = hashlib.sha256(content).digest()
        if key not in self._known:
            self._known[key] = _contrasts_in(content)
        known = self._known[key]
        return known is not None and _plain(known.get(name)) != _plain(contrast.model_dump(mode="json"))


def _contrasts_in(content: bytes) -> Mapping[str, Any] | None:
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    contrasts = found.get("contrasts", {}) if isinstance(found, dict) else None
    return contrasts if isinstance(contrasts, dict) else None


def _plain(contrast: Any) -> Any:
    """The contrast without its title, which may be edited at any time."""
    return {key: value for key, value in contrast.items() if key != "title"} if isinstance(contrast, dict) else None
