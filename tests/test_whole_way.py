"""From audio files to the table, through the command line, as a user runs it."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, short_overrides

from loglearn_tf.predict import find_sounds, predict
from loglearn_tf.saved_models import head_of, load_model

# More moments than a quick check needs: LOGLEARN_KILLS=10 make test
N_KILLS = int(os.environ.get("LOGLEARN_KILLS", "3"))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "loglearn_tf.cli", *map(str, arguments)]


def loglearn(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def results(study_dir: Path) -> list[dict[str, str]]:
    """results.csv without its two columns of wall-clock seconds, which no two jobs share."""
    with (study_dir / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if not key.endswith("_seconds")} for row in rows]


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.is_file()}


@pytest.fixture(scope="module")
def tut_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "tut"
    loglearn("data", "synthetic", "tut", root, "--clips-per-class", 1, 1)
    return root


@pytest.fixture(scope="module")
def undisturbed(us8k_root, tmp_path_factory) -> Path:
    """A study of four networks and two compressions that nothing went wrong with."""
    home = tmp_path_factory.mktemp("undisturbed")
    loglearn("run", ROOT / "experiments" / "us8k.yaml", *short_overrides(us8k_root, home), "save_models=true")
    return home


def test_a_study_leaves_whole_run_folders_and_one_table(undisturbed):
    study = undisturbed / "runs" / "us8k"
    rows = results(study)
    assert [(row["model"], row["compression"]) for row in rows] == [
        (model, compression)
        for model in ("prototypical", "sb_cnn", "timbre", "vgg")
        for compression in ("logeps", "loglearn")
    ]
    for row in rows:
        assert row["status"] == "done" and 0 <= float(row["accuracy"]) <= 1
        folder = study / "us8k" / row["model"] / row["compression"] / "n001" / "fold01" / "run00"
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.yaml", "history.csv", "model.keras", "predictions.csv", "result.json", "tensorboard",
        ]  # fmt: skip
        with (folder / "predictions.csv").open() as file:
            predictions = list(csv.DictReader(file))
        assert len(predictions) == 20  # every clip of the fold
        right = sum(line["class"] == line["predicted"] for line in predictions)
        assert right / 20 == float(row["accuracy"])
        with (folder / "history.csv").open() as file:
            history = list(csv.DictReader(file))
        trained = row["model"] != "prototypical"  # n = 1 has fewer patches than an update has queries
        assert [line["epoch"] for line in history] == (["0", "1", "2"] if trained else ["0"])
        assert ("alpha_support" in history[0]) != trained
        if row["compression"] == "loglearn":
            assert float(history[0]["alpha"]) == pytest.approx(1096.633, abs=1e-3)
            assert history[-1]["alpha"] == row["alpha"]
            assert (row["alpha"] != history[0]["alpha"]) == trained
        else:
            assert row["alpha"] == history[0]["alpha"] == ""
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        assert settings["training"]["epochs"] == 2 and settings["versions"]["tensorflow"]
        result = json.loads((folder / "result.json").read_text())
        assert result["synthetic"] is True and "git_commit" in result["versions"]


@pytest.mark.parametrize("model", ["prototypical", "sb_cnn", "timbre", "vgg"])
def test_saved_models_predict_what_the_evaluation_gave(undisturbed, us8k_root, model):
    folder = undisturbed / "runs" / "us8k" / "us8k" / model / "loglearn" / "n001" / "fold01" / "run00"
    with (folder / "predictions.csv").open() as file:
        expected = {row["clip_id"]: row for row in csv.DictReader(file)}
    classifier = load_model(folder)
    names = head_of(classifier).class_names
    found = list(predict(classifier, find_sounds([us8k_root / "audio" / "fold1"])))
    assert len(found) == len(expected) == 20
    for prediction in found:
        row = expected[prediction.path.name]
        np.testing.assert_allclose(prediction.probabilities, [float(row[f"p_{name}"]) for name in names], atol=1e-5)
        assert names[prediction.probabilities.argmax()] == row["predicted"]


def test_a_study_ends_with_its_report(undisturbed, us8k_root):
    study = undisturbed / "runs" / "us8k"
    done = loglearn("run", ROOT / "experiments" / "us8k.yaml", *short_overrides(us8k_root, undisturbed))
    assert f"Report: {study / 'report.html'}" in done.stdout
    page = (study / "report.html").read_text()
    assert "SYNTHETIC DATA" in page and "Why only the knee can matter" in page and "Table 2." in page
    assert (study / "figures" / "us8k-curves.svg").is_file() and (study / "tables" / "table1.tex").is_file()


def test_a_second_call_does_nothing_again_and_prints_the_same_table(undisturbed, us8k_root):
    before = files(undisturbed)
    overrides = [*short_overrides(us8k_root, undisturbed), "save_models=true"]
    done = loglearn("run", ROOT / "experiments" / "us8k.yaml", *overrides)
    assert "8 of 8 runs are done already" in done.stderr
    assert done.stdout.startswith("SYNTHETIC DATA, not UrbanSound8K")
    after = files(undisturbed)
    changed = {name for name in before if after[name] != before[name]}
    assert {"runs/us8k/results.csv", "runs/us8k/report.html"} <= changed
    assert not any(name.startswith(("runs/us8k/us8k/", "stores/")) for name in changed)
    assert set(after) == set(before)
    plan = loglearn("plan", ROOT / "experiments" / "us8k.yaml", *short_overrides(us8k_root, undisturbed))
    assert "all 8 8 0 0" in " ".join(plan.stdout.split()) and "Nothing is left to do." in plan.stdout


def test_a_study_is_rebuilt_from_its_folders(undisturbed):
    study = undisturbed / "runs" / "us8k"
    before = (study / "results.csv").read_bytes()
    (study / "results.csv").unlink()
    table = loglearn("results", study).stdout
    assert (study / "results.csv").read_bytes() == before
    assert "loglearn - logeps" in table


def test_done_with_other_settings_is_not_done(undisturbed, us8k_root):
    overrides = [*short_overrides(us8k_root, undisturbed), "training.epochs=3"]
    done = loglearn("run", ROOT / "experiments" / "us8k.yaml", *overrides, code=2)
    assert "training.epochs: 2 -> 3" in done.stderr and "name=" in done.stderr


def test_workers_and_other_cells_change_no_result(undisturbed, us8k_root, tmp_path):
    overrides = [*short_overrides(us8k_root, tmp_path), "workers=1", "models=[sb_cnn]", "runs=2"]
    loglearn("run", ROOT / "experiments" / "us8k.yaml", *overrides)
    for compression in ("loglearn", "logeps"):
        run = Path("runs/us8k/us8k/sb_cnn") / compression / "n001/fold01/run00"
        for name in ("predictions.csv", "history.csv"):
            assert (tmp_path / run / name).read_bytes() == (undisturbed / run / name).read_bytes()


def test_two_jobs_do_not_work_on_one_study(undisturbed, us8k_root):
    from filelock import FileLock

    with FileLock(undisturbed / "runs" / "us8k" / ".lock"):
        overrides = short_overrides(us8k_root, undisturbed)
        done = loglearn("run", ROOT / "experiments" / "us8k.yaml", *overrides, code=2)
    assert "Another process is working on" in done.stderr


def test_failed_runs_are_exit_code_1_and_are_told(us8k_root, tmp_path):
    overrides = [*short_overrides(us8k_root, tmp_path), "models=[timbre]", "training.learning_rate=1.0e+30"]
    done = loglearn("run", ROOT / "experiments" / "us8k.yaml", *overrides, "training.epochs=5", code=1)
    assert "2 of 2 runs failed" in done.stdout + done.stderr
    row = results(tmp_path / "runs" / "us8k")[0]
    assert row["status"] == "failed" and row["accuracy"] == ""
    (path, _) = (tmp_path / "runs").rglob("result.json")
    assert "at step" in json.loads(path.read_text())["error"]


def test_missing_clips_are_told_with_the_table(us8k_root, tmp_path):
    import shutil

    root = Path(shutil.copytree(us8k_root, tmp_path / "copy"))
    for path in sorted((root / "audio" / "fold1").glob("*.wav"))[:3]:
        path.unlink()
    overrides = [*short_overrides(root, tmp_path), "models=[timbre]", "data.allow_missing=true"]
    done = loglearn("run", ROOT / "experiments" / "us8k.yaml", *overrides)
    assert "3 clips of the data set were missing and left out" in done.stdout


def test_tut_in_the_official_layout(tut_root, tmp_path):
    overrides = [*short_overrides(tut_root, tmp_path), "evaluation.hop=100", "episodic.patch_hop=300"]
    done = loglearn("run", ROOT / "experiments" / "tut.yaml", *overrides)
    assert done.stdout.startswith("SYNTHETIC DATA, not TUT Acoustic Scenes 2017")
    rows = results(tmp_path / "runs" / "tut")
    assert len(rows) == 8 and {row["status"] for row in rows} == {"done"}
    predictions = (tmp_path / "runs/tut/tut/vgg/loglearn/n001/fold01/run00/predictions.csv").read_text().splitlines()
    assert len(predictions) == 1 + 15 and "p_cafe/restaurant" in predictions[0]


def test_the_demo_is_whole(tmp_path):
    """experiments/demo.yaml as it stands, but for time: two epochs on fewer sounds."""
    overrides = [
        f"data.root={tmp_path / 'data'}", f"features.store_dir={tmp_path / 'stores'}", f"runs_dir={tmp_path / 'runs'}",
        "data.synthetic.clips_per_class=2", "n_shot=[2]", "training.epochs=2", "evaluation.hop=40",
        "episodic.n_support=1", "episodic.n_query=2", "episodic.patience=1",
    ]  # fmt: skip
    done = loglearn("run", ROOT / "experiments" / "demo.yaml", *overrides)
    assert done.stdout.startswith("SYNTHETIC DATA")
    assert done.stdout.count("loglearn - logeps") == 4
    (history,) = (tmp_path / "runs").glob("demo/us8k/prototypical/loglearn/*/*/*/history.csv")
    with history.open() as file:
        first, *_, last = csv.DictReader(file)
    for name in ("alpha", "alpha_support"):
        assert float(first[name]) == pytest.approx(1096.633, abs=1e-3) and last[name] != first[name]
    assert last["alpha"] != last["alpha_support"]


def test_ctrl_c_ends_at_once_and_says_how_to_go_on(us8k_root, tmp_path):
    """SIGINT to the whole process group, as a terminal sends it, while two workers train."""
    overrides = [*short_overrides(us8k_root, tmp_path), "models=[vgg]", "runs=4", "training.epochs=40"]
    process = subprocess.Popen(
        command("run", ROOT / "experiments" / "us8k.yaml", *overrides),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Shells start background jobs, as the one that runs these tests may be, with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    study = tmp_path / "runs" / "us8k"
    while not list(study.rglob("result.json")):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Stopped. What was finished is kept; the same command goes on from here." in said
    assert "Traceback" not in said
    deadline = time.monotonic() + 10
    with pytest.raises(ProcessLookupError):  # no process is left
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    n_done = len(list(study.rglob("result.json")))
    assert 1 <= n_done < 8
    assert f"{n_done} of 8 runs done, 0 failed, {8 - n_done} to do" in loglearn("status", study).stdout


def test_a_killed_job_ends_as_an_undisturbed_one(us8k_root, tmp_path):
    """kill -9 at random moments of the job, features and training; then the same command again."""

    def job(home: Path) -> list[str]:
        overrides = [*short_overrides(us8k_root, home), "models=[sb_cnn,timbre]", "runs=2", "save_models=true"]
        return command("run", ROOT / "experiments" / "us8k.yaml", *overrides)

    undisturbed = tmp_path / "undisturbed"
    started = time.monotonic()
    subprocess.run(job(undisturbed), check=True, capture_output=True)
    duration_s = time.monotonic() - started
    expected = results(undisturbed / "runs" / "us8k")
    assert len(expected) == 8 and {row["status"] for row in expected} == {"done"}
    moments = random.Random(0)
    for kill in range(N_KILLS):
        for attempt in range(5):
            home = tmp_path / f"kill{kill}_{attempt}"
            started = time.monotonic()
            process = subprocess.Popen(job(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                # One kill in every stretch of the job, somewhere in it.
                process.wait(timeout=duration_s * (kill + moments.random()) / N_KILLS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                break
            duration_s = time.monotonic() - started  # shorter than before: the machine has less to do
        else:
            pytest.fail("The job was never running any more when it was to be killed.")
        study = home / "runs" / "us8k"
        finished = {path: path.stat().st_mtime_ns for path in study.glob("us8k/**/result.json")}
        again = subprocess.run(job(home), check=True, capture_output=True, text=True)
        # What was finished is not done again: neither counted among the runs, nor written.
        n_left = len(expected) - len(finished)
        assert again.stderr.count(": accuracy ") == n_left
        assert not finished or f"{len(finished)} of {len(expected)} runs are done already" in again.stderr
        assert {path: path.stat().st_mtime_ns for path in finished} == finished
        assert results(study) == expected
        for row in expected:
            folder = Path("us8k") / row["model"] / row["compression"] / "n001" / "fold01" / f"run0{row['run']}"
            assert {path.name for path in (study / folder).iterdir()} == {
                path.name for path in (undisturbed / "runs/us8k" / folder).iterdir()
            }
            for name in ("predictions.csv", "history.csv"):
                assert (study / folder / name).read_bytes() == (undisturbed / "runs/us8k" / folder / name).read_bytes()
        assert not (study / ".unfinished").exists() or not list((study / ".unfinished").iterdir())
