"""Estimates the cost of a study's runs from the time that a step of each network takes.

`training.measure` times these steps on this machine; where it cannot, `TABLE` has the times of another one.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median
from typing import Any

from loglearn_tf.datasets.clips import DataSet
from loglearn_tf.datasets.n_shot import ALL, NShot
from loglearn_tf.datasets.registry import DATASETS
from loglearn_tf.layers.compression import COMPRESSIONS
from loglearn_tf.models.registry import MODELS
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.study.settings import Settings

# Prototypical networks stop training a set number of epochs after the last new best. The number of new bests is not
# known in advance; it is small, since training accuracy soon reaches 1.
NEW_BESTS = 8
# Number of batches for settling inner batch normalisation, as in `training.settling`.
_SETTLING_BATCHES = 8
# One clip in seven of US8K, real or synthetic, is short.
_SHORT = 7

PARTS = ("features", "start and compiling", "training", "evaluation", "settled score", "report")


@dataclass(frozen=True)
class Rates:
    """Time of a network's steps, in seconds of one core.

    Attributes:
        run_s: Fixed cost of a run: building the network, reading clips, writing files.
        compile_s: Additional cost of the first run of a kind in a worker.
        update_s, patch_s: Time of an update, and extra time per patch in it; episodes also count the support's patches.
        frame_s, scored_s: Time to score a clip once: per frame, and per patch.
        norm_s: Time to settle inner batch normalisation, per patch; 0 if nothing needs recomputing.
        is_settled: Whether the network is scored a second time, settled, at every level.
        patch_mib: Memory of a worker per patch of an update.
        weights_mib: Memory of the network's weights.
    """

    run_s: float
    compile_s: float
    update_s: float
    patch_s: float
    frame_s: float
    scored_s: float
    norm_s: float = 0.0
    is_settled: bool = True
    patch_mib: float = 4.0
    weights_mib: float = 1.0

    def at(self, factor: float) -> "Rates":
        """The rates of a machine that takes `factor` times as long."""
        times = ("run_s", "compile_s", "update_s", "patch_s", "frame_s", "scored_s", "norm_s")
        return replace(self, **{name: factor * getattr(self, name) for name in times})


# Measured on one core of a 2024 cloud server with AVX-512, TensorFlow 2.17, with a pointwise compression.
TABLE = {
    "sb_cnn": Rates(0.25, 2.1, 5e-3, 5.2e-3, 7.3e-5, 0.0, patch_mib=4.0, weights_mib=1.0),
    "vgg": Rates(0.35, 5.2, 1e-2, 7.8e-3, 7.8e-5, 1.9e-4, norm_s=7e-3, patch_mib=14.0, weights_mib=0.2),
    "timbre": Rates(0.25, 2.0, 4e-3, 1.4e-3, 1.0e-5, 0.0, patch_mib=1.0, weights_mib=0.1),
    "prototypical": Rates(1.5, 9.0, 2e-2, 6.6e-2, 0.0, 3.8e-2, norm_s=4.3e-2, patch_mib=18.0, weights_mib=2.4),
}
# Compressions of the package that are not pointwise: they require cutting out patches for scoring.
NOT_POINTWISE = ("pcen", "pcen_learn")
# Cost of scoring a patch that was cut out, relative to training on one.
_CUT_OF_TRAINED = 0.4
# Same machine: importing TensorFlow in a worker; decoding, resampling and transforming a second of sound; writing the
# report, per study and per run.
START_S = 3.5
_SOUND_S = 0.006
_REPORT_S, _REPORT_RUN_S = 6.0, 0.01
# Memory of a worker without a network, and of the main process.
_WORKER_MIB, _DRIVER_MIB = 480.0, 250.0


@dataclass(frozen=True)
class Sounds:
    """The amount of sound in a study.

    Attributes:
        n_classes: Classes of the data set.
        clips: Fold -> number of clips.
        frames: Lengths of representative clips.
        to_compute: Clips missing from the mel store.
        source: Basis of the estimate, to complete a sentence: `"for the data on disk"`.
    """

    n_classes: int
    clips: Mapping[int, int]
    frames: tuple[int, ...]
    to_compute: int
    source: str

    @property
    def n_clips(self) -> int:
        return sum(self.clips.values())

    def patches(self, hop: int, patch_frames: int) -> float:
        """Mean number per clip."""
        return _mean([(max(n, patch_frames) - patch_frames) // hop + 1 for n in self.frames])

    def mean_s(self, settings: Settings) -> float:
        """Mean length of a clip, seconds."""
        return _mean(self.frames) * settings.features.hop_length / settings.features.sample_rate

    def scored_frames(self, patch_frames: int) -> float:
        """Mean number per clip; clips shorter than a patch are padded."""
        return _mean([max(n, patch_frames) for n in self.frames])


def frames_of(seconds: float, settings: Settings) -> int:
    """Frames of a clip."""
    features = settings.features
    return 1 + round(seconds * features.sample_rate) // features.hop_length


def sounds_of(settings: Settings, dataset: DataSet, *, seconds: Sequence[float], to_compute: int) -> Sounds:
    """Measures a data set on disk.

    Args:
        settings: The study's.
        dataset: Its clips.
        seconds: Lengths of a sample of clips.
        to_compute: Clips missing from the mel store.
    """
    frames = tuple(frames_of(one, settings) for one in seconds)
    clips = Counter(clip.fold for clip in dataset.clips)
    return Sounds(len(dataset.classes), clips, frames, to_compute, "for the data on disk")


def expected_sounds(settings: Settings) -> Sounds | None:
    """Size of a data set that is not there yet; `None` if unknown."""
    corpus = DATASETS.own(settings.data.name)
    if corpus is None or not corpus.clips_of_fold:
        return None
    clips, seconds, source = dict(corpus.clips_of_fold), corpus.clip_seconds, f"for the whole of {corpus.title}"
    made = settings.data.synthetic
    if made is not None:
        per_class = (
            [*made.clips_per_class] * corpus.n_counts if len(made.clips_per_class) == 1 else made.clips_per_class
        )
        counts = per_class if corpus.n_counts > 1 else [per_class[0]] * len(clips)
        clips = {
            fold: n * len(corpus.classes)
            for fold, n in zip(clips, counts, strict=False)
            if corpus.n_counts > 1 or fold in made.folds
        }
        longest = max(seconds)
        seconds = tuple(one / longest * (made.duration_s or longest) for one in seconds)
        source = "for the synthetic data to be generated"
    frames = tuple(frames_of(one, settings) for one in seconds)
    return Sounds(len(corpus.classes), clips, frames, sum(clips.values()), source)


# ---- One run ----------------------------------------------------------------------------------------------------


def n_trained(n_shot: NShot, sounds: Sounds) -> int:
    """Number of training clips of a run; for `all`, all folds but one of average size."""
    if n_shot == ALL:
        return max(1, sounds.n_clips - round(_mean(list(sounds.clips.values()))))
    return n_shot * sounds.n_classes


def updates_of(settings: Settings, model: str, n_shot: NShot, sounds: Sounds) -> tuple[float, float]:
    """Updates of a run, and mean patches per update; episodes include the support."""
    n_clips = n_trained(n_shot, sounds)
    if not is_episodic(model):
        n = ceil(n_clips / settings.training.batch_size)
        return settings.epochs * n, n_clips / n
    episodic = settings.episodic
    per_epoch = int(n_clips * sounds.patches(episodic.patch_hop, settings.features.patch_frames)) // (
        episodic.n_query * sounds.n_classes
    )
    epochs = episodic.patience + (settings.protocol == "pons2018") + NEW_BESTS
    return epochs * per_epoch, sounds.n_classes * (episodic.n_query + _at_most(episodic.n_support, n_shot))


def _at_most(n: int, n_shot: NShot) -> int:
    return n if n_shot == ALL else min(n, n_shot)


def is_episodic(model: str) -> bool:
    """Whether a network is trained with episodes."""
    network = MODELS.own(model)
    return network is not None and "episodic" in network.reads


def parts_of_run(settings: Settings, spec: RunSpec, sounds: Sounds, rates: Rates) -> dict[str, float]:
    """Time of each part of a run, without compiling, in seconds of one core."""
    updates, n_patches = updates_of(settings, spec.model, spec.n_shot, sounds)
    hop, frames = settings.patch_hop(MODELS[spec.model]), settings.features.patch_frames
    clip_s = rates.frame_s * sounds.scored_frames(frames) + rates.scored_s * sounds.patches(hop, frames)
    test_clips = sounds.clips.get(spec.fold) or _mean(list(sounds.clips.values()))
    at_levels = (1 + len(settings.evaluation.gains_db)) * test_clips * clip_s
    settling = 0.0
    if rates.is_settled:
        settling = at_levels + rates.norm_s * _settling_patches(settings, spec, sounds, n_patches)
    return {
        "start and compiling": rates.run_s,
        "training": updates * (rates.update_s + n_patches * rates.patch_s),
        "evaluation": at_levels,
        "settled score": settling,
    }


def _settling_patches(settings: Settings, spec: RunSpec, sounds: Sounds, n_patches: float) -> float:
    if is_episodic(spec.model):
        return _SETTLING_BATCHES / 2 * n_patches
    per_epoch = ceil(n_trained(spec.n_shot, sounds) / settings.training.batch_size)
    batches = min(max(_SETTLING_BATCHES, per_epoch), per_epoch * min(settings.epochs, _SETTLING_BATCHES))
    return batches * n_patches


def memory_mib(settings: Settings, spec: RunSpec, sounds: Sounds, rates: Rates) -> float:
    """Approximate memory of a worker during a run."""
    _, n_patches = updates_of(settings, spec.model, spec.n_shot, sounds)
    largest = n_patches if is_episodic(spec.model) else min(settings.training.batch_size, n_patches)
    frames_mib = (
        n_trained(spec.n_shot, sounds)
        * sounds.scored_frames(settings.features.patch_frames)
        * settings.features.n_mels
        * 4
        / 2**20
    )
    return _WORKER_MIB + rates.patch_mib * largest + 2 * frames_mib


# ---- A study ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Costs:
    """Times of all steps on a machine.

    Attributes:
        networks: (Network, compression) -> rates; missing networks cannot be estimated.
        start_s: Start of a worker.
        clip_s: Features of a clip.
        basis: Where the times come from, as a sentence.
    """

    networks: Mapping[tuple[str, str], Rates]
    start_s: float
    clip_s: float
    basis: str = ""


def costs_of(
    settings: Settings,
    sounds: Sounds,
    *,
    measured: Mapping[tuple[str, str], Rates] | None = None,
    start_s: float | None = None,
    sound_s: float | None = None,
) -> Costs:
    """Times of a study's steps: measured where possible, otherwise from the table, scaled to the measured speed.

    Args:
        settings: The study's.
        sounds: Its data set.
        measured: (Network, kind of compression, see `kind_of`) -> measured rates.
        start_s: Measured start time of a worker.
        sound_s: Measured time of the features per second of sound.
    """
    measured = measured or {}
    factors = [rates.patch_s / TABLE[model].patch_s for (model, _), rates in measured.items() if model in TABLE]
    # Without other measurements, the start time of TensorFlow indicates the speed of the machine.
    factor = median(factors) if factors else 1.0 if start_s is None else start_s / START_S
    networks = {}
    for model in settings.models:
        for compression in settings.compressions:
            kind = kind_of(settings, compression)
            rates = measured.get((model, kind)) or _from_table(model, factor)
            if rates is not None and kind and (model, kind) not in measured:
                # A rough guess for compressions that were not timed: patches are cut out.
                rates = replace(rates, frame_s=0.0, scored_s=rates.scored_s or _CUT_OF_TRAINED * rates.patch_s)
            if rates is not None:
                networks[model, compression] = rates
    return Costs(
        networks,
        START_S * factor if start_s is None else start_s,
        sounds.mean_s(settings) * (_SOUND_S * factor if sound_s is None else sound_s),
    )


def _from_table(model: str, factor: float) -> Rates | None:
    if model in TABLE:
        return TABLE[model].at(factor)
    network = MODELS.own(model)
    if network is None or network.clip_ms is None:
        return None
    like, known = TABLE["sb_cnn"], MODELS["sb_cnn"].clip_ms
    return None if known is None else like.at(factor * network.clip_ms / known)


def kind_of(settings: Settings, compression: str) -> str:
    """Groups compressions of equal cost: `""` for all pointwise ones, else the name."""
    layer, _ = settings.compression(compression)
    return compression if COMPRESSIONS.own(layer) is None or layer in NOT_POINTWISE else ""


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of the remaining runs of a study.

    Attributes:
        settings: The study's.
        sounds, costs: Basis of the estimate.
        seconds: (network, n) -> seconds of one core, for all its remaining runs.
        parts: Seconds of one core for each of `PARTS`.
        wall_s: Wall time.
        unknown: Runs of networks without known rates; not included in other numbers.
        n_timed: Runs estimated from finished runs of the same kind.
        workers, cores: What the work is divided among.
        worker_mib: Memory of the largest worker.
        store_bytes, run_bytes: Disk space.
        a_run: (network, n) -> mean seconds of one run.
    """

    settings: Settings
    sounds: Sounds
    costs: Costs
    seconds: Mapping[tuple[str, NShot], float]
    parts: Mapping[str, float]
    wall_s: float
    unknown: int
    n_timed: int
    workers: int
    cores: int
    worker_mib: float
    store_bytes: int
    run_bytes: int
    a_run: Mapping[tuple[str, NShot], float]

    @property
    def core_s(self) -> float:
        return sum(self.parts.values())


