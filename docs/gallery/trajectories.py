"""
Where the knee goes
===================

Trajectories of the knee in the same small network, started in five places over eight orders of magnitude.
"""

# %%
# If training found the best knee, the lines would meet. `CompressionTrajectory` records them;
# :doc:`/auto_tutorials/5_tensorboard` shows it in detail.

import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

from loglearn_tf import CompressionTrajectory, LearnableLog, MelSpectrogram
from loglearn_tf.audio import load_waveform
from loglearn_tf.datasets import load_dataset, make_synthetic

mel_of = MelSpectrogram(sample_rate=44_100)


def patch(clip):
    waveform = load_waveform(clip.path, sample_rate=44_100)
    return np.resize(mel_of(waveform[np.newaxis])[0], (128, 128))


with tempfile.TemporaryDirectory() as folder:
    dataset = load_dataset("us8k", make_synthetic("us8k", Path(folder) / "us8k", clips_per_class=[8], folds=[1, 2]))
    mel = np.stack([patch(clip) for clip in dataset.clips])
labels = np.array([clip.label for clip in dataset.clips])


def trajectory_from(knee):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((128, 128)),
            LearnableLog.from_values(alpha=1 / knee, beta=1),
            keras.layers.BatchNormalization(),
            keras.layers.Reshape((128, 128, 1)),
            keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
            keras.layers.MaxPooling2D(4),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(dataset.classes)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    trajectory = CompressionTrajectory()
    model.fit(mel, labels, batch_size=16, epochs=15, verbose=0, callbacks=[trajectory])
    return trajectory.rows


starts = [1e-8, 1e-6, 1e-4, float(LearnableLog().knee), 1]
paths = {knee: trajectory_from(knee) for knee in starts}

caption = "The knee during training from five starting points. At the right, how the mel power is distributed."
figure, (axes, beside) = plt.subplots(
    1, 2, figsize=(6.2, 3.8), sharey=True, width_ratios=(4, 1), layout="constrained", num=caption
)
for knee, rows in paths.items():
    published = knee == starts[3]
    axes.semilogy([row["epoch"] for row in rows], [row["knee"] for row in rows], color="C1" if published else "C0")
    label = "published start" if published else None
    if label:
        axes.annotate(label, (0.3, 1.5 * knee), color="C1", fontsize=9)
axes.set(xlabel="epoch", ylabel="knee, mel power")
bins = np.logspace(-11, 3, 60)
beside.hist(
    np.maximum(mel, bins[0]).ravel(), bins=bins, orientation="horizontal", weights=np.full(mel.size, 100 / mel.size)
)
beside.set(xlabel="mel power, %")
plt.show()

# %%
# The lines stay apart. Each run ends within a factor of ten of its start, and the starts span eight powers of ten.
# The knee that a network ends with is, in effect, the one that it was given.

for knee, rows in paths.items():
    print(f"from {knee:.1e} to {rows[-1]['knee']:.1e}: a factor of {rows[-1]['knee'] / rows[0]['knee']:.2f}")
