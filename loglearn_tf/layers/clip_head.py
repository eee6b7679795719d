"""From whole clips to class probabilities: a network applied to every patch of a clip, the mean of its softmax, and
the complete model from a waveform."""

import numbers
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from loglearn_tf.layers.keras_2 import refuse_keras_2
from loglearn_tf.layers.waveform import check_waveform

MEANS = ("arithmetic", "geometric")


@keras.saving.register_keras_serializable(package="loglearn_tf")
class MeanOverPatches(keras.layers.Layer):  # type: ignore[misc]
    """Class probabilities of a clip: the softmax of a network's logits, averaged over the clip's patches.

    Patches of the network's length start every `patch_hop` frames; a shorter clip is repeated to that length.
    Patches are scored a few at a time, so memory does not grow with the clip.

    Args:
        network: Model, `(batch, patch_frames, n_mels)` mel power to `(batch, n_classes)` logits.
        class_names: One name for each logit; saved with the layer.
        patch_hop: Frames between patches; 1, as in the reference, scores every possible patch.
        mean: `"arithmetic"`, of the probabilities; `"geometric"`, of their logarithms, scaled to sum to 1, as the
            reference does for prototypical networks.
        patches_at_once: Number of patches of each clip scored together; affects speed and memory, not results.
        **kwargs: `name`, `dtype`, for the base layer.

    Input shape:
        `(batch, frames, n_mels)`, mel power, any number of frames from 1 on.

    Output shape:
        `(batch, n_classes)` float32, rows that sum to 1.

    Raises:
        ValueError: If the network is not a model of patches, the number of class names is not that of the logits, or an
            argument is out of range.

    Reference:
        docs/fidelity.md, "Evaluation"; `evaluation.clip_probabilities` gives the same numbers for a mel store.

    Example:
        >>> from loglearn_tf import build_model
        >>> layer = MeanOverPatches(build_model("timbre", n_classes=2), class_names=["dog", "siren"], patch_hop=42)
        >>> layer(np.zeros((1, 431, 128), "float32")).shape.as_list()  # 10 s
        [1, 2]
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        class_names: Sequence[str],
        patch_hop: int = 1,
        mean: str = "arithmetic",
        patches_at_once: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if not isinstance(network, keras.Model):
            remedy = " Load it with `keras.models.load_model` first." if isinstance(network, (str, os.PathLike)) else ""
            raise ValueError(f"`network` must be a Keras model. Received: network={network!r}.{remedy}")
        if not network.built or len(getattr(network, "inputs", None) or ()) != 1:
            raise ValueError(f"`network` must be built, with one input. Received: network={network.name!r}.")
        shapes = (tuple(network.input_shape), tuple(network.output_shape))
        if [len(shape) for shape in shapes] != [3, 2] or None in (*shapes[0][1:], shapes[1][1]):
            raise ValueError(
                "`network` must map (batch, patch_frames, n_mels) to (batch, n_classes), with fixed dimensions except "
                f"the batch. Received: a model of {shapes[0]} to {shapes[1]}."
            )
        if isinstance(class_names, str):
            # Text is a sequence of its letters.
            raise ValueError(f"`class_names` must be a list of names. Received: class_names={class_names!r}.")
        names = [str(name) for name in class_names]
        if len(names) != shapes[1][1] or len(set(names)) < len(names):
            raise ValueError(
                f"`class_names` must be distinct names, one for each of the network's {shapes[1][1]} logits. "
                f"Received: class_names={names}."
            )
        for name, value in (("patch_hop", patch_hop), ("patches_at_once", patches_at_once)):
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
        if mean not in MEANS:
            raise ValueError(f"`mean` must be one of {MEANS}. Received: mean={mean!r}.")
        self.network = network
        self.class_names = names
        self.patch_hop = int(patch_hop)
        self.mean = mean
        self.patches_at_once = int(patches_at_once)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        n_mels = self.network.input_shape[2]
        if len(input_shape) != 3 or input_shape[2] != n_mels:
            raise ValueError(
                f"The input must have the shape (batch, frames, {n_mels}) of the network. Received: {input_shape}."
            )
        self.built = True

    def __call__(self, mel: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_keras_2(self, mel)
        return super().__call__(mel, *args, **kwargs)

    def call(self, mel: Any) -> Any:
        total, n_patches = self.sum_over_patches(mel)
        return self.probabilities(total / ops.cast(n_patches, "float32"))

    def sum_over_patches(self, mel: Any) -> tuple[Any, Any]:
        """The sum behind the mean, for recordings that are processed in parts.

        Args:
            mel: See above.

        Returns:
            `(batch, n_classes)` float32, the sum of the patches' probabilities or of their logarithms; and the number
            of patches.
        """
        patch_frames, n_mels = self.network.input_shape[1:]
        n_frames = ops.shape(mel)[1]
        # A clip shorter than a patch is repeated. Explicit integer types, since Keras' default follows `floatx`.
        frames = ops.arange(ops.maximum(n_frames, patch_frames), dtype="int32") % n_frames
        n_patches = 1 + (ops.shape(frames)[0] - patch_frames) // self.patch_hop
        per_step = self.patches_at_once
        n_steps = (n_patches + per_step - 1) // per_step

        def add_next(step: Any, total: Any) -> Any:
            numbers = step * per_step + ops.arange(per_step, dtype="int32")
            # The last step may reach beyond the last patch; the surplus is ignored.
            counts = ops.cast(numbers < n_patches, "float32")
            starts = ops.minimum(numbers, n_patches - 1) * self.patch_hop
            rows = ops.take(frames, starts[:, None] + ops.arange(patch_frames, dtype="int32")[None, :], axis=0)
            patches = ops.reshape(ops.take(mel, rows, axis=1), (-1, patch_frames, n_mels))
            logits = ops.cast(self.network(patches, training=False), "float32")
            scores = ops.log_softmax(logits) if self.mean == "geometric" else ops.softmax(logits)
            scores = ops.reshape(scores, (-1, per_step, len(self.class_names)))
            return total + ops.sum(scores * counts[None, :, None], axis=1)

        nothing = ops.zeros((ops.shape(mel)[0], len(self.class_names)), "float32")
        return _loop(n_steps, add_next, nothing), n_patches

    def probabilities(self, mean: Any) -> Any:
        """Class probabilities from the mean of what `sum_over_patches` sums."""
        return ops.softmax(mean) if self.mean == "geometric" else mean

    def compute_output_spec(self, mel: Any) -> keras.KerasTensor:
        return keras.KerasTensor((mel.shape[0], len(self.class_names)), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": _without_training(keras.saving.serialize_keras_object(self.network)),
            "class_names": self.class_names,
            "patch_hop": self.patch_hop,
            "mean": self.mean,
            "patches_at_once": self.patches_at_once,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MeanOverPatches":
        network = keras.saving.deserialize_keras_object(_without_training(config["network"]))
        # Named `hop` in files of version 0.1.0.
        renamed = {"patch_hop" if name == "hop" else name: value for name, value in config.items()}
        return cls(**{**renamed, "network": network})


@keras.saving.register_keras_serializable(package="loglearn_tf")
class ClipClassifier(keras.Model):  # type: ignore[misc]
    """Functional model from waveform to class probabilities, which refuses waveforms that are not floating-point.

    A plain functional model would cast integers to float without scaling. `clip_classifier` makes one.

    Raises:
        ValueError: When called, or in `predict`, with anything but floating-point samples, or with an array that has
            another shape than `(batch, samples)`, or none of either.

    Warns:
        UserWarning: With a NumPy array of samples far beyond [-1, 1].

    Example:
        >>> from loglearn_tf import build_model, clip_classifier
        >>> model = clip_classifier(build_model("timbre", n_classes=2), class_names=["dog", "siren"])
        >>> type(model).__name__
        'ClipClassifier'
        >>> model(np.zeros((1, 44_100), "float32")).shape.as_list()  # 1 s
        [1, 2]
    """

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        for waveform in keras.tree.flatten(inputs):  # a list or dictionary with one entry is also accepted
            check_waveform(waveform)
            _check_shape(waveform)
        return super().__call__(inputs, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(x, np.ndarray):
            check_waveform(x)
            # Before Keras takes the samples of a waveform without a batch for a batch.
            _check_shape(x)
            x = x.reshape(x.shape[:2])
        return super().predict(x, *args, **kwargs)


def are_probabilities(outputs: Any) -> bool:
    """Whether `(batch, n_classes)` outputs of a network seem to have passed a softmax: between 0 and 1, with sum 1."""
    return bool(((outputs >= 0) & (outputs <= 1)).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3))


def _check_shape(waveform: Any) -> None:
    if not isinstance(waveform, np.ndarray):
        return
    shape = waveform.shape
    batch = shape[:-1] if len(shape) == 3 and shape[-1] == 1 else shape  # Keras drops a last axis of 1
    if len(batch) == 2 and 0 not in batch:
        return
    remedy = {1: " Add the batch: `waveform[None]`.", 3: " Pass one channel, or the mean of all."}
    raise ValueError(
        "Waveforms must have the shape (batch, samples), with at least one waveform and one sample. "
        f"Received: {shape}.{remedy.get(len(shape), '') if waveform.size else ''}"
    )


def _without_training(config: Any) -> Any:
    """A serialised network without losses and optimisers, which may be functions unknown to other programs."""
    if isinstance(config, dict):
        return {key: _without_training(value) for key, value in config.items() if key != "compile_config"}
    return [_without_training(value) for value in config] if isinstance(config, list) else config


def _loop(n_steps: Any, body: Any, start: Any) -> Any:
    if keras.backend.backend() != "tensorflow":
        return ops.fori_loop(0, n_steps, body, start)
    import tensorflow as tf

    # Sequential steps: parallel ones would keep many activations in memory.
    return tf.while_loop(
        lambda step, _: step < n_steps,
        lambda step, total: (step + 1, body(step, total)),
        (0, start),
        shape_invariants=(tf.TensorSpec((), tf.int32), tf.TensorSpec((None, start.shape[1]), tf.float32)),
        parallel_iterations=1,
    )[1]