def estimate(
    settings: Settings,
    to_do: Sequence[RunSpec],
    sounds: Sounds,
    costs: Costs,
    *,
    workers: int,
    cores: int,
    runs_per_worker: int,
    known: Callable[[RunSpec], float | None] = lambda spec: None,
) -> Estimate:
    """Adds up the cost of the remaining runs.

    Args:
        settings: The study's.
        to_do: Remaining runs, in execution order.
        sounds, costs: The data set, and the times of all steps.
        workers: Number of processes.
        cores: Cores of the machine.
        runs_per_worker: Number of runs after which a worker is replaced.
        known: Run -> mean seconds of finished runs of its kind, used instead of an estimate.
    """
    parts: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    seconds: dict[tuple[str, NShot], float] = defaultdict(float)
    counts: Counter[tuple[str, NShot]] = Counter()
    unknown = n_timed = 0
    memory = _WORKER_MIB
    # For each worker: when it is free, what it has compiled, how many runs it has done.
    free = [(0.0, number) for number in range(min(workers, max(1, len(to_do))))]
    compiled: list[set[Any]] = [set() for _ in free]
    n_done = [runs_per_worker] * len(free)
    run_bytes = 0
    of_run: dict[tuple[Any, ...], tuple[dict[str, float], float]] = {}
    for spec in to_do:
        rates = costs.networks.get((spec.model, spec.compression))
        measured_s = known(spec)
        if rates is None and measured_s is None:
            unknown += 1
            continue
        at, number = heapq.heappop(free)
        taken: dict[str, float] = defaultdict(float)
        if n_done[number] >= runs_per_worker:
            n_done[number], compiled[number] = 0, set()
            taken["start and compiling"] += costs.start_s
        n_done[number] += 1
        if rates is not None:
            like = (spec.model, spec.compression, spec.n_shot, spec.fold)
            if like not in of_run:
                of_run[like] = parts_of_run(settings, spec, sounds, rates), memory_mib(settings, spec, sounds, rates)
            usual, needed = of_run[like]
            memory = max(memory, needed)
            run_bytes += _bytes_of_run(settings, spec, sounds, rates)
            # The step of an episode is compiled for a given number of support patches.
            n_support = _at_most(settings.episodic.n_support, spec.n_shot) if is_episodic(spec.model) else 0
            kind = spec.model, spec.compression, n_support
            if kind not in compiled[number]:
                compiled[number].add(kind)
                if measured_s is None:
                    taken["start and compiling"] += rates.compile_s
            scale = 1.0 if measured_s is None else measured_s / sum(usual.values())
            for part, value in usual.items():
                taken[part] += scale * value
        elif measured_s is not None:
            taken["training"] += measured_s
        n_timed += measured_s is not None
        total = sum(taken.values())
        for part, value in taken.items():
            parts[part] += value
        seconds[spec.model, spec.n_shot] += total
        counts[spec.model, spec.n_shot] += 1
        heapq.heappush(free, (at + total, number))
    in_runs, last = sum(parts.values()), max((at for at, _ in free), default=0.0)
    parts["features"] = sounds.to_compute * costs.clip_s
    if to_do:
        parts["report"] = _REPORT_S + _REPORT_RUN_S * len(to_do)
    at_once = max(1, min(workers, cores))
    wall_s = max(last, in_runs / at_once) + parts["features"] / at_once + parts["report"]
    frame_bytes = settings.features.n_mels * 4
    return Estimate(
        settings=settings,
        sounds=sounds,
        costs=costs,
        seconds=seconds,
        parts=parts,
        wall_s=wall_s,
        unknown=unknown,
        n_timed=n_timed,
        workers=workers,
        cores=cores,
        worker_mib=memory,
        store_bytes=round(sounds.to_compute * _mean(sounds.frames) * frame_bytes),
        run_bytes=run_bytes,
        a_run={cell: value / counts[cell] for cell, value in seconds.items()},
    )


def _bytes_of_run(settings: Settings, spec: RunSpec, sounds: Sounds, rates: Rates) -> int:
    """Size of a run folder: two tables of predictions, the history, and optional files."""
    test_clips = sounds.clips.get(spec.fold, 0)
    found = 2 * test_clips * (60 + 11 * sounds.n_classes) + 60 * settings.epochs + 6000
    if settings.save_models:
        found += round(rates.weights_mib * 2**20) + 100_000
    if settings.tensorboard == "all" or (settings.tensorboard == "first" and spec.run == 0):
        found += 200_000 + 300 * settings.epochs
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
