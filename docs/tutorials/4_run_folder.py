"""
Read a run folder with pandas
=============================

The report answers the questions that most studies ask. For your own questions, everything that a study knows is in
plain files: CSV tables of results, of training and of single predictions. This tutorial reads them with pandas.
"""

# %%
# A study to read
# ---------------
# One network and two compressions on synthetic sounds. :doc:`2_study` explains the settings.

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from loglearn_tf import compare, load_settings, run_study

workspace = tempfile.TemporaryDirectory()  # removed when the script ends
folder = Path(workspace.name)
settings = load_settings(
    "demo",
    [
        f"data.root={folder / 'us8k'}",
        f"features.store_dir={folder / 'stores'}",
        f"runs_dir={folder / 'runs'}",
        "data.synthetic.clips_per_class=5",
        "models=timbre",
        "compressions=[logeps, loglearn]",
        "n_shot=5",
        "folds=[1, 2, 3]",
        "runs=2",
        "training.epochs=25",
        "evaluation.patch_hop=32",
        "tensorboard=none",
        "workers=1",  # each one first takes seconds to load TensorFlow
    ],
)
study = run_study(settings).study_dir

# %%
# One row per run
# ---------------
# ``results.csv`` has a row for every run. The first six columns name it: data set, network, compression, training
# clips per class, test fold and repetition.

results = pd.read_csv(study / "results.csv")
columns = ["compression", "fold", "run", "accuracy", "accuracy_settled", "knee"]
results[columns].round({"accuracy": 2, "accuracy_settled": 2, "knee": 6}).head(8)

# %%
# Runs of the same fold and repetition are a pair: they share training clips, initial weights and patches. So
# subtract **within** pairs, and only then take the mean, first over runs and then over folds. With the spread of
# unpaired accuracies, a real difference can go unnoticed. ``accuracy_settled`` is the fairer score after a short
# training; :doc:`2_study` says why.

pairs = results.pivot(index=["fold", "run"], columns="compression", values="accuracy_settled")
pairs["difference"] = pairs["loglearn"] - pairs["logeps"]
print(pairs.round(3))
print("mean over runs, then folds:", round(pairs["difference"].groupby("fold").mean().mean(), 4))

# %%
# `compare` takes the same table, or a part of it, and adds intervals and verdicts. Its ``mean`` is the number
# above.

(difference,) = compare(results, compression="loglearn", baseline="logeps", score="settled")
print(round(difference.mean, 4), difference.verdict)

# %%
# The course of training
# ----------------------
# The folder of a run is named by the same six columns. ``history.csv`` has a row per epoch; epoch 0 is the state
# before training, which has no loss yet.


def folder_of(row):
    cell = study / row.dataset / row.model / row.compression
    return cell / f"n{row.n_shot:03d}" / f"fold{row.fold:02d}" / f"run{row.run:02d}"


histories = pd.concat(
    pd.read_csv(folder_of(row) / "history.csv").assign(compression=row.compression, fold=row.fold, run=row.run)
    for row in results.itertuples()
)
histories.query("compression == 'loglearn' and fold == 1 and run == 0").drop(columns=["compression"]).head(4)

# %%
# The figure shows every run as a thin line. All losses fall in much the same way, whatever the compression. The
# knee of loglearn falls by a third at most meanwhile, where it would take powers of ten to uncover quiet sounds. A
# network that learns well is no evidence that its compression learned anything.

caption = "Loss of every run, and the knee of loglearn relative to its start."
figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3), layout="constrained", num=caption)
for (name, _, _), one in histories.groupby(["compression", "fold", "run"]):
    color = "C0" if name == "loglearn" else "C1"
    left.plot(one["epoch"], one["loss"], color=color, linestyle="-" if name == "loglearn" else "--", linewidth=1)
    if name == "loglearn":
        right.plot(one["epoch"], one["knee"] / one["knee"].iloc[0], color=color, linewidth=1)
left.plot([], [], "C0-", label="loglearn")
left.plot([], [], "C1--", label="log-EPS")
left.legend()
left.set(xlabel="epoch", ylabel="loss")
right.set(xlabel="epoch", ylabel="knee / knee at the start")
plt.show()

# %%
# Single predictions
# ------------------
# ``predictions.csv`` has a row per test clip, with the probability of each class; ``predictions_settled.csv`` is
# the same for the settled score. Both compressions score the same clips, so their predictions can be joined by
# ``clip_id``. Equal accuracies do not mean equal answers.

predictions = pd.concat(
    pd.read_csv(folder_of(row) / "predictions_settled.csv").assign(
        compression=row.compression, fold=row.fold, run=row.run
    )
    for row in results.itertuples()
)
predictions["correct"] = predictions["class"] == predictions["predicted"]
both = predictions.pivot(index=["fold", "run", "clip_id", "class"], columns="compression", values="correct")
pd.crosstab(both["logeps"], both["loglearn"], rownames=["log-EPS is right"], colnames=["loglearn is right"])

# %%
# Only clips on which the two disagree carry information about their difference. Their classes show where it comes
# from.

changed = both[both["logeps"] != both["loglearn"]]
gained = changed.groupby("class")["loglearn"].agg(loglearn_right="sum", clips="count")
gained.assign(logeps_right=gained["clips"] - gained["loglearn_right"])[["loglearn_right", "logeps_right"]].astype(int)

# %%
# What a run was made with
# ------------------------
# ``result.json`` holds the result again, with the seeds and versions that it came from; its ``identity`` lists
# every setting that the result depends on. Runs with different identities must not be compared, and the package
# refuses to mix them.

run = json.loads((folder_of(next(results.itertuples())) / "result.json").read_text())
print(run["identity"]["training"])

# %%
# Next: :doc:`5_tensorboard` follows alpha, beta and knee during training. :doc:`/reference/files` describes every
# file and column. A pandas DataFrame is not needed for any of this: ``loglearn_tf.analysis.results.read_results``
# gives the rows as dictionaries.
