"""
What each compression makes visible
===================================

Every compression that the package offers by name, applied to the same clip. Each picture is scaled by itself, as
batch normalisation does for a network: what is dark in one picture cannot be told apart by a network that receives
it.
"""

# %%
# A synthetic clip
# ----------------
# A dog barks in a quiet street. The package computes the sound, so the picture is the same everywhere.

import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from loglearn_tf import COMPRESSIONS, MelSpectrogram
from loglearn_tf.audio import load_waveform
from loglearn_tf.datasets import load_dataset, make_synthetic
from loglearn_tf.layers import ClipLevel, build_compression

sample_rate = 44_100
mel_of = MelSpectrogram(sample_rate=sample_rate)


def compressed(name, mel):
    """The clip after a compression, as a network receives it before any training."""
    layer = build_compression(name)
    if getattr(layer, "quantile", None) is not None:
        layer.adapt(mel)  # the knee goes to a quantile of this clip
    if getattr(layer, "relative", False):
        mel = ClipLevel()(mel)  # these compressions expect power relative to the clip's mean
    return np.asarray(layer(mel))[0]


def draw(mel, caption):
    """Mel power, then the clip after every compression."""
    pictures = {"mel power": mel[0]}
    for name, record in COMPRESSIONS.items():
        if name != "none":
            pictures[record.title] = compressed(name, mel)
    seconds = mel.shape[1] * 1024 / sample_rate
    figure, panels = plt.subplots(5, 3, figsize=(6.2, 8.2), sharex=True, sharey=True, layout="constrained", num=caption)
    for axes, (title, values) in zip(panels.flat, pictures.items(), strict=False):
        # From the first percentile: a handful of empty bins would take up half of the colours.
        low = float(np.percentile(values, 1))
        extent = (0, seconds, 0, values.shape[1])
        axes.imshow(values.T, origin="lower", aspect="auto", cmap="magma", vmin=low, extent=extent)
        axes.set_title(title, fontsize=9)
    for axes in panels.flat[len(pictures) :]:
        axes.remove()
    figure.supxlabel("seconds")
    figure.supylabel("mel band")
    plt.show()


with tempfile.TemporaryDirectory() as folder:
    dataset = load_dataset("us8k", make_synthetic("us8k", Path(folder) / "us8k", clips_per_class=[3], folds=[1]))
    barks = [clip for clip in dataset.clips if dataset.classes[clip.label] == "dog_bark"]
    waveform = max((load_waveform(clip.path, sample_rate=sample_rate) for clip in barks), key=len)
draw(np.asarray(mel_of(waveform[np.newaxis])), "A synthetic barking dog after every compression, before training.")

# %%
# Compressions that differ only in what they learn look alike before training. Mel power alone is almost black: the
# bark holds nearly all the energy. log-EPS shows everything, noise included. loglearn at its published start shows
# the loud parts only, and adapted to the clip it resembles log-EPS. PCEN emphasises onsets and suppresses what is
# constant.
#
# A real recording
# ----------------
# The same for a recording of UrbanSound8K, where one is at hand: the environment variable ``LOGLEARN_SHARED`` names
# a folder that holds a few.

shared = Path(os.environ.get("LOGLEARN_SHARED", "shared"))
recordings = sorted(shared.glob("data/UrbanSound8K-subset/audio/fold*/*-3-*.wav"))  # class 3 is dog_bark
if recordings:
    waveform = load_waveform(recordings[0], sample_rate=sample_rate)
    draw(np.asarray(mel_of(waveform[np.newaxis])), "A recorded barking dog after every compression, before training.")
else:
    print("No recording was at hand when this page was built: LOGLEARN_SHARED names no folder that holds one.")
