"""Makes the saved model of this version: every layer of the package, weights that are not the initial ones.

Run once for a version whose layers save something new: python tests/saved_models/make.py
Files of earlier versions are never made again; tests/test_saved_models.py loads them all.
"""

from pathlib import Path

import keras
import numpy as np

import loglearn_tf
from loglearn_tf.layers import LearnableLog, LogEps, MelSpectrogram, NoCompression, Prototypes


def build() -> keras.Model:
    """Two seconds at 8 kHz to three scores."""
    waveform = keras.Input((16_000,), name="waveform")
    mel = MelSpectrogram(sample_rate=8000, n_fft=256, hop_length=256, n_mels=16, f_min=50, name="front_end")(waveform)
    branches = [
        LearnableLog(name="loglearn"),
        LearnableLog(alpha_pre_gate=3.0, beta_pre_gate=0.5, per_band=True, name="loglearn_per_band"),
        LogEps(eps=1e-10, name="logeps"),
        NoCompression(name="none"),
    ]
    x = keras.layers.Concatenate()([layer(mel) for layer in branches])
    x = keras.layers.Dense(4, name="embedding")(keras.layers.GlobalAveragePooling1D()(x))
    return keras.Model(waveform, Prototypes(n_classes=3, name="prototypes")(x))


def main() -> None:
    rng = np.random.default_rng(0)
    model = build()
    model.set_weights([value + rng.normal(0, 0.3, value.shape) for value in model.get_weights()])
    waveform = rng.uniform(-1, 1, (2, 16_000)).astype("float32")
    stem = Path(__file__).parent / loglearn_tf.__version__
    model.save(f"{stem}.keras")
    # The waveform is drawn again by the test.
    np.savez(f"{stem}.npz", logits=model(waveform), alpha=model.get_layer("loglearn_per_band").alpha)


if __name__ == "__main__":
    main()
