"""Measures the time of training and scoring a network on this machine, with a few steps of each.

Meant for a separate process, configured like a worker. The sounds are noise, since step times do not depend on them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from loglearn_tf.datasets.clips import Clip
from loglearn_tf.datasets.n_shot import in_order
from loglearn_tf.features.build import feature_function
from loglearn_tf.layers import Compression
from loglearn_tf.models import MODELS, build_model
from loglearn_tf.study.cost import TABLE, Rates, Sounds, is_episodic, n_trained
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.study.settings import Settings
from loglearn_tf.training import episodic, supervised
from loglearn_tf.training.accelerated import accelerate
from loglearn_tf.training.callbacks import layers_inside
from loglearn_tf.training.evaluation import clip_probabilities
from loglearn_tf.training.settling import settle

Result = TypeVar("Result")

# Number of patches of the larger of two timed updates; the smaller has a quarter. Together they give the fixed cost of
# an update and the cost per patch, which stays the same for hundreds of patches.
_FEWEST, _MOST = 16, 48
_CLIPS = 2  # number of scored clips
# Files of a run, its log, and other untimed work.
_REST_S = 0.15
# Cost of settling an encoder per patch, relative to training.
_SETTLED_OF_TRAINED = 0.65
# Layer outputs are kept for gradients of the same size, but not all at the same time.
_KEPT = 1.5


@dataclass(frozen=True)
class Noise:
    """A source with the same mel power for all clips.

    Args:
        frames: Length of the clips.
        n_mels: Number of bands.
    """

    frames: int
    n_mels: int

    def mel(self, clip: Clip) -> npt.NDArray[np.float32]:
        noise = np.random.default_rng(0).exponential(size=(self.frames, self.n_mels))
        return noise.astype(np.float32)


def rates_of(settings: Settings, model: str, compression: str, sounds: Sounds) -> Rates | None:
    """Times a network; `None` if its trainer is not part of this package.

    Args:
        settings: Settings of the study.
        model: The network's name.
        compression: Compression of the network.
        sounds: Data set; the timed clips have its median length.

    Raises:
        ConfigError, ValueError: If it cannot be built.
    """
    trainer = MODELS[model].trainer
    if trainer == "loglearn_tf.training.episodic:train_run":
        return _episodic_rates(settings, model, compression, sounds)
    if trainer == "loglearn_tf.training.supervised:train_run":
        return _supervised_rates(settings, model, compression, sounds)
    return None


def _supervised_rates(settings: Settings, model: str, compression: str, sounds: Sounds) -> Rates:
    source = _noise(settings, sounds)
    n_clips = max(n_trained(n_shot, sounds) for n_shot in settings.n_shot)
    spec = RunSpec(
        settings.data.name, model, compression, in_order(settings.n_shot)[0], settings.folds[0], 0, settings.seed
    )
    n_many = max(_FEWEST, min(_MOST, n_clips, settings.training.batch_size))
    many = _clips(n_many, sounds.n_classes)
    few = many[: n_many // 4]

    def built() -> keras.Model:
        layer, _ = supervised.compression_for(spec, settings, source, few)
        return build_model(
            model,
            n_classes=sounds.n_classes,
            compression=layer,
            seed=0,
            l2=settings.training.l2,
            n_mels=settings.features.n_mels,
            patch_frames=settings.features.patch_frames,
        )

    build_s, network = _timed(built)
    twin = accelerate(network, precision=settings.training.precision).network
    supervised.compile_as_published(twin, settings.training)

    def fit(clips: tuple[Clip, ...], epochs: int) -> float:
        training = settings.training.model_copy(update={"epochs": epochs, "batch_size": len(clips)})
        some = settings.model_copy(update={"training": training})
        return _timed(lambda: supervised.fit(twin, source, clips, settings=some, seed=0))[0]

    first_s = fit(few, 1)
    once_s = min(fit(few, 1), fit(few, 1))
    few_s = max((min(fit(few, 4), fit(few, 4)) - once_s) / 3, 1e-5)
    begin_s = max(once_s - few_s, 0.0)
    many_s = min(fit(many, 1), fit(many, 1)) - begin_s
    patch_s = max((many_s - few_s) / (len(many) - len(few)), 1e-6)
    score_s, clip_s = _scoring(settings, model, network, source)
    frame_s, scored_s = _by_length(settings, model, sounds, clip_s)
    patch_mib, weights_mib = _memory(model, network)

    used = [0]

    def batches(clips: tuple[Clip, ...]) -> Iterator[npt.NDArray[np.float32]]:
        used[0] += 1
        yield np.stack([source.mel(clip)[: settings.features.patch_frames] for clip in clips])

    def settling(clips: tuple[Clip, ...]) -> tuple[float, Any]:
        return _timed(lambda: settle(network, updates=2, patches=batches(clips)))

    _, norm = settling(few)
    more_s = (settling(many)[0] - settling(few)[0]) / (len(many) - len(few)) if used[0] else 0.0
    return Rates(
        run_s=build_s + begin_s + _REST_S,
        compile_s=max(first_s - once_s, 0.0) + score_s,
        update_s=max(few_s - len(few) * patch_s, 0.0),
        patch_s=patch_s,
        frame_s=frame_s,
        scored_s=scored_s,
        norm_s=max(more_s, 0.0),
        is_settled=norm is not None,
        patch_mib=patch_mib,
        weights_mib=weights_mib,
    )


def _episodic_rates(settings: Settings, model: str, compression: str, sounds: Sounds) -> Rates:
    # An update with one patch per class and as many support patches; the cost per patch is the same for more.
    one = settings.episodic.model_copy(update={"n_support": 1, "n_query": 1})
    settings_of_one = settings.model_copy(update={"episodic": one})
    source = _noise(settings, sounds)
    spec = RunSpec(settings.data.name, model, compression, 2, settings.folds[0], 0, settings.seed)
    clips = _clips(2 * sounds.n_classes, sounds.n_classes)
    n_patches = 2 * sounds.n_classes

    def built() -> tuple[keras.Model, Any, Any]:
        layer, _ = supervised.compression_for(spec, settings, source, clips)
        patches = episodic.draw_episodes(source, clips, spec=spec, settings=settings_of_one)
        arguments = {"protocol": settings.protocol, "n_mels": settings.features.n_mels}
        arguments["patch_frames"] = settings.features.patch_frames
        network = build_model(model, n_classes=sounds.n_classes, compression=layer, seed=0, **arguments)
        return network, patches, episodic.prepare(network, patches, settings=settings)

    build_s, (network, patches, training) = _timed(built)

    def update() -> float:
        return _timed(lambda: training.fit(patches.queries, epochs=1, steps_per_epoch=1, shuffle=False, verbose=0))[0]

    first_s, second_s = update(), update()
    update_s = min(second_s, update()) if second_s < 3.0 else second_s
    score_s, clip_s = _scoring(settings, model, network, source)
    frame_s, scored_s = _by_length(settings, model, sounds, clip_s)
    patch_mib, weights_mib = _memory(model, network)
    patch_s = update_s / n_patches
    return Rates(
        run_s=build_s + _REST_S,
        compile_s=max(first_s - update_s, 0.0) + score_s,
        update_s=0.0,
        patch_s=patch_s,
        frame_s=frame_s,
        scored_s=scored_s,
        norm_s=_SETTLED_OF_TRAINED * patch_s,
        patch_mib=patch_mib,
        weights_mib=weights_mib,
    )


def _scoring(settings: Settings, model: str, network: keras.Model, source: Noise) -> tuple[float, float]:
    """Extra seconds of the first scoring, and seconds per clip."""
    hop, clips = settings.patch_hop(MODELS[model]), _clips(_CLIPS, 1)

    def score() -> float:
        batch_size = settings.evaluation.batch_size
        return _timed(
            lambda: clip_probabilities(
                network, source, clips, hop=hop, batch_size=batch_size, patch_frames=settings.features.patch_frames
            )
        )[0]

    first_s, again_s = score(), score()
    again_s = min(again_s, score()) if again_s < 1.0 else again_s
    return max(first_s - again_s, 0.0), again_s / len(clips)


def _by_length(settings: Settings, model: str, sounds: Sounds, clip_s: float) -> tuple[float, float]:
    """Splits a clip's scoring time into a time per frame and a time per patch, the latter if patches are far apart and
    therefore cut out."""
    hop, frames = settings.patch_hop(MODELS[model]), _median_frames(settings, sounds)
    if is_episodic(model) or hop > 16:
        return 0.0, clip_s / (1 + (frames - settings.features.patch_frames) // hop)
    return clip_s / frames, 0.0


def _memory(model: str, network: keras.Model) -> tuple[float, float]:
    """MiB per patch of an update, and MiB of the weights; the same on all machines."""
    if model in TABLE:
        return TABLE[model].patch_mib, TABLE[model].weights_mib
    kept = sum(
        np.prod([size or 1 for size in tensor.shape])
        for layer in layers_inside(network, {id(network)})
        if not isinstance(layer, (keras.Model, Compression, keras.layers.InputLayer))
        for tensor in tf.nest.flatten(getattr(layer, "output", ()))
    )
    weights = sum(np.prod(weight.shape) for weight in network.weights)
    return _KEPT * 4 * float(kept) / 2**20, 4 * float(weights) / 2**20


def _noise(settings: Settings, sounds: Sounds) -> Noise:
    return Noise(_median_frames(settings, sounds), settings.features.n_mels)


def _median_frames(settings: Settings, sounds: Sounds) -> int:
    return max(int(np.median(sounds.frames)), settings.features.patch_frames)


def _clips(n: int, n_classes: int) -> tuple[Clip, ...]:
    return tuple(Clip(str(at), Path(), at % n_classes, 1) for at in range(n))


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of one core, and the result of `work`.

    Processor time excludes other users of the machine; wall time does not count threads twice. If a GPU computes, only
    wall time is meaningful.
    """
    by_clock, by_processor = time.monotonic(), time.process_time()
    result = work()
    clock_s, processor_s = time.monotonic() - by_clock, time.process_time() - by_processor
    return clock_s if tf.config.get_visible_devices("GPU") else min(clock_s, processor_s), result


def seconds_of_features(settings: Settings, clips: Sequence[Clip]) -> float:
    """Seconds to compute the mel power of a clip; unreadable clips count, too."""
    features = settings.features
    compute = feature_function(features.front_end, features.compression)
    compute([clips[0].path])  # one-time compiling and loading
    return _timed(lambda: compute([clip.path for clip in clips]))[0] / len(clips)
