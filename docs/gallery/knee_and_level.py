"""
The knee is a level
===================

A logarithm with a knee, ``log(mel + knee)``, hides what lies below the knee. How much that is depends on the level
of the recording. Making a recording quieter by 20 dB divides its power by 100, which has the same effect as a knee
that is 100 times higher.
"""

# %%
# Each row is one level, each column one knee. The three pictures from the lower left to the upper right are
# identical: as the clip gets quieter, the knee follows.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from loglearn_tf import LearnableLog, LogEps, MelSpectrogram
from loglearn_tf.audio import load_waveform
from loglearn_tf.datasets import load_dataset, make_synthetic

sample_rate = 44_100
with tempfile.TemporaryDirectory() as folder:
    dataset = load_dataset("us8k", make_synthetic("us8k", Path(folder) / "us8k", clips_per_class=[3], folds=[1]))
    barks = [clip for clip in dataset.clips if dataset.classes[clip.label] == "dog_bark"]
    waveform = max((load_waveform(clip.path, sample_rate=sample_rate) for clip in barks), key=len)
mel = np.asarray(MelSpectrogram(sample_rate=sample_rate)(waveform[np.newaxis]))

start = float(LearnableLog().knee)
knees = [start / 10_000, start / 100, start]
levels_db = [0, -20, -40]

caption = "One clip at three levels (rows), compressed with three knees (columns)."
figure, panels = plt.subplots(3, 3, figsize=(5.8, 5.4), sharex=True, sharey=True, layout="constrained", num=caption)
for row, level in zip(panels, levels_db, strict=True):
    for axes, knee in zip(row, knees, strict=True):
        layer = LearnableLog.from_values(alpha=1 / knee, beta=1)
        values = np.asarray(layer(mel * 10 ** (level / 10)))[0]
        extent = (0, len(values) * 1024 / sample_rate, 0, values.shape[1])
        axes.imshow(values.T, origin="lower", aspect="auto", cmap="magma", extent=extent)
        axes.set_title(f"{level} dB, knee {knee:.0e}", fontsize=9)
figure.supxlabel("seconds")
figure.supylabel("mel band")
plt.show()

# %%
# How much is hidden
# ------------------
# The share of the clip's mel bins below the knee, against the level. At the published start of loglearn most of
# the clip is below the knee even at full level. The eps of log-EPS is a knee, too, but so low that nothing reaches
# it.

marks = {
    f"loglearn at its start, {start:.1e}": start,
    "a low knee, 1e-8": 1e-8,
    f"log-EPS, {LogEps().eps:.1e}": LogEps().eps,
}
levels = np.arange(-80, 1, 2)
caption = "Share of one clip's mel bins below three knees, against the level of the recording."
figure, axes = plt.subplots(figsize=(5.6, 3.6), layout="constrained", num=caption)
for (label, knee), style in zip(marks.items(), ("-", "--", ":"), strict=True):
    below = [100 * (mel * 10 ** (level / 10) < knee).mean() for level in levels]
    axes.plot(levels, below, style, label=label)
axes.set(xlabel="level of the recording, dB", ylabel="mel bins below the knee, %", ylim=(-2, 102))
figure.legend(loc="outside upper left", title="knee", alignment="left")
plt.show()

# %%
# :doc:`/explanation/knee` says why training does not repair a knee that starts in the wrong place, and ``loglearn
# explain`` draws the second figure for your own recordings.
