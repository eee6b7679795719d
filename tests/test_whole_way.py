"""From audio files to the table, through the command line, as a user runs it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, loglearn, results, short_overrides

from loglearn_tf.deploy.predict import find_sounds, predict
from loglearn_tf.deploy.saved_models import head_of, load_model


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.is_file()}


@pytest.fixture(scope="module")
def tut_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "tut"
    loglearn("data", "synthetic", "tut", root, "--clips-per-class", 1, 1)
    return root


DEMO = ROOT / "experiments" / "demo.yaml"


def demo_overrides(home: Path, *more: str) -> list[str]:
    """experiments/demo.yaml as it stands, but for time: two epochs on fewer sounds."""
    return [
        f"data.root={home / 'data'}",
        f"features.store_dir={home / 'stores'}",
        f"runs_dir={home / 'runs'}",
        "data.synthetic.clips_per_class=2",
        "n_shot=[1]",
        "training.epochs=2",
        "evaluation.hop=40",
        "episodic.n_support=1",
        "episodic.n_query=1",
        "episodic.patch_hop=300",
        "episodic.patience=1",
        "save_models=true",
        "workers=2",
        *more,
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The demo, four networks and two compressions, that nothing went wrong with; `said` is what it printed."""
    home = tmp_path_factory.mktemp("undisturbed")
    (home / "said").write_text(loglearn("run", DEMO, *demo_overrides(home)).stdout)
    return home


def folder_of(home: Path, model: str, compression: str = "loglearn") -> Path:
    return home / "runs" / "demo" / "us8k" / model / compression / "n001" / "fold01" / "run00"


def test_a_study_leaves_whole_run_folders_and_one_table(undisturbed):
    rows = results(undisturbed / "runs" / "demo")
    assert [(row["model"], row["compression"]) for row in rows] == [
        (model, compression)
        for model in ("prototypical", "sb_cnn", "timbre", "vgg")
        for compression in ("logeps", "loglearn")
    ]
    for row in rows:
        assert row["status"] == "done" and 0 <= float(row["accuracy"]) <= 1
        folder = folder_of(undisturbed, row["model"], row["compression"])
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.yaml", "history.csv", "model.keras", "predictions.csv", "predictions_settled.csv", "result.json",
            "tensorboard",
        ]  # fmt: skip
        with (folder / "predictions.csv").open() as file:
            predictions = list(csv.DictReader(file))
        assert len(predictions) == 20  # every clip of the fold
        right = sum(line["class"] == line["predicted"] for line in predictions)
        assert right / 20 == float(row["accuracy"])
        with (folder / "history.csv").open() as file:
            first, *_, last = history = list(csv.DictReader(file))
        assert [line["epoch"] for line in history] == [str(epoch) for epoch in range(len(history))]
        episodic = row["model"] == "prototypical"
        assert len(history) == 3 or episodic  # which ends by its own rule
        assert ("alpha_support" in first) == episodic
        if row["compression"] == "loglearn":
            for name in ("alpha", "alpha_support") if episodic else ("alpha",):
                assert float(first[name]) == pytest.approx(1096.633, abs=1e-3) and last[name] != first[name]
            assert last["alpha"] == row["alpha"] != last.get("alpha_support")
        else:
            assert row["alpha"] == first["alpha"] == ""
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        assert settings["training"]["epochs"] == 2 and settings["versions"]["tensorflow"]
        result = json.loads((folder / "result.json").read_text())
        assert result["synthetic"] is True and "git_commit" in result["versions"]


@pytest.mark.parametrize("model", ["prototypical", "sb_cnn", "timbre", "vgg"])
def test_saved_models_predict_what_the_evaluation_gave(undisturbed, model):
    folder = folder_of(undisturbed, model)
    with (folder / "predictions.csv").open() as file:
        expected = {row["clip_id"]: row for row in csv.DictReader(file)}
    classifier = load_model(folder)
    names = head_of(classifier).class_names
    found = list(predict(classifier, find_sounds([undisturbed / "data" / "audio" / "fold1"])))
    assert len(found) == len(expected) == 20
    for prediction in found:
        row = expected[prediction.path.name]
        np.testing.assert_allclose(prediction.probabilities, [float(row[f"p_{name}"]) for name in names], atol=1e-5)
        assert names[prediction.probabilities.argmax()] == row["predicted"]


def test_a_study_ends_with_its_table_and_its_report(undisturbed):
    study = undisturbed / "runs" / "demo"
    said = (undisturbed / "said").read_text()
    assert said.startswith("SYNTHETIC DATA, not UrbanSound8K")
    assert said.count("loglearn - logeps") == 4
    assert f"Report: {study / 'report.html'}" in said
    page = (study / "report.html").read_text()
    assert "SYNTHETIC DATA" in page and "Why only the knee can matter" in page and "Table 2." in page
    assert (study / "figures" / "us8k-curves.svg").is_file() and (study / "tables" / "table1.tex").is_file()


