"""Applies a clip classifier to one recording, piece by piece, with memory independent of its length."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from loglearn_tf.layers import Compression, MeanOverPatches, MelSpectrogram

Samples = npt.NDArray[np.float32]

# Samples in the frames of a block: 2,048 frames of 1,024, or 48 s. In float64, with the spectrum, about 50 MB.
_BLOCK_SAMPLES = 1 << 21
# Limit for recordings that cannot be scored in parts: 1 GiB of float32.
_MOST_VALUES = 1 << 28


class TooLong(Exception):
    """A recording is too long for a model that needs it whole; the message is a clause about "it"."""


class Classifier:
    """A clip classifier, compiled for recordings of any length.

    A recording of up to one block goes through the model directly. A longer one is transformed block by block. Blocks
    overlap by as much as the frames at their borders need, so the mel frames are those of the whole recording; patches
    start every `patch_hop` frames from the first frame, whatever the blocks, and their probabilities are summed. The
    result is that of the model on the whole recording, except for the last digit.

    Layers between front end and patches may be pointwise, like a pointwise `Compression`. With any other layer, the mel
    power of the whole recording is kept in memory, an eighth of its samples by default; if the front end is not the
    first layer, the recording itself is kept.

    Args:
        model: Clip classifier.

    Attributes:
        block: Samples per block, without overlap.
        reach: Samples per block, with overlap.
    """

    def __init__(self, model: keras.Model) -> None:
        import tensorflow as tf

        def compiled(function: Any, *shape: int | None) -> Any:
            """Traces the model once, for any length."""
            return tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32)])

        def whole(waveforms: Any) -> Any:
            return model(waveforms, training=False)

        front = next(layer for layer in model.layers if isinstance(layer, MelSpectrogram))
        self.hop = front.hop_length
        self.block = max(1, _BLOCK_SAMPLES // max(front.n_fft, self.hop)) * self.hop
        self.half = front.n_fft // 2  # half a frame is before its middle, and may be before the block
        # One frame more, since padding is correct only if the last block is longer than the padding.
        self.lead = self.half // self.hop + 2
        self.reach = self.block + self.lead * self.hop + self.half
        self.whole = compiled(whole, None, None)
        layers = _row_of_layers(model)
        self.needs_waveform = layers is None
        if layers is None:
            return
        *between, self.head = layers
        self.needs_mel = not all(_is_pointwise(layer) for layer in between)

        def behind_front_end(mel: Any) -> Any:
            for layer in between:
                mel = layer(mel, training=False)
            return mel

        def features(waveforms: Any) -> Any:
            mel = front(waveforms)
            return mel if self.needs_mel else behind_front_end(mel)

        def probabilities(mel: Any) -> Any:
            return self.head(behind_front_end(mel))

        self.features = compiled(features, None, None)
        self.score = compiled(self.head.sum_over_patches, None, None, self.head.network.input_shape[2])
        self.probabilities = compiled(probabilities, None, None, front.n_mels)


def _row_of_layers(model: keras.Model) -> list[Any] | None:
    """The layers behind the front end, the head last, if each is applied to the output of the one before, and the front
    end to the waveform; otherwise `None`."""
    # Keras keeps no operations for a sequential model: its layers form a chain.
    all_operations = getattr(model, "operations", model.layers)
    operations = [one for one in all_operations if not isinstance(one, keras.layers.InputLayer)]
    # Derived classes may do anything.
    if (
        type(operations[0]) is not MelSpectrogram
        or type(operations[-1]) is not MeanOverPatches
        or not type(model).call.__module__.startswith("keras.")
    ):
        return None
    given = list(model.inputs)
    for operation in operations:
        try:
            if len(given) != 1 or operation.input is not given[0]:
                return None
            given = [operation.output]
        except (AttributeError, ValueError):  # several inputs, or used several times
            return None
    return operations[1:]


def _is_pointwise(layer: Any) -> bool:
    # The class itself must declare it: a derived class may do anything.
    return isinstance(layer, Compression) and bool(vars(type(layer)).get("pointwise", False))


class Recording:
    """One recording, or one part of it that is classified separately.

    Args:
        classifier: The classifier.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._by = classifier
        self._samples: list[Samples] = []  # not yet transformed, with the earlier ones that the next frames need
        self._n_samples = 0
        self._lead = 0  # frames of the next block that are already done
        self._mel: list[Samples] = []  # `(frames, bands)` each, from the next patch on
        self._n_frames = 0
        self._skip = 0  # missing frames before the next patch
        self._total: Any = 0.0
        self._n_patches = 0

    def add(self, samples: Samples) -> None:
        """Takes the next samples.

        Raises:
            TooLong: If more memory than the limit would be needed.
        """
        self._samples.append(samples)
        self._n_samples += len(samples)
        if self._by.needs_waveform:
            _check_fits(self._n_samples, "samples")
            return
        if self._n_samples > self._by.reach:
            self._transform()

    def finish(self) -> Samples:
        """`(n_classes,)` probabilities, after all samples; there must be at least one."""
        by = self._by
        if not self._lead:
            return _first(by.whole(_joined(self._samples)[np.newaxis]))
        self._take_frames(_first(by.features(_joined(self._samples)[np.newaxis]))[self._lead :])
        if by.needs_mel:
            return _first(by.probabilities(_joined(self._mel)[np.newaxis]))
        if not self._n_patches:
            return _first(by.head(_joined(self._mel)[np.newaxis]))
        return _first(by.head.probabilities(np.asarray(self._total / self._n_patches, np.float32)[np.newaxis]))

    def _transform(self) -> None:
        """Processes blocks until less than one is left."""
        by, samples = self._by, _joined(self._samples)
        # A frame ends half its length after its middle.
        n_frames = 1 + (by.reach - by.half) // by.hop
        while len(samples) > by.reach:
            mel = _first(by.features(samples[np.newaxis, : by.reach]))
            self._take_frames(mel[self._lead : n_frames])
            samples = samples[(n_frames - by.lead) * by.hop :]
            self._lead = by.lead
        self._samples, self._n_samples = [samples.copy()], len(samples)

    def _take_frames(self, frames: Samples) -> None:
        by = self._by
        self._mel.append(frames)
        self._n_frames += len(frames)
        if by.needs_mel:
            _check_fits(self._n_frames * frames.shape[1], "values of mel power")
            return
        patch_frames, hop = by.head.network.input_shape[1], by.head.patch_hop
        if self._n_frames - self._skip < patch_frames:
            return
        mel = _joined(self._mel)[self._skip :]
        total, n_patches = by.score(mel[np.newaxis])
        self._total += np.asarray(total, np.float64)[0]
        self._n_patches += int(n_patches)
        after = int(n_patches) * hop  # may be beyond these frames if patches do not overlap
        self._skip = max(after - len(mel), 0)
        self._mel = [mel[after:].copy()]
        self._n_frames = len(self._mel[0])


def _first(batch: Any) -> Samples:
    array: Samples = np.asarray(batch, np.float32)
    return array[0]  # type: ignore[no-any-return]


def _joined(parts: Sequence[Samples]) -> Samples:
    """Concatenates, without a copy if there is only one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _check_fits(n_values: int, what: str) -> None:
    if n_values > _MOST_VALUES:
        raise TooLong(
            f"it has at least {n_values:,} {what}, and this model needs them all at once; the limit is {_MOST_VALUES:,}"
        )
