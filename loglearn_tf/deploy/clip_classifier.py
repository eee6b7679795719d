"""The model for deployment: from waveform to class probabilities, in one file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from loglearn_tf.deploy.saved_models import has_known_graph
from loglearn_tf.layers import ClipClassifier, ClipLevel, MeanOverPatches, MelSpectrogram, build_compression
from loglearn_tf.layers.clip_head import are_probabilities
from loglearn_tf.layers.clip_level import needs_clip_level


def clip_classifier(
    network: keras.Model,
    *,
    class_names: Sequence[str],
    front_end: Mapping[str, Any] | None = None,
    features_compression: "str | keras.layers.Layer" = "none",
    patch_hop: int = 1,
    mean: str = "arithmetic",
    hop: int | None = None,
) -> keras.Model:
    """Joins the mel front end, patches, a trained network and the mean of its softmax into one model.

    If the network's compression is relative to the clip's level, the level is that of the whole clip, as in training.

    Args:
        network: `(batch, patch_frames, n_mels)` mel power to `(batch, n_classes)` logits, such as those of
            `build_model`. Its weights are shared, not copied.
        class_names: One for each logit, in order; saved in the file.
        front_end: Arguments of `MelSpectrogram` that the network was trained with; `None` for the defaults.
        features_compression: Compression applied before the network, if it was trained on compressed features.
        patch_hop: Frames between patches; 1 scores every possible patch, larger values are faster.
        mean: Mean of the patches' probabilities; see `MeanOverPatches`.
        hop: The name of `patch_hop` in version 0.1.

    Returns:
        Functional model, `(batch, samples)` float32 waveforms in [-1, 1], of any length, to
        `(batch, n_classes)` probabilities. Integers, which Keras would cast without scaling, are refused. The clips of
        a batch have equal length; results do not depend on the other clips.

    Raises:
        ValueError: If the network is not a Keras model or returns probabilities, `front_end` is not a mapping, the
            class names or the front end's bands do not match the network's, or both `patch_hop` and `hop` are given.

    Reference:
        docs/fidelity.md, "Evaluation".

    Example:
        >>> import numpy as np
        >>> from loglearn_tf import build_model
        >>> network = build_model("timbre", n_classes=2)
        >>> classifier = clip_classifier(network, class_names=["dog_bark", "siren"], patch_hop=42)
        >>> classifier.predict(np.zeros((1, 44_100), "float32"), verbose=0).shape
        (1, 2)
    """
    if hop is not None:
        if patch_hop != 1:
            raise ValueError(
                "`hop` is the old name of `patch_hop`: pass only one of them. "
                f"Received: patch_hop={patch_hop!r}, hop={hop!r}."
            )
        patch_hop = hop
    if not isinstance(front_end, Mapping | None):
        raise ValueError(
            "`front_end` must be a mapping of arguments of `MelSpectrogram`, such as {'sample_rate': 16000}. "
            f"Received: front_end={front_end!r}."
        )
    head = MeanOverPatches(network, class_names=class_names, patch_hop=patch_hop, mean=mean, name="clip")
    _check_returns_logits(network)
    waveform = keras.Input((None,), name="waveform", dtype="float32")  # regardless of Keras' `floatx`
    mel = MelSpectrogram(**(front_end or {}), name="front_end")(waveform)
    if features_compression != "none":
        mel = build_compression(features_compression)(mel)
    if needs_clip_level(network):
        # The level of the whole clip, as in training, which its patches do not contain.
        mel = ClipLevel(name="clip_level")(mel)
    return ClipClassifier(waveform, head(mel), name="clip_classifier")


def _check_returns_logits(network: keras.Model) -> None:
    # Typical mel power of sounds, from 1e-8 to 100.
    shape = (4, *network.input_shape[1:])
    patches = (10 ** np.random.default_rng(0).uniform(-8, 2, shape)).astype(np.float32)
    given = np.asarray(keras.ops.convert_to_numpy(network(patches, training=False)), np.float64)
    # Of one class, a softmax is always 1.
    if given.shape[1] > 1 and are_probabilities(given):
        raise ValueError(
            f"`network` must return logits. Received: {network.name!r}, whose outputs are between 0 and 1 and sum to 1 "
            "as probabilities do. Remove the softmax from its last layer: the classifier applies one."
        )


def fold_compressions(
    model: keras.Model, *, replace: Callable[[keras.layers.Layer], keras.layers.Layer | None] = lambda layer: None
) -> keras.Model:
    """Copies a model for inference, with learned compressions replaced by constants.

    Args:
        model: Functional or sequential, with compressions such as `LearnableLog` at any depth. Nested models of custom
            classes are used as they are, including their compressions.
        replace: Function from a layer to its replacement; `None` for a copy.

    Returns:
        A new model with the same outputs; other weights are copied.
    """

    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        other = replace(layer)
        if other is not None:
            return other
        if hasattr(layer, "folded"):
            return layer.folded()
        if isinstance(layer, MeanOverPatches):
            network = fold_compressions(layer.network, replace=replace)
            return MeanOverPatches(**{**layer.get_config(), "network": network})
        if isinstance(layer, keras.Model):
            return fold_compressions(layer, replace=replace) if has_known_graph(layer) else layer
        copies.append((layer, type(layer).from_config(layer.get_config())))
        return copies[-1][1]

    folded = keras.models.clone_model(model, clone_function=copy)
    for layer, again in copies:
        again.set_weights(layer.get_weights())
        if hasattr(again, "finalize_state"):  # `Normalization` computes from its weights when it loads them
            again.finalize_state()
    return folded
