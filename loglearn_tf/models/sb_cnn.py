"""SB-CNN: three 5 x 5 convolutions and two dense layers."""

from typing import TYPE_CHECKING

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


def build_sb_cnn(
    *,
    n_classes: int,
    compression: "keras.layers.Layer",
    seed: int,
    patch_frames: int = PATCH_FRAMES,
    n_mels: int = N_MELS,
    l2: float = L2,
) -> "keras.Model":
    """SB-CNN, 241,436 trainable parameters at 10 classes (+2 with loglearn).

    Pooling is 4 frames x 2 bands. See `build_model` for arguments and shapes.

    Reference:
        Salamon and Bello, arXiv:1608.04363, 2017, as in the paper, section 2.1.
    """
    import keras

    mel, x = compressed_input(compression, patch_frames=patch_frames, n_mels=n_mels)
    x = conv(x, 24, (5, 5), activation="relu", name="conv_1", seed=seed, l2=l2)
    x = max_pooling(x, (4, 2), name="pool_1")
    x = conv(x, 48, (5, 5), activation="relu", name="conv_2", seed=seed, l2=l2)
    x = max_pooling(x, (4, 2), name="pool_2")
    x = conv(x, 48, (5, 5), activation="relu", name="conv_3", seed=seed, l2=l2)
    x = flatten(x)
    x = dropout(x, name="dropout_1", seed=seed)
    x = dense(x, 64, activation="relu", name="dense_1", seed=seed, l2=l2)
    x = dropout(x, name="dropout_2", seed=seed)
    return keras.Model(mel, dense(x, n_classes, name="logits", seed=seed, l2=l2), name="sb_cnn")


SB_CNN = Network(
    name="sb_cnn",
    title="SB-CNN",
    build=build_sb_cnn,
    min_n_mels=32,  # leaves one band after the last convolution
    clip_ms=8,
    citation="Salamon and Bello, arXiv:1608.04363, 2017",
    min_patch_frames=100,  # leaves one column after the last convolution
)
