"""Makes the saved model of this version: every layer of the package, weights that are not the initial ones.

Run once for a version whose layers save something new: python tests/saved_models/make.py
Files of earlier versions are never made again; tests/test_saved_models.py loads them all.
"""

from pathlib import Path

import keras
import numpy as np

import loglearn_tf
from loglearn_tf.layers import (
    LearnableLog,
    Log,
    LogEps,
    MeanOverPatches,
    MelSpectrogram,
    NoCompression,
    Prototypes,
)


def build() -> keras.Model:
    """Two seconds at 8 kHz to three scores, by two ways: patch by patch, and as a whole."""
    waveform = keras.Input((16_000,), name="waveform")
    mel = MelSpectrogram(sample_rate=8000, n_fft=256, hop_length=256, n_mels=16, f_min=50, name="front_end")(waveform)
    branches = [
        LearnableLog(name="loglearn", learning_rate_factor=10.0),
        LogEps(eps=1e-10, name="logeps"),
        Log(alpha=[*range(1, 17)], beta=0.5, name="log"),
        NoCompression(name="none"),
    ]
    patch = keras.Input((16, 16))
    x = keras.layers.Concatenate()([layer(patch) for layer in branches])
    x = keras.layers.Conv2D(2, (3, 3), name="conv")(keras.layers.Reshape((16, 64, 1))(x))
    x = keras.layers.BatchNormalization(name="norm")(x)
    network = keras.Model(patch, keras.layers.Dense(3)(keras.layers.GlobalMaxPooling2D()(x)), name="network")
    by_patches = MeanOverPatches(network, class_names=["a", "b", "c"], hop=5, name="clip")(mel)

    per_band = LearnableLog(alpha_pre_gate=3.0, beta_pre_gate=0.5, per_band=True, axis=-1, name="loglearn_per_band")
    x = keras.layers.Dense(4, name="embedding")(keras.layers.GlobalAveragePooling1D()(per_band(mel)))
    return keras.Model(waveform, keras.layers.Add()([by_patches, Prototypes(n_classes=3, name="prototypes")(x)]))


def main() -> None:
    rng = np.random.default_rng(0)
    model = build()
    # Variances must stay above zero.
    model.set_weights([abs(value + rng.normal(0, 0.3, value.shape)) + 0.01 for value in model.get_weights()])
    waveform = rng.uniform(-1, 1, (2, 16_000)).astype("float32")
    stem = Path(__file__).parent / loglearn_tf.__version__
    model.save(f"{stem}.keras")
    # The waveform is drawn again by the test.
    np.savez(f"{stem}.npz", logits=model(waveform), alpha=model.get_layer("loglearn_per_band").alpha)


if __name__ == "__main__":
    main()
