"""
Run a study and read its differences
====================================

Is loglearn better than a fixed logarithm? One training run each cannot tell: another draw of the training clips, or
other initial weights, may turn the result around. A **study** repeats the comparison over folds and repetitions.
Within each repetition, all compressions get the same clips, the same initial weights and the same patches. So the
difference within a pair is due to the compression, and the spread between pairs shows how far to trust it.

This tutorial runs a small study from Python.
"""

# %%
# Describe the study
# ------------------
# `load_settings` reads a YAML file, or one of the experiments that come with the package, and applies changes in
# the form ``key=value``. The experiment ``demo`` uses synthetic sounds. Here it is cut down to seconds: one
# network, two training clips per class, few epochs.
#
# The third compression matters: ``loglearn_adapted`` starts with its knee at a quantile of the training clips.
# Comparing it with ``loglearn`` separates *where the knee starts* from *whether it is learned*.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

from loglearn_tf import load_settings, run_study
from loglearn_tf.analysis.statistics import compare_all

workspace = tempfile.TemporaryDirectory()  # removed when the script ends
folder = Path(workspace.name)
settings = load_settings(
    "demo",
    [
        f"data.root={folder / 'us8k'}",
        f"features.store_dir={folder / 'stores'}",
        f"runs_dir={folder / 'runs'}",
        "data.synthetic.clips_per_class=4",
        "models=timbre",
        "compressions=[logeps, loglearn, loglearn_adapted]",
        "n_shot=2",
        "folds=[1, 2, 3, 4]",  # each fold is the test fold once
        "runs=2",  # repetitions per fold, each with other clips and weights
        "training.epochs=12",
        "evaluation.patch_hop=32",
        "tensorboard=none",
        "workers=1",  # each one first takes seconds to load TensorFlow
    ],
)

# %%
# Run it
# ------
# `run_study` computes the features once, trains in separate processes, and returns when all is done. Your own
# process, its random state and TensorFlow settings included, stays as it is.

result = run_study(settings)
print(f"{len(result.rows)} runs, {len(result.failed)} failed")
print(result)

# %%
# A study can be interrupted at any time. The same call continues from the runs that are finished. Here all of them
# are:

steps = []
result = run_study(settings, on_progress=steps.append)
print(f"{len(result.rows)} runs found on disk, {len(steps)} steps of new work")

# %%
# Read the differences
# --------------------
# ``result.comparisons`` holds one entry per cell of the grid: the accuracy of a compression minus that of log-EPS,
# its 95 % interval, and a verdict. The interval is computed from the differences of whole folds, because runs that
# share a fold share their test clips and are not independent.


def in_points(one):
    return [100 * value for value in (one.mean, one.low, one.high)]


def show(comparisons):
    for one in comparisons:
        difference = "{:+5.1f} points ({:+.1f} to {:+.1f})".format(*in_points(one))
        print(f"{one.compression:17} minus {one.baseline}: {difference}, {one.n_pairs} pairs: {one.verdict}")


show(result.comparisons)

# %%
# Four verdicts are possible. ``better`` and ``worse`` need a difference that chance does not explain.
# ``equivalent`` needs an interval within the margin of 2 points on both sides. Everything else is ``undecided``,
# which is not the same as "no difference": it says that the study was too small to tell.
#
# Ask what the accuracy rests on
# ------------------------------
# A large difference after so little training deserves suspicion. Batch normalisation uses the moments of each batch
# while it trains, and moving averages of them when it is tested. After few updates these averages still contain
# much of their initial values, and that hurts some compressions more than others. So every run is scored twice with
# the same weights: as published, and **settled**, with the remainder of the initial values removed.

settled = compare_all(result.rows, score="settled")
show(settled)

# %%
# Most of the apparent lead came from moving averages that had not settled, not from the compression. Where the two
# scores disagree, trust the settled one, or train longer. :doc:`/explanation/scales` has the details.

caption = "Accuracy minus that of log-EPS, with 95 % intervals, by both scores. The band is the margin of equivalence."
figure, axes = plt.subplots(figsize=(5.6, 2.8), layout="constrained", num=caption)
for shift, name, comparisons in ((0.12, "published", result.comparisons), (-0.12, "settled", settled)):
    rows = [row + shift for row in range(len(comparisons))]
    middle, low, high = zip(*map(in_points, comparisons), strict=True)
    below = [m - end for m, end in zip(middle, low, strict=True)]
    above = [end - m for m, end in zip(middle, high, strict=True)]
    axes.errorbar(middle, rows, xerr=[below, above], fmt="o" if name == "settled" else "s", capsize=4, label=name)
margin = 100 * settled[0].margin
axes.axvspan(-margin, margin, color="C2", alpha=0.15)
axes.axvline(0, color="C2", linewidth=1)
axes.set(ylim=(-0.5, len(settled) - 0.5), xlabel="difference in accuracy, points")
axes.set_yticks(range(len(settled)), [one.compression for one in settled])
figure.legend(loc="outside upper center", ncols=2)
plt.show()

# %%
# The report
# ----------
# The same study as a page with tables, figures and a verdict on each difference is in ``report.html``. It is a
# single file that needs no network. :doc:`/auto_gallery/report` shows what it looks like.

for path in sorted(result.study_dir.glob("[!.]*")):
    print(path.relative_to(folder))

# %%
# Next: :doc:`3_recordings` does the same for recordings of your own, and :doc:`4_run_folder` opens the files of
# single runs. :doc:`/howto/contrasts` says how to plan a study that is large enough to decide.
