"""From audio files to the table, through the command line, as a user runs it: in a process of its own for a study that
is done, and once begun, where the process does not matter, by calling what that process calls.
"""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from conftest import ROOT, loglearn, results, short_overrides

from loglearn_tf._util.registry import folder_name
from loglearn_tf.cli import main
from loglearn_tf.datasets.synthetic import make_tut
from loglearn_tf.deploy.predict import find_sounds, predict
from loglearn_tf.deploy.saved_models import head_of, load_model


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.is_file()}


def called(capsys, *arguments: object, code: int = 0) -> tuple[str, str]:
    """What a command that is called here writes to stdout and stderr."""
    assert main([*map(str, arguments)]) == code
    return capsys.readouterr()


@pytest.fixture(scope="module")
def tut(tmp_path_factory) -> tuple[Path, list[Path]]:
    """A folder in the official layout, with clips of 3 s instead of 10, and the two files that are missing from it."""
    root = make_tut(tmp_path_factory.mktemp("data") / "tut", clips_per_class=(1, 1), duration_s=3.0)
    missing = sorted((root / "TUT-acoustic-scenes-2017-evaluation" / "audio").iterdir())[:2]
    for path in missing:
        path.unlink()
    return root, missing


DEMO = ROOT / "experiments" / "demo.yaml"
# Of each way to train one network, with dropout in both; and the demo's, of which the one with 128 filters takes long.
EPISODIC = ("narrow_networks:NARROW", "prototypical")
TWO = ("narrow_networks:NARROW", "sb_cnn")
FOUR = ("prototypical", "sb_cnn", "timbre", "vgg")


