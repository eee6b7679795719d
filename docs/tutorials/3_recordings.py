"""
Compare compressions on your own recordings
===========================================

Which compression suits *your* sounds depends on how loud they are and on what tells the classes apart. This
tutorial goes from files in a folder to a recommendation: lay the files out, check them, run a small study, read the
answer.
"""

# %%
# Lay out the files
# -----------------
# The simplest layout is one folder per class. Often that is not enough: clips that were cut from one recording, or
# made on one day in one place, sound alike. If some of them train the network and others test it, the accuracy is
# too high. A CSV file with a column ``group`` prevents that, because a group is never split between folds.
#
# Synthetic sounds stand for your recordings here: five days, on each of which two clips of every class were
# recorded.

import csv
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile

from loglearn_tf import load_dataset, load_settings, recommend, run_study
from loglearn_tf.datasets import make_synthetic
from loglearn_tf.datasets.check import check_data, summary

workspace = tempfile.TemporaryDirectory()  # removed when the script ends
folder = Path(workspace.name)
days = ("monday", "tuesday", "wednesday", "thursday", "friday")
names = ("dog_bark", "siren", "street_music", "jackhammer")
sounds = load_dataset(
    "us8k", make_synthetic("us8k", folder / "us8k", clips_per_class=[2], folds=range(1, 1 + len(days)))
)

recordings = folder / "recordings"
rows = []
for clip in sounds.clips:
    label, day = sounds.classes[clip.label], days[clip.fold - 1]
    if label in names:
        path = f"{day}/{label}_{len(rows)}.wav"
        (recordings / day).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip.path, recordings / path)
        rows.append({"path": path, "label": label, "group": day})


def write_csv():
    with (recordings / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "group"])
        writer.writeheader()
        writer.writerows(rows)


write_csv()
print("\n".join((recordings / "clips.csv").read_text().splitlines()[:4]))

# %%
# Check them
# ----------
# Bad files are common and hard to hear about later: a recorder that was switched on without a microphone, the same
# clip stored under two names. Two such files are added here on purpose. `check_data` decodes every clip and
# compares it with all others. ``loglearn data check`` prints the same on the command line.

soundfile.write(recordings / "monday" / "silence.wav", np.zeros(44_100), 44_100)
shutil.copy(recordings / rows[0]["path"], recordings / "friday" / "copy.wav")
good = list(rows)
rows.append({"path": "monday/silence.wav", "label": "siren", "group": "monday"})
rows.append({"path": "friday/copy.wav", "label": rows[0]["label"], "group": "friday"})
write_csv()
print(summary(check_data(recordings / "clips.csv")).replace(str(folder), ""))

# %%
# A duplicate in two folds is an error: the network would be tested on a sound that trained it. Take both files off
# the list. `load_dataset` then reads it as a study will. Each day becomes a fold.

rows = good
write_csv()
dataset = load_dataset("folder", recordings / "clips.csv", validation_fold="none")
print(len(dataset.clips), "clips of", ", ".join(dataset.classes))
for fold in sorted({clip.fold for clip in dataset.clips}):
    print("fold", fold, sorted({clip.group for clip in dataset.clips if clip.fold == fold}))

# %%
# Run a small study
# -----------------
# The experiment ``folder`` is made for this. It compares log-EPS with loglearn in three forms: learned, fixed where
# it starts, and started from the data. The fixed form is what tells the effect of *learning* from that of the
# *formula*. This study is far too small for a decision; it is meant to finish in seconds.

settings = load_settings(
    "folder",
    [
        "name=mine",
        f"data.root={recordings / 'clips.csv'}",
        f"features.store_dir={folder / 'stores'}",
        f"runs_dir={folder / 'runs'}",
        "compressions=[logeps, loglearn, loglearn_fixed, loglearn_adapted]",
        "n_shot=3",
        "runs=1",
        "training.epochs=10",
        "evaluation.patch_hop=32",
        "tensorboard=none",
        "workers=1",  # each one first takes seconds to load TensorFlow
    ],
)
result = run_study(settings)
print(result)

# %%
# Read the answer
# ---------------
# `recommend` puts the result into sentences: which compressions can still be the best, which one to use, what
# learning adds, how loud the recordings are for a knee, and what it would take to know more. It goes by the settled
# score, which :doc:`2_study` explains; the table above shows the published one. In a training as short as this one
# the two differ, and it warns of that.

answer = recommend(result.study_dir)
print(answer)

# %%
# The same numbers are attributes, for programs. ``to_json`` gives all of them as plain data. The figure shows every
# run by its test fold. Where folds differ a lot, more folds tell more than more runs on the same folds.

(found,) = answer.parts[0].answers
print("recommended:", found.recommended, "because:", found.reason)
print("can be the best:", ", ".join(found.can_be_best))

caption = "Settled accuracy of every run, by its test fold. Each fold is one day."
figure, axes = plt.subplots(layout="constrained", num=caption)
for index, name in enumerate(settings.compressions):
    runs = [row for row in result.rows if row["compression"] == name]
    shifted = [row["fold"] + 0.12 * (index - 1.5) for row in runs]
    axes.plot(shifted, [100 * row["accuracy_settled"] for row in runs], "os^D"[index], label=name)
axes.set(xlabel="test fold", ylabel="accuracy, %", xticks=range(1, 6), ylim=(-5, 105))
figure.legend(loc="outside upper center", ncols=2)
plt.show()

# %%
# Next: on your own files, use the command line or this script with ``runs=5`` and without the lines that shorten
# it. :doc:`/howto/recordings` lists the columns of the CSV file and what makes an answer worth having.
