"""
Replace a fixed logarithm with a learned one
============================================

Most networks for audio take ``log(mel + eps)`` before anything else. The eps is a choice, though few papers discuss
it: it decides which sounds are too quiet to matter. `LearnableLog` computes ``log(alpha * mel + beta)`` instead and
learns alpha and beta with the rest of the network.

This tutorial puts the layer into a Keras model, trains it, and looks at what it learned.
"""

# %%
# Sounds
# ------
# The package can compute a small data set in the layout of UrbanSound8K. Its ten classes are easy to tell apart, so
# a tiny network learns them in seconds. Results on it say nothing about real recordings.
#
# `MelSpectrogram` turns waveforms into mel **power**, without a logarithm: that is what `LearnableLog` expects.
# Networks need patches of one size, so each clip is cut, or repeated, to 128 frames (3 s).

import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

from loglearn_tf import LearnableLog, MelSpectrogram
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
print(f"{len(mel)} clips; mel power from {mel.min():.0e} to {mel.max():.0e}")

# %%
# The power spans many orders of magnitude. This is why a network needs some compression, and why it matters where
# the compression stops: a linear scale shows only the loudest sounds.
#
# The model
# ---------
# The function takes its compression as an argument, so that only this one layer differs. Batch normalisation
# follows it, as in most networks. The seed gives both models the same initial weights, so that they can be
# compared.


def build(compression):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((128, 128)),  # frames, mel bands
            compression,
            keras.layers.BatchNormalization(),
            keras.layers.Reshape((128, 128, 1)),
            keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
            keras.layers.MaxPooling2D(4),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(dataset.classes)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    return model


fixed = build(keras.layers.Lambda(lambda power: keras.ops.log10(power + 1e-10), output_shape=(128, 128)))
learned = build(LearnableLog())
layer = learned.layers[0]
print(f"{fixed.count_params():,} parameters before, {learned.count_params():,} after the exchange")

# %%
# The learned logarithm adds two numbers. They are stored before their gates: alpha is the exponential of one, beta
# the softplus of the other, so both stay positive whatever the optimiser does.
#
# Train it
# --------
# Only the **knee**, ``beta / alpha``, changes what the network can see. Power far above the knee is compressed by a
# plain logarithm; power far below it becomes a constant. A common factor of alpha and beta only adds a constant to
# the output, which batch normalisation removes. :doc:`/explanation/knee` derives this.


def values():
    return f"alpha {float(layer.alpha):6.1f}   beta {float(layer.beta):.3f}   knee {float(layer.knee):.2e}"


def seen(compression, power):
    """What batch normalisation makes of the curve: zero mean and unit variance over the training data."""
    output = keras.ops.convert_to_numpy(compression(mel))
    return (compression.curve(power) - output.mean()) / output.std()


power = np.logspace(-10, 3, 200)
curves = {"before training": seen(layer, power)}
knees = [float(layer.knee)]
print("before ", values())
learned.fit(mel, labels, batch_size=16, epochs=15, verbose=0)
print("after  ", values())
curves["after training"] = seen(layer, power)
knees.append(float(layer.knee))
print(f"below the knee: {(mel < knees[0]).mean():.0%} of the mel bins before, {(mel < knees[1]).mean():.0%} after")

# %%
# Alpha and beta both change, and the knee falls to roughly half. On this scale that is little: most of the mel
# power lies below it, before and after. The gradient of the knee comes from the few values near it, and different
# sounds pull it in different directions. This is the main finding about loglearn: the **starting point** decides,
# not the training.
#
# Put the knee where the data are
# -------------------------------
# So choose the start deliberately. `LearnableLog.adapt` reads mel power once, before training, and places the knee
# at a quantile: with 0.1, a tenth of the values lies below it.

adapted = LearnableLog()
adapted.adapt(mel, quantile=0.1)
curves["adapted to the data"] = seen(adapted, power)
knees.append(float(adapted.knee))
print(f"adapted: knee {knees[-1]:.2e}, {(mel < knees[-1]).mean():.0%} of the mel bins lie below")

# %%
# The figure shows the three curves above the distribution of the data. Where a curve is flat, the network cannot
# tell one level from another.

caption = "Curves of the layer, and the mel power of the data. Training hardly moves the bend; adapt does."
figure, (upper, lower) = plt.subplots(2, sharex=True, height_ratios=(2, 1), layout="constrained", num=caption)
for (name, curve), style in zip(curves.items(), ("-", "--", ":"), strict=True):
    upper.semilogx(power, curve, style, label=name)
upper.set_ylabel("what the network sees")
upper.legend(title="LearnableLog")
# What is below the range of the axis counts in the first bar.
lower.hist(np.maximum(mel, power[0]).ravel(), bins=power, weights=np.full(mel.size, 100 / mel.size))
lower.set(xlabel="mel power", ylabel="share, %")
plt.show()

# %%
# Save the model
# --------------
# The layer is registered with Keras. After ``import loglearn_tf``, models load without ``custom_objects``.

learned.save(folder / "model.keras")
again = keras.models.load_model(folder / "model.keras")
print("loaded model gives the same:", np.array_equal(again.predict(mel, verbose=0), learned.predict(mel, verbose=0)))

# %%
# Next: :doc:`2_study` asks whether learning the logarithm makes a difference to accuracy, and how sure the answer
# is. :doc:`/howto/layer` covers one pair per band, other optimisers and mixed precision.
