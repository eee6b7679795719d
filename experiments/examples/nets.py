"""Two networks outside the package, for `models` in a study: a small CRNN, and a MobileNet from scratch.

Run, in the folder of the checkout:
    loglearn plan us8k "models=[experiments.examples.nets:build_crnn]"
    loglearn run us8k "models=[vgg, experiments.examples.nets:build_mobilenet]" n_shot=[10] folds=[1]

docs/howto/own-network.md explains them.
"""

import keras
from keras import layers

from loglearn_tf.models import seeded


def build_crnn(
    *,
    n_classes: int,
    compression: layers.Layer,
    seed: int,
    patch_frames: int = 128,
    n_mels: int = 128,
    n_units: int = 32,
) -> keras.Model:
    """Two convolutions that pool time and bands, and a GRU over the remaining steps; 32,976 parameters at 10 classes.

    Args:
        n_classes: Number of logits.
        compression: Applied to the mel power.
        seed: Seed of the weights.
        patch_frames, n_mels: Size of a patch; multiples of 8 and 16.
        n_units: Units of the GRU.
    """
    mel = keras.Input((patch_frames, n_mels), name="mel", dtype="float32")
    x = layers.Reshape((patch_frames, n_mels, 1))(compression(mel))
    x = layers.BatchNormalization(name="input_norm")(x)
    for filters, pool in ((16, (4, 4)), (32, (2, 4))):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(pool)(x)
    x = layers.Reshape((patch_frames // 8, n_mels // 16 * 32))(x)  # (batch, time, bands x channels)
    x = layers.GRU(n_units)(x)
    return seeded(keras.Model(mel, layers.Dense(n_classes, name="logits")(x), name="crnn"), seed)


def build_mobilenet(
    *,
    n_classes: int,
    compression: layers.Layer,
    seed: int,
    patch_frames: int = 128,
    n_mels: int = 128,
    alpha: float = 0.25,
) -> keras.Model:
    """MobileNet of `keras.applications`, from scratch: with the compressed patch as all three channels of an image.

    Args:
        n_classes: Number of logits.
        compression: Applied to the mel power.
        seed: Seed of the weights; MobileNet's layers take none themselves.
        patch_frames, n_mels: Size of a patch, at least 32.
        alpha: Width, as for MobileNet.
    """
    mel = keras.Input((patch_frames, n_mels), name="mel", dtype="float32")
    x = layers.Reshape((patch_frames, n_mels, 1))(compression(mel))
    x = layers.BatchNormalization(name="input_norm")(x)
    x = layers.Concatenate()([x, x, x])
    shape = (patch_frames, n_mels, 3)
    x = keras.applications.MobileNet(shape, alpha=alpha, include_top=False, weights=None, pooling="avg")(x)
    return seeded(keras.Model(mel, layers.Dense(n_classes, name="logits")(x), name="mobilenet"), seed)
