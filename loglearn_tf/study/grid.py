"""Settings to the list of runs, paired: runs that differ in compression alone share everything else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loglearn_tf._util.registry import folder_name
from loglearn_tf._util.seeds import derive_seed
from loglearn_tf.datasets.clips import Clip, DataSet
from loglearn_tf.datasets.few_shot import check_n_shot, draw_clips, split_clips
from loglearn_tf.datasets.n_shot import ALL, NShot, folder_of_n
from loglearn_tf.errors import ConfigError
from loglearn_tf.models.registry import MODELS
from loglearn_tf.study.settings import Settings

# The sections that a trainer reads all, some, or nothing of; every other part of an identity concerns every run.
_READ_BY_TRAINERS = ("training", "episodic", "evaluation")


@dataclass(frozen=True)
class RunSpec:
    """One run of a study's grid.

    Attributes:
        dataset, model, compression: Names.
        n_shot: Training clips per class; `all` for every one there is.
        fold: Test fold.
        run: Number of the repetition, from 0.
        seed: The study's.
    """

    dataset: str
    model: str
    compression: str
    n_shot: NShot
    fold: int
    run: int
    seed: int

    @property
    def folder(self) -> Path:
        """Where its results lie, inside the study's folder."""
        cell = Path(*map(folder_name, (self.dataset, self.model, self.compression)))
        return cell / folder_of_n(self.n_shot) / f"fold{self.fold:02d}" / f"run{self.run:02d}"

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from all other runs of the study; `run_folder.key_of` is that of a finished one."""
        return self.dataset, self.model, self.compression, self.n_shot, self.fold, self.run

    def seed_for(self, purpose: str) -> int:
        """The seed of `"weights"`, `"patches"` or `"validation"`: the same for every compression."""
        # Patches, and which clips validate, are also the same for every network; weights need not be.
        network = (self.model,) if purpose == "weights" else ()
        return derive_seed(self.seed, purpose, self.dataset, *network, self.n_shot, self.fold, self.run)

    def describe(self) -> str:
        return f"{self.model} {self.compression} n={self.n_shot} fold {self.fold} run {self.run}"


def plan_runs(settings: Settings) -> list[RunSpec]:
    """All runs of the grid: the longest first, the compressions of a pair side by side."""
    cells = [(model, n_shot) for model in settings.models for n_shot in settings.n_shot]
    return [
        RunSpec(settings.data.name, model, compression, n_shot, fold, run, settings.seed)
        for model, n_shot in sorted(cells, key=_cheapness)
        for fold in settings.folds
        for run in range(settings.runs_for(n_shot))
        for compression in settings.compressions
    ]


def _cheapness(cell: tuple[str, NShot]) -> tuple[bool, bool, float, str]:
    """Sorts the most costly cells to the front, so that no long run is left for the end."""
    model, n_shot = cell
    network = MODELS.own(model)
    clip_ms = None if network is None else network.clip_ms
    n_clips = 1 if n_shot == ALL else n_shot
    return clip_ms is not None, n_shot != ALL, -(clip_ms or 1.0) * n_clips, model


def clips_of(spec: RunSpec, settings: Settings, dataset: DataSet) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """The clips that a run trains with, and those that it validates with, which may be none.

    Both depend on the data set, fold, n, run and the study's seed alone: not on compression or network.

    Raises:
        ConfigError: If there are too few clips for either.
    """
    clips = draw_clips(dataset, fold=spec.fold, n_shot=spec.n_shot, run=spec.run, seed=settings.seed)
    if settings.training.validation == "fold":
        held_out = dataset.validation_clips(spec.fold)
        if not held_out:
            raise ConfigError(
                "`training.validation=fold` needs clips of a fold that is left out of training. Received: "
                f"{dataset.name}, where none is left out for test fold {spec.fold}. Set `data.validation_fold=next` "
                "where the data set has folds to leave out, or `training.validation=share`."
            )
        return clips, held_out
    if settings.training.validation == "share":
        return split_clips(clips, share=settings.training.validation_share, seed=spec.seed_for("validation"))
    return clips, ()


def check_grid(settings: Settings, dataset: DataSet) -> None:
    """Checks every fold and n of the grid against the data set, before any work is done.

    Raises:
        ConfigError: If a fold holds no clips, or a class fewer than n, or none; if there is nothing to validate with.
    """
    for fold in settings.folds:
        for n_shot in settings.n_shot:
            check_n_shot(dataset, fold=fold, n_shot=n_shot)
    if settings.training.validation != "none":
        for spec in {(one.n_shot, one.fold, one.run): one for one in plan_runs(settings)}.values():
            clips_of(spec, settings, dataset)


def run_identity(settings: Settings, dataset: DataSet) -> dict[str, Any]:
    """What results of a study depend on beside the cells of its grid.

    A finished run counts as done only if the part of it that the run depends on is the same.
    """
    return {**settings.result_settings(), "clips": dataset.fingerprint}


def identity_of(spec: RunSpec, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a study's `run_identity` that a run of it depends on, which is saved with it.

    That is what the network's trainer reads, named under `reads`, and of the variants its own.
    """
    reads = MODELS[spec.model].reads
    own = {key: value for key, value in identity.get("variants", {}).items() if key == spec.compression}
    rest = {key: value for key, value in _read(identity, reads).items() if key != "variants"}
    return {**rest, **({"variants": own} if own else {}), "reads": list(reads)}


def saved_identity(result: Mapping[str, Any]) -> dict[str, Any]:
    """The identity in a run's `result.json`.

    Before identities named what was read, they held every section; the runs were of networks of this package.
    """
    identity: dict[str, Any] = result["identity"]
    network = None if "reads" in identity else MODELS.own(result["model"])
    return identity if network is None else {**_read(identity, network.reads), "reads": list(network.reads)}


def identity_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, of studies or as `saved_identity` gives them.

    What one of the two runs does not read is no difference, nor a variant that one of them does not have.
    """
    shared = ours.get("variants", {}).keys() & theirs.get("variants", {}).keys()
    read_by = [one["reads"] for one in (ours, theirs) if "reads" in one]

    def compared(identity: Mapping[str, Any]) -> dict[str, Any]:
        for reads in read_by:
            identity = _read(identity, reads)
        rest = {key: value for key, value in identity.items() if key not in ("reads", "variants")}
        return {**rest, "variants": {key: identity["variants"][key] for key in shared}}

    return differences(compared(ours), compared(theirs))


def _read(identity: Mapping[str, Any], reads: Sequence[str]) -> dict[str, Any]:
    """An identity without the settings that a trainer does not read."""
    kept = {}
    for name, section in identity.items():
        if name in _READ_BY_TRAINERS and name not in reads:
            section = {key: value for key, value in section.items() if f"{name}.{key}" in reads}
            if not section:
                continue
        kept[name] = section
    return kept


def differences(ours: Any, theirs: Any, prefix: str = "") -> list[str]:
    """What differs between two nested settings: `training.epochs: 199 -> 20`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys: Sequence[str] = sorted({*ours, *theirs})
        return [
            line
            for key in keys
            for line in differences(ours.get(key), theirs.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if ours == theirs else [f"{prefix}: {theirs} -> {ours}"]