def test_a_second_call_does_nothing_again_and_prints_the_same_table(undisturbed):
    before = files(undisturbed)
    done = loglearn("run", DEMO, *demo_overrides(undisturbed))
    assert "8 of 8 runs are done already" in done.stderr
    assert done.stdout == (undisturbed / "said").read_text()
    after = files(undisturbed)
    changed = {name for name in before if after[name] != before[name]}
    assert {"runs/demo/results.csv", "runs/demo/report.html"} <= changed
    assert not any(name.startswith(("runs/demo/us8k/", "stores/", "data/")) for name in changed)
    assert set(after) == set(before)
    plan = loglearn("plan", DEMO, *demo_overrides(undisturbed))
    assert "all 8 8 0 0" in " ".join(plan.stdout.split()) and "Nothing is left to do." in plan.stdout


def test_a_study_is_rebuilt_from_its_folders(undisturbed):
    study = undisturbed / "runs" / "demo"
    before = (study / "results.csv").read_bytes()
    (study / "results.csv").unlink()
    table = loglearn("results", study).stdout
    assert (study / "results.csv").read_bytes() == before
    assert "loglearn - logeps" in table


def test_a_study_says_what_it_recommends(undisturbed):
    """Of one run each, nothing can be told, and that is what it says."""
    study = undisturbed / "runs" / "demo"
    said = " ".join(loglearn("recommend", study).stdout.split())
    assert "SYNTHETIC DATA: these sounds were computed." in said
    assert said.count("How far differences are from the truth cannot be told: two compressions have one fold") == 4
    data = json.loads(loglearn("recommend", study, "--json").stdout)
    accuracies = {
        (answer["model"], one["compression"]): one["accuracy"]
        for answer in data["parts"][0]["answers"]
        for one in answer["ordered"]["standings"]
    }
    column = {"settled": "accuracy_settled", "published": "accuracy"}[data["parts"][0]["score"]]
    assert accuracies == pytest.approx(
        {(row["model"], row["compression"]): float(row[column]) for row in results(study)}
    )
    # Counted while the runs were done.
    (level,) = data["parts"][0]["levels"]
    assert 0 < level["below_knee"] < 1 and -60 < level["clip_dbfs"][1] < 0


def test_done_with_other_settings_is_not_done(undisturbed):
    done = loglearn("run", DEMO, *demo_overrides(undisturbed, "training.epochs=3"), code=2)
    assert "training.epochs: 2 -> 3" in done.stderr and "name=" in done.stderr


def test_workers_and_other_cells_change_no_result(undisturbed, tmp_path):
    others = [f"runs_dir={tmp_path / 'runs'}", "workers=1", "models=[sb_cnn]", "runs=2"]
    loglearn("run", DEMO, *demo_overrides(undisturbed, *others))
    for compression in ("loglearn", "logeps"):
        for name in ("predictions.csv", "history.csv"):
            one, other = (folder_of(home, "sb_cnn", compression) / name for home in (tmp_path, undisturbed))
            assert one.read_bytes() == other.read_bytes()


def test_two_jobs_do_not_work_on_one_study(undisturbed):
    from filelock import FileLock

    with FileLock(undisturbed / "runs" / "demo" / ".lock"):
        done = loglearn("run", DEMO, *demo_overrides(undisturbed), code=2)
    assert "Another process is working on" in done.stderr


def test_failed_runs_are_exit_code_1_and_are_told(us8k_root, us8k_store, tmp_path):
    overrides = [*short_overrides(us8k_root, tmp_path), f"features.store_dir={us8k_store.folder.parent}"]
    overrides += ["models=[timbre]", "training.learning_rate=1.0e+30", "training.epochs=5", "workers=1"]
    done = loglearn("run", ROOT / "experiments" / "us8k.yaml", *overrides, code=1)
    assert "2 of 2 runs failed" in done.stdout + done.stderr
    row = results(tmp_path / "runs" / "us8k")[0]
    assert row["status"] == "failed" and row["accuracy"] == ""
    (path, _) = (tmp_path / "runs").rglob("result.json")
    assert "at step" in json.loads(path.read_text())["error"]


def test_tut_in_the_official_layout_but_for_missing_clips(tut_root, tmp_path):
    missing = sorted((tut_root / "TUT-acoustic-scenes-2017-evaluation" / "audio").iterdir())[:2]
    for path in missing:
        path.unlink()
    overrides = [*short_overrides(tut_root, tmp_path), "evaluation.hop=100", "models=[timbre,vgg]"]
    refused = loglearn("run", ROOT / "experiments" / "tut.yaml", *overrides, code=2)
    assert f"missing under {tut_root}" in refused.stderr and missing[0].stem in refused.stderr
    done = loglearn("run", ROOT / "experiments" / "tut.yaml", *overrides, "data.allow_missing=true")
    assert done.stdout.startswith("SYNTHETIC DATA, not TUT Acoustic Scenes 2017")
    assert "2 clips of the data set were missing and left out" in done.stdout
    rows = results(tmp_path / "runs" / "tut")
    assert len(rows) == 4 and {row["status"] for row in rows} == {"done"}
    predictions = (tmp_path / "runs/tut/tut/vgg/loglearn/n001/fold01/run00/predictions.csv").read_text().splitlines()
    assert len(predictions) == 1 + 15 - 2 and "p_cafe/restaurant" in predictions[0]