def demo_overrides(home: Path, *more: str, models: tuple[str, ...] = TWO) -> list[str]:
    """experiments/demo.yaml as it stands, but for time: two epochs on fewer sounds."""
    return [
        f"models=[{','.join(models)}]",
        f"data.root={home / 'data'}",
        f"features.store_dir={home / 'stores'}",
        f"runs_dir={home / 'runs'}",
        "data.synthetic.clips_per_class=2",
        "data.synthetic.folds=[1,2,3]",
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


class Demo(NamedTuple):
    """The demo with some networks and two compressions, that nothing went wrong with; `said` is what it printed."""

    home: Path
    models: tuple[str, ...]
    said: str


def run_demo(home: Path, models: tuple[str, ...]) -> Demo:
    return Demo(home, models, loglearn("run", DEMO, *demo_overrides(home, models=models)).stdout)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Demo:
    return run_demo(tmp_path_factory.mktemp("two"), TWO)


@pytest.fixture(scope="module")
def four(tmp_path_factory) -> Demo:
    return run_demo(tmp_path_factory.mktemp("four"), FOUR)


@pytest.fixture
def undisturbed(two) -> Path:
    return two.home


@pytest.fixture(params=["two", pytest.param("four", marks=pytest.mark.long)])
def demo(request) -> Demo:
    return request.getfixturevalue(request.param)


def folder_of(home: Path, model: str, compression: str = "loglearn") -> Path:
    return home / "runs" / "demo" / "us8k" / folder_name(model) / compression / "n001" / "fold01" / "run00"


def test_a_study_leaves_whole_run_folders_and_one_table(demo):
    rows = results(demo.home / "runs" / "demo")
    assert [(row["model"], row["compression"]) for row in rows] == [
        (model, compression) for model in demo.models for compression in ("logeps", "loglearn")
    ]
    for row in rows:
        assert row["status"] == "done" and 0 <= float(row["accuracy"]) <= 1
        folder = folder_of(demo.home, row["model"], row["compression"])
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
        episodic = row["model"] in EPISODIC
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


@pytest.mark.parametrize(
    ("demo", "model"),
    [
        *(("two", model) for model in TWO),
        *(pytest.param("four", model, marks=pytest.mark.long) for model in FOUR),
    ],
    indirect=["demo"],
)
def test_saved_models_predict_what_the_evaluation_gave(demo, model):
    folder = folder_of(demo.home, model)
    with (folder / "predictions.csv").open() as file:
        expected = {row["clip_id"]: row for row in csv.DictReader(file)}
    classifier = load_model(folder)
    names = head_of(classifier).class_names
    found = list(predict(classifier, find_sounds([demo.home / "data" / "audio" / "fold1"])))
    assert len(found) == len(expected) == 20
    for prediction in found:
        row = expected[prediction.path.name]
        np.testing.assert_allclose(prediction.probabilities, [float(row[f"p_{name}"]) for name in names], atol=1e-5)
        assert names[prediction.probabilities.argmax()] == row["predicted"]


def test_a_study_ends_with_its_table_and_its_report(demo):
    study = demo.home / "runs" / "demo"
    assert demo.said.startswith("SYNTHETIC DATA, not UrbanSound8K")
    assert demo.said.count("loglearn - logeps") == len(demo.models)
    assert f"Report: {study / 'report.html'}" in demo.said
    page = (study / "report.html").read_text()
    assert "SYNTHETIC DATA" in page and "Why only the knee can matter" in page and "Table 2." in page
    assert (study / "figures" / "us8k-curves.svg").is_file() and (study / "tables" / "table1.tex").is_file()


@pytest.mark.usefixtures("networks_checked_here", "undrawn")
def test_a_second_call_does_nothing_again_and_prints_the_same_table(two, undisturbed, capsys):
    before = files(undisturbed)
    said, told = called(capsys, "run", DEMO, *demo_overrides(undisturbed))
    assert "4 of 4 runs are already done" in told
    assert said == two.said
    after = files(undisturbed)
    changed = {name for name in before if after[name] != before[name]}
    assert {"runs/demo/results.csv", "runs/demo/report.html"} <= changed
    assert not any(name.startswith(("runs/demo/us8k/", "stores/", "data/")) for name in changed)
    assert set(after) == set(before)
    plan, _ = called(capsys, "plan", DEMO, *demo_overrides(undisturbed))
    assert "all 4 4 0 0" in " ".join(plan.split()) and "Nothing left to do." in plan


def test_a_study_is_rebuilt_from_its_folders(undisturbed, capsys):
    study = undisturbed / "runs" / "demo"
    before = (study / "results.csv").read_bytes()
    (study / "results.csv").unlink()
    table, _ = called(capsys, "results", study)
    assert (study / "results.csv").read_bytes() == before
    assert "loglearn - logeps" in table


def test_a_study_says_what_it_recommends(undisturbed, capsys):
    """Of one run each, nothing can be told, and that is what it says."""
    study = undisturbed / "runs" / "demo"
    said = " ".join(called(capsys, "recommend", study)[0].split())
    assert "SYNTHETIC DATA: these sounds are computed." in said
    n_networks = len({row["model"] for row in results(study)})
    told = "The precision of the differences is unknown: two compressions have only a single fold with one run each"
    assert said.count(told) == n_networks > 1
    data = json.loads(called(capsys, "recommend", study, "--json")[0])
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


def test_done_with_other_settings_is_not_done(undisturbed, capsys):
    _, told = called(capsys, "run", DEMO, *demo_overrides(undisturbed, "training.epochs=3"), code=2)
    assert "training.epochs: 2 -> 3" in told and "name=" in told


def test_workers_and_other_cells_change_no_result(undisturbed, tmp_path, capsys):
    others = [f"runs_dir={tmp_path / 'runs'}", "workers=1", "compressions=[loglearn]", "runs=2", "tensorboard=none"]
    called(capsys, "run", DEMO, *demo_overrides(undisturbed, *others, models=("sb_cnn",)))
    for name in ("predictions.csv", "history.csv"):
        one, other = (folder_of(home, "sb_cnn") / name for home in (tmp_path, undisturbed))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.usefixtures("networks_checked_here")
def test_two_jobs_do_not_work_on_one_study(undisturbed, capsys):
    from filelock import FileLock

    with FileLock(undisturbed / "runs" / "demo" / ".lock"):
        _, told = called(capsys, "run", DEMO, *demo_overrides(undisturbed), code=2)
    assert "Another process is working on" in told


@pytest.mark.usefixtures("runs_here", "undrawn")
def test_failed_runs_are_exit_code_1_and_are_told(us8k_root, us8k_store, tmp_path, capsys):
    overrides = [*short_overrides(us8k_root, tmp_path), f"features.store_dir={us8k_store.folder.parent}"]
    overrides += ["models=[timbre]", "training.learning_rate=1.0e+30", "training.epochs=5", "workers=1"]
    said, told = called(capsys, "run", ROOT / "experiments" / "us8k.yaml", *overrides, code=1)
    assert "2 of 2 runs failed" in said + told
    row = results(tmp_path / "runs" / "us8k")[0]
    assert row["status"] == "failed" and row["accuracy"] == ""
    (path, _) = (tmp_path / "runs").rglob("result.json")
    assert "at step" in json.loads(path.read_text())["error"]


@pytest.mark.usefixtures("runs_here", "undrawn")
@pytest.mark.parametrize("model", ["timbre", pytest.param("vgg", marks=pytest.mark.long)])
def test_tut_in_the_official_layout_but_for_missing_clips(tut, tmp_path, capsys, model):
    root, missing = tut
    overrides = [*short_overrides(root, tmp_path), "evaluation.hop=100", f"models=[{model}]", "workers=1"]
    _, told = called(capsys, "run", ROOT / "experiments" / "tut.yaml", *overrides, code=2)
    assert f"missing under {root}" in told and missing[0].stem in told
    said, _ = called(capsys, "run", ROOT / "experiments" / "tut.yaml", *overrides, "data.allow_missing=true")
    assert said.startswith("SYNTHETIC DATA, not TUT Acoustic Scenes 2017")
    assert "2 clips of the data set were missing and were skipped" in said
    rows = results(tmp_path / "runs" / "tut")
    assert len(rows) == 2 and {row["status"] for row in rows} == {"done"}
    run = tmp_path / "runs" / "tut" / "tut" / model / "loglearn" / "n001" / "fold01" / "run00"
    predictions = (run / "predictions.csv").read_text().splitlines()
    assert len(predictions) == 1 + 15 - 2 and "p_cafe/restaurant" in predictions[0]
