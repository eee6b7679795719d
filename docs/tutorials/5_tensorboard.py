"""
Follow alpha, beta and knee during training
===========================================

What a learned compression becomes at the end says little about how it got there: it may have settled early, still
be moving, or never have moved. `CompressionTrajectory` records the path of every learned compression in a model, in
memory and for TensorBoard. This tutorial writes such records, reads them back with TensorBoard's own reader, and
draws them.
"""

# %%
# Training with a record
# ----------------------
# The sounds are synthetic, the network is small; :doc:`1_layer` explains both. The question here: does the knee
# move if it is given a larger learning rate? ``learning_rate_factor`` multiplies the gradient of alpha and beta
# alone.
#
# The callback is given a folder per training. TensorBoard shows each folder as one run.

import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from loglearn_tf import CompressionTrajectory, LearnableLog, MelSpectrogram
from loglearn_tf.audio import load_waveform
from loglearn_tf.datasets import load_dataset, make_synthetic

workspace = tempfile.TemporaryDirectory()  # removed when the script ends
folder = Path(workspace.name)
dataset = load_dataset("us8k", make_synthetic("us8k", folder / "us8k", clips_per_class=[8], folds=[1, 2]))
mel_of = MelSpectrogram(sample_rate=44_100)


def patch(clip):
    waveform = load_waveform(clip.path, sample_rate=44_100)
    return np.resize(mel_of(waveform[np.newaxis])[0], (128, 128))


mel = np.stack([patch(clip) for clip in dataset.clips])
labels = np.array([clip.label for clip in dataset.clips])


def train(factor, log_dir):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((128, 128)),
            LearnableLog(learning_rate_factor=factor),
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
    trajectory = CompressionTrajectory(log_dir=log_dir)
    model.fit(mel, labels, batch_size=16, epochs=20, verbose=0, callbacks=[trajectory])
    return trajectory


for factor in (1, 10, 100):
    trajectory = train(factor, folder / "logs" / f"factor-{factor}")

# %%
# In memory, the record is a list of dictionaries, one per epoch; epoch 0 is the state before training.

for row in (trajectory.rows[0], trajectory.rows[-1]):
    print({name: value if value is None else float(f"{value:.4g}") for name, value in row.items()})

# %%
# Look at it in TensorBoard
# -------------------------
# The command ``tensorboard --logdir logs`` serves the records to a browser. Studies write them, too: by default for
# the first run of each cell of the grid (``tensorboard: first``), and ``make tensorboard`` opens those of all
# studies.
#
# Read it back
# ------------
# Event files can also be read in Python. TensorFlow writes scalars as tensors, so they are found under ``tensors``.


def scalars(log_dir):
    """Tag -> (steps, values) of all scalars in a folder of event files."""
    events = EventAccumulator(str(log_dir), size_guidance={"tensors": 0}).Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            series = events.Tensors(tag)
            found[tag] = ([one.step for one in series], [float(make_ndarray(one.tensor_proto)) for one in series])
    return found


records = {path.name: scalars(path) for path in sorted((folder / "logs").iterdir())}
for name, record in records.items():
    for tag, (steps, values) in record.items():
        print(f"{name:10} {tag:20} {len(steps)} values, last {values[-1]:.4g}")

# %%
# Both ways give the same numbers:

_, knees = records["factor-100"]["compression/knee"]
print(np.allclose(knees, [row["knee"] for row in trajectory.rows]))

# %%
# Draw the paths
# --------------
# Look at the knee, not at alpha or beta alone. The two can change together without any effect on what the network
# sees, because batch normalisation removes their common factor.

caption = "Alpha, beta and knee by epoch, for three learning rates of the compression, relative to their starts."
figure, panels = plt.subplots(1, 3, figsize=(6.6, 3), layout="constrained", sharex=True, num=caption)
for axes, name in zip(panels, ("alpha", "beta", "knee"), strict=True):
    for (run, record), style in zip(records.items(), ("-", "--", ":"), strict=True):
        steps, values = record[f"compression/{name}"]
        label = f"rate x {run.removeprefix('factor-')}" if name == "knee" else None
        axes.semilogy(steps, np.divide(values, values[0]), style, label=label)
    axes.set(title=name, xlabel="epoch")
panels[0].set_ylabel("value / value at the start")
figure.legend(loc="outside upper center", ncols=3)
plt.show()

# %%
# At the network's own learning rate the knee falls to about a third; with a hundred times that rate, it falls by
# more than three powers of ten. The accuracies above show that this network does not gain from it. A large factor
# also has a price: where gradients are clipped to a global norm, as in the experiments of this package, the
# enlarged ones slow down all other weights. `LearnableLog.adapt` puts the knee where it is wanted before training,
# without that price.
#
# Next: :doc:`/auto_gallery/trajectories` lets the knee start in different places. :doc:`/explanation/knee` explains
# why it moves so little.
