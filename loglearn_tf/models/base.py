"""Code shared by the networks: the input, initialisers and dropout."""

import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

PATCH_FRAMES = 128  # 2.972 s at hop 1024 and 44.1 kHz
N_MELS = 128
# The reference adds 0.001 * sum(w ** 2 / 2) over conv and dense kernels; Keras' L2 has no half.
L2 = 5e-4
# Whatever ~/.keras/keras.json says, the networks use (batch, frames, bands, channels).
DATA_FORMAT = "channels_last"


def compressed_input(
    compression: "keras.layers.Layer", *, patch_frames: int, n_mels: int
) -> "tuple[keras.KerasTensor, keras.KerasTensor]":
    """Input, compression and batch normalisation over the single channel, the start of every network.

    Returns:
        The input, `(batch, patch_frames, n_mels)` mel power, and `(batch, patch_frames, n_mels, 1)`.
    """
    mel = mel_input(patch_frames=patch_frames, n_mels=n_mels)
    return mel, normalised_input(compression(mel), axis=-1)


def mel_input(*, patch_frames: int, n_mels: int, name: str = "mel") -> "keras.KerasTensor":
    """`(batch, patch_frames, n_mels)`; float32 whatever Keras' `floatx`, since float16 cannot represent mel power."""
    import keras

    return keras.Input((patch_frames, n_mels), name=name, dtype="float32")


def normalised_input(log_mel: "keras.KerasTensor", *, axis: int) -> "keras.KerasTensor":
    """From `(batch, patch_frames, n_mels)` to `(batch, patch_frames, n_mels, 1)`, batch-normalised along `axis`."""
    import keras

    x = keras.layers.Reshape((*log_mel.shape[1:], 1), name="add_channel")(log_mel)
    return keras.layers.BatchNormalization(axis=axis, name="input_norm")(x)


def conv(x: Any, filters: int, kernel: tuple[int, int], *, name: str, seed: int, l2: float, **kwargs: Any) -> Any:
    """Convolution over (time, mel) with the experiment's initialiser and weight decay."""
    import keras

    kwargs |= _kernel(name, seed, l2)
    return keras.layers.Conv2D(filters, kernel, name=name, data_format=DATA_FORMAT, **kwargs)(x)


def max_pooling(x: Any, size: tuple[int, int], *, name: str) -> Any:
    """Max pooling over (time, mel)."""
    import keras

    return keras.layers.MaxPooling2D(size, name=name, data_format=DATA_FORMAT)(x)


def flatten(x: Any) -> Any:
    """From `(batch, frames, bands, channels)` to `(batch, features)`, channels fastest."""
    import keras

    return keras.layers.Flatten(name="flatten", data_format=DATA_FORMAT)(x)


def dense(x: Any, units: int, *, name: str, seed: int, l2: float, **kwargs: Any) -> Any:
    """Dense layer with the experiment's initialiser and weight decay."""
    import keras

    return keras.layers.Dense(units, name=name, **_kernel(name, seed, l2), **kwargs)(x)


def dropout(x: Any, *, name: str, seed: int) -> Any:
    """Dropout of one half, with masks from the model's seed."""
    import keras

    return keras.layers.Dropout(0.5, name=name, seed=layer_seed(seed, name))(x)


def layer_seed(seed: int, name: str) -> int:
    """The seed of a layer, which depends only on the model's seed and the layer's name."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def _kernel(name: str, seed: int, l2: float) -> dict[str, Any]:
    import keras

    return {
        "kernel_initializer": keras.initializers.GlorotUniform(seed=layer_seed(seed, name)),
        "kernel_regularizer": keras.regularizers.L2(l2) if l2 else None,
    }
