"""VGG: five blocks of a 3 x 3 convolution, batch normalisation and pooling."""

from typing import TYPE_CHECKING, Any

from loglearn_tf.models.base import (
    L2,
    N_MELS,
    PATCH_FRAMES,
    compressed_input,
    conv,
    dense,
    dropout,
    flatten,
    max_pooling,
)
from loglearn_tf.models.registry import Network

if TYPE_CHECKING:
    import keras


def build_vgg(
    *,
    n_classes: int,
    compression: "keras.layers.Layer",
    seed: int,
    n_filters: int = 32,
    patch_frames: int = PATCH_FRAMES,
    n_mels: int = N_MELS,
    l2: float = L2,
) -> "keras.Model":
    """VGG, 42,764 trainable parameters at 10 classes and 32 filters (+2 with loglearn).

    The paper also tries 128 filters (613,388). See `build_model` for arguments and shapes.

    Reference:
        The paper, section 2.1.
    """
    import keras

    mel, x = compressed_input(compression, patch_frames=patch_frames, n_mels=n_mels)
    x = flatten(vgg_blocks(x, n_filters, seed=seed, l2=l2))
    x = dropout(x, name="dropout", seed=seed)
    return keras.Model(mel, dense(x, n_classes, name="logits", seed=seed, l2=l2), name="vgg")


def vgg_blocks(x: Any, n_filters: int, *, seed: int, l2: float) -> Any:
    """Five blocks, from `(batch, 128, 128, 1)` to `(batch, 4, 4, n_filters)`."""
    import keras

    for block in range(1, 6):
        x = conv(x, n_filters, (3, 3), padding="same", activation="elu", name=f"conv_{block}", seed=seed, l2=l2)
        x = keras.layers.BatchNormalization(name=f"norm_{block}")(x)
        x = max_pooling(x, (2, 2), name=f"pool_{block}")
    return x


VGG = Network(
    name="vgg",
    title="VGG",
    build=build_vgg,
    min_n_mels=32,  # five poolings halve them
    clip_ms=14,
    citation="Pons, Serrà and Serra, arXiv:1810.10274, 2018",
    min_patch_frames=32,  # five poolings halve them
)
