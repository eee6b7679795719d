"""Settings to the list of runs, paired: runs that differ in compression alone share everything else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loglearn_tf._util.seeds import derive_seed
from loglearn_tf.datasets.clips import DataSet
from loglearn_tf.datasets.few_shot import check_n_shot
from loglearn_tf.study.settings import Settings

# Milliseconds of one core to train on a clip once (measured; TIMBRE's is hard on CPUs). Prototypical: 128 filters, two
# branches, several patches a clip. The most costly runs go first, so that no long one is left for the end.
_CLIP_MS = {"prototypical": 400, "vgg": 14, "timbre": 11, "sb_cnn": 8}


@dataclass(frozen=True)
class RunSpec:
    """One run of a study's grid.

    Attributes:
        dataset, model, compression: Names.
        n_shot: Training clips per class.
        fold: Test fold.
        run: Number of the repetition, from 0.
        seed: The study's.
    """

    dataset: str
    model: str
    compression: str
    n_shot: int
    fold: int
    run: int
    seed: int

    @property
    def folder(self) -> Path:
        """Where its results lie, inside the study's folder."""
        cell = Path(self.dataset) / self.model / self.compression
        return cell / f"n{self.n_shot:03d}" / f"fold{self.fold:02d}" / f"run{self.run:02d}"

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from all other runs of the study; `run_folder.key_of` is that of a finished one."""
        return self.dataset, self.model, self.compression, self.n_shot, self.fold, self.run

    def seed_for(self, purpose: str) -> int:
        """The seed of `"weights"` or `"patches"`: the same for every compression."""
        # Patches are also the same for every network; weights need not be.
        network = (self.model,) if purpose == "weights" else ()
        return derive_seed(self.seed, purpose, self.dataset, *network, self.n_shot, self.fold, self.run)

    def describe(self) -> str:
        return f"{self.model} {self.compression} n={self.n_shot} fold {self.fold} run {self.run}"


def plan_runs(settings: Settings) -> list[RunSpec]:
    """All runs of the grid: the longest first, the compressions of a pair side by side."""
    cells = [(model, n_shot) for model in settings.models for n_shot in settings.n_shot]
    return [
        RunSpec(settings.data.name, model, compression, n_shot, fold, run, settings.seed)
        for model, n_shot in sorted(cells, key=lambda cell: (-_CLIP_MS[cell[0]] * cell[1], cell[0]))
        for fold in settings.folds
        for run in range(settings.runs_for(n_shot))
        for compression in settings.compressions
    ]


def check_grid(settings: Settings, dataset: DataSet) -> None:
    """Checks every fold and n of the grid against the data set, before any work is done.

    Raises:
        ConfigError: If a fold holds no clips, or a class fewer than n.
    """
    for fold in settings.folds:
        for n_shot in settings.n_shot:
            check_n_shot(dataset, fold=fold, n_shot=n_shot)


def run_identity(settings: Settings, dataset: DataSet) -> dict[str, Any]:
    """What a run's result depends on beside its cell of the grid; saved with it.

    A finished run counts as done only if this is the same.
    """
    return {**settings.result_settings(), "clips": dataset.fingerprint}


def identity_of(spec: RunSpec, identity: dict[str, Any]) -> dict[str, Any]:
    """The part of a study's `run_identity` that a run of it depends on: of the variants, its own."""
    own = {key: value for key, value in identity.get("variants", {}).items() if key == spec.compression}
    rest = {key: value for key, value in identity.items() if key != "variants"}
    return {**rest, "variants": own} if own else rest


def identity_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What differs between two identities; a variant that one of them does not have is no difference."""
    shared = ours.get("variants", {}).keys() & theirs.get("variants", {}).keys()
    mine, other = ({**one, "variants": {key: one.get("variants", {})[key] for key in shared}} for one in (ours, theirs))
    return differences(mine, other)


def differences(ours: Any, theirs: Any, prefix: str = "") -> list[str]:
    """What differs between two nested settings, as `training.epochs: 199 -> 20`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys: Sequence[str] = sorted({*ours, *theirs})
        return [
            line
            for key in keys
            for line in differences(ours.get(key), theirs.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if ours == theirs else [f"{prefix}: {theirs} -> {ours}"]
