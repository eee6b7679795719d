"""TIMBRE: one wide convolution whose maximum over the patch is the logit."""

from typing import TYPE_CHECKING

from loglearn_tf.models.base import DATA_FORMAT, L2, N_MELS, PATCH_FRAMES, compressed_input, conv
from loglearn_tf.models.registry import Network

if TYPE_CHECKING:
    import keras

_BANDS = 108  # height of a filter


def build_timbre(
    *,
    n_classes: int,
    compression: "keras.layers.Layer",
    seed: int,
    patch_frames: int = PATCH_FRAMES,
    n_mels: int = N_MELS,
    l2: float = L2,
) -> "keras.Model":
    """TIMBRE, 7,572 trainable parameters at 10 classes (+2 with loglearn).

    One filter per class, 7 frames x 108 bands, linear; its maximum over time and the 21 vertical shifts is the class's
    logit, so a timbre is found at any time and pitch. See `build_model` for arguments and shapes.

    Reference:
        Pons et al., arXiv:1703.06697, 2017, as in the paper, section 2.1.
    """
    import keras

    mel, x = compressed_input(compression, patch_frames=patch_frames, n_mels=n_mels)
    x = conv(x, n_classes, (7, _BANDS), name="conv", seed=seed, l2=l2)
    logits = keras.layers.GlobalMaxPooling2D(name="logits", data_format=DATA_FORMAT)(x)
    return keras.Model(mel, logits, name="timbre")


TIMBRE = Network(
    name="timbre",
    title="TIMBRE",
    build=build_timbre,
    min_n_mels=_BANDS,
    clip_ms=11,  # much for its size: CPUs compute the gradient of such a wide kernel slowly
    citation="Pons, Slizovskaia, Gong, Gómez and Serra, arXiv:1703.06697, 2017",
    min_patch_frames=7,  # width of a filter
)
