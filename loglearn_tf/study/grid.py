"""From settings to paired runs: runs that differ only in compression share everything else."""

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

# Sections that a trainer may read in part or not at all; every other part of an identity concerns every run.
_READ_BY_TRAINERS = ("training", "episodic", "evaluation")


@dataclass(frozen=True)
class RunSpec:
    """One run of a study's grid.

    Attributes:
        dataset, model, compression: Names.
        n_shot: Training clips per class; `all` for every available clip.
        fold: Test fold.
        run: Index of the repetition, from 0.
        seed: Seed of the study.
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
        """Its folder, relative to the study's."""
        cell = Path(*map(folder_name, (self.dataset, self.model, self.compression)))
        return cell / folder_of_n(self.n_shot) / f"fold{self.fold:02d}" / f"run{self.run:02d}"

    @property
    def key(self) -> tuple[object, ...]:
        """Identifies the run within the study; `run_folder.key_of` gives the key of a finished run."""
        return self.dataset, self.model, self.compression, self.n_shot, self.fold, self.run

    def seed_for(self, purpose: str) -> int:
        """The seed of `"weights"`, `"patches"` or `"validation"`: the same for every compression."""
        # Patches and validation clips are also the same for every network; weights need not be.
        network = (self.model,) if purpose == "weights" else ()
        return derive_seed(self.seed, purpose, self.dataset, *network, self.n_shot, self.fold, self.run)

    def describe(self) -> str:
        return f"{self.model} {self.compression} n={self.n_shot} fold {self.fold} run {self.run}"


def plan_runs(settings: Settings) -> list[RunSpec]:
    """All runs of the grid, the longest first, the compressions of a pair together."""
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
    """The training clips of a run, and its validation clips, if any.

    Both depend only on the data set, fold, n, run and the study's seed, not on compression or network.

    Raises:
        ConfigError: If there are too few clips.
    """
    clips = draw_clips(dataset, fold=spec.fold, n_shot=spec.n_shot, run=spec.run, seed=settings.seed)
    if settings.training.validation == "fold":
        held_out = dataset.validation_clips(spec.fold)
        if not held_out:
            raise ConfigError(
                "`training.validation=fold` needs a fold that is left out of training. Received: "
                f"{dataset.name}, which leaves none out for test fold {spec.fold}. Set `data.validation_fold=next` "
                "if the data set has enough folds, or `training.validation=share`."
            )
        return clips, held_out
    if settings.training.validation == "share":
        return split_clips(clips, share=settings.training.validation_share, seed=spec.seed_for("validation"))
    return clips, ()


def check_grid(settings: Settings, dataset: DataSet) -> None:
    """Checks every fold and n of the grid against the data set, before any work is done.

    Raises:
        ConfigError: If a fold has no clips, a class has no clips or fewer than n, or there are no validation clips.
    """
    for fold in settings.folds:
        for n_shot in settings.n_shot:
            check_n_shot(dataset, fold=fold, n_shot=n_shot)
    if settings.training.validation != "none":
        for spec in {(one.n_shot, one.fold, one.run): one for one in plan_runs(settings)}.values():
            clips_of(spec, settings, dataset)


def run_identity(settings: Settings, dataset: DataSet) -> dict[str, Any]:
    """Everything besides the cells of the grid that a study's results depend on.

    A finished run counts as done only if the part that it depends on is unchanged.
    """
    return {**settings.result_settings(), "clips": dataset.fingerprint}


def identity_of(spec: RunSpec, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a study's `run_identity` that a run depends on; it is saved with the run.

    This is what the network's trainer reads, listed under `reads`, and the run's own variant.
    """
    reads = MODELS[spec.model].reads
    own = {key: value for key, value in identity.get("variants", {}).items() if key == spec.compression}
    rest = {key: value for key, value in _read(identity, reads).items() if key != "variants"}
    return {**rest, **({"variants": own} if own else {}), "reads": list(reads)}


def saved_identity(result: Mapping[str, Any]) -> dict[str, Any]:
    """The identity in a run's `result.json`.

    Older identities do not list what was read: they hold every section and belong to networks of this package.
    """
    identity: dict[str, Any] = result["identity"]
    network = None if "reads" in identity else MODELS.own(result["model"])
    return identity if network is None else {**_read(identity, network.reads), "reads": list(network.reads)}


def identity_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Differences between two identities, of studies or from `saved_identity`.

    Settings that one of the runs does not read are ignored, and variants that one of them does not have.
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
    """Differences between two nested settings: `training.epochs: 199 -> 20`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys: Sequence[str] = sorted({*ours, *theirs})
        return [
            line
            for key in keys
            for line in differences(ours.get(key), theirs.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if ours == theirs else [f"{prefix}: {theirs} -> {ours}"]
