"""A study as a call: in a notebook, a thread, a script without a main guard."""

import logging
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import ROOT, short_settings

from loglearn_tf import compare, run_study
from loglearn_tf.errors import ConfigError, DataError
from loglearn_tf.experiment import study
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.settings import load_studies

# The README's, which a notebook's cell may hold.
README = (ROOT / "README.md").read_text(encoding="utf-8")
(NOTEBOOK,) = (one for one in re.findall(r"```python\n(.*?)```", README, re.S) if "run_study" in one)


@pytest.mark.long
def test_ten_lines_run_a_study_and_get_its_differences(tmp_path):
    """From stdin, which no worker can import again."""
    assert NOTEBOOK.count("\n") <= 10
    done = subprocess.run([sys.executable, "-"], input=NOTEBOOK, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    cell, title, *_ = done.stdout.splitlines()
    model, compression, n_shot, mean, low, high, verdict = cell.split()
    assert (model, compression, n_shot) == ("timbre", "loglearn", "1")
    assert float(low) <= float(mean) <= float(high) and verdict in ("better", "worse", "equivalent", "undecided")
    assert title.startswith("SYNTHETIC DATA, not UrbanSound8K") and "loglearn - logeps" in done.stdout
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()


@pytest.fixture
def small(us8k_root, us8k_store, tmp_path):
    """Settings of two runs of a second each, and more as told."""

    def make(*overrides: str):
        store = f"features.store_dir={us8k_store.folder.parent}"
        return short_settings(us8k_root, tmp_path, store, "models=[timbre]", "training.epochs=1", *overrides)

    return make


@pytest.mark.usefixtures("undrawn")
def test_in_a_thread_with_everything_that_a_caller_needs(small, caplog, capfd):
    settings, steps, results = small("workers=1"), [], []
    caplog.set_level(logging.INFO, "loglearn_tf")

    def work() -> None:
        results.append(run_study(settings, on_progress=steps.append))
        results.append(run_study(settings, on_progress=steps.append))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    first, again = results
    assert [(step.work, step.done, step.total, step.failed) for step in steps] == [("Runs", n, 2, 0) for n in (0, 1, 2)]
    assert steps[1].text.startswith("timbre loglearn n=1 fold 1 run 0: accuracy ")
    assert [record.getMessage() for record in caplog.records] == ["2 of 2 runs are already done."]
    assert capfd.readouterr() == ("", "")

    assert first == again  # nothing was done twice, and what was read is what was made
    assert first.study_dir == settings.study_dir and first.report == settings.study_dir / "report.html"
    assert first.failed == () and [row["status"] for row in first.rows] == ["done", "done"]
    assert {row["compression"] for row in first.rows} == {"loglearn", "logeps"}
    assert {first.folder(row) for row in first.rows} == {
        settings.study_dir / spec.folder for spec in plan_runs(settings)
    }
    assert all((first.folder(row) / "history.csv").is_file() for row in first.rows)
    assert list(first.comparisons) == compare(first.rows)
    by_name = {row["compression"]: row["accuracy"] for row in first.rows}
    assert first.comparisons[0].mean == pytest.approx(by_name["loglearn"] - by_name["logeps"])


@pytest.mark.usefixtures("runs_here", "undrawn")
def test_failed_runs_are_returned(small):
    result = run_study(small("compressions=[loglearn]", "training.epochs=5", "training.learning_rate=1.0e+30"))
    (row,) = result.failed
    assert row["accuracy"] is None and result.rows == (row,) and result.comparisons == ()
    assert (result.folder(row) / "result.json").is_file() and "1 of 1 runs failed" in str(result)


PARTS = """\
name: two
data: {{name: us8k, root: {root}}}
features: {{store_dir: {home}/stores}}
runs_dir: {home}/runs
models: timbre
compressions: [logeps]
n_shot: 1
folds: 1
runs: 1
parts:
  good: {{}}
  bad: {bad}
"""


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        ("{folds: 7}", ConfigError, "Fold 7 has no clips"),
        ("{data: {root: nowhere}}", DataError, "US8K metadata not found"),
        ("{ray: '127.0.0.1:1'}", ConfigError, "No Ray cluster answers"),
        (
            "{compressions: [low], variants: {low: {layer: loglearn, args: {alpha: 1.0}}}}",
            ConfigError,
            r"`variants.low`: Compression loglearn does not take",
        ),
    ],
)
def test_what_is_wrong_with_the_last_part_is_said_before_the_first_begins(us8k_root, tmp_path, bad, error, says):
    if "ray" in bad:
        pytest.importorskip("ray")
        from loglearn_tf.errors import ClusterError as error
    path = tmp_path / "two.yaml"
    path.write_text(PARTS.format(root=us8k_root, home=tmp_path, bad=bad))
    with pytest.raises(error, match=says):
        study.run_parts(load_studies(path))
    assert {found.name for found in tmp_path.iterdir()} == {"two.yaml"}


def test_clips_that_are_missing_are_warned_of(us8k_root, tmp_path, caplog):
    import shutil

    root = Path(shutil.copytree(us8k_root, tmp_path / "copy"))
    next(iter((root / "audio" / "fold1").glob("*.wav"))).unlink()
    dataset = study.load_data(short_settings(root, tmp_path, "data.allow_missing=true"))
    assert len(dataset.missing) == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"1 clips are missing under {dataset.root} and are skipped."


def test_a_network_of_patches_of_another_length_is_refused_before_any_work(us8k_root, tmp_path, monkeypatch):
    (tmp_path / "my_lab_of_one_length.py").write_text(
        "import keras\n"
        "def build(n_classes, compression, seed):\n"
        "    mel = keras.Input((128, 128))\n"
        "    dense = keras.layers.Dense(n_classes, kernel_initializer=keras.initializers.GlorotUniform(seed))\n"
        "    return keras.Model(mel, dense(keras.layers.Flatten()(compression(mel))))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    models = 'models=["my_lab_of_one_length:build"]'
    study.check_networks([(short_settings(us8k_root, tmp_path, models), 10)], on_progress=print)
    settings = short_settings(us8k_root, tmp_path, models, "features.patch_frames=64")
    with pytest.raises(ConfigError, match=r"must take mel power of shape \(batch, 64, 128\)") as refused:
        study.check_networks([(settings, 10)], on_progress=print)
    assert str(refused.value).startswith("`models`: ") and "features.patch_frames=64" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"models": ["my_lab_that_refuses:build"]}, "`models`: .*no network today"),
        ({"compressions": ["logeps", "my_lab_that_refuses:Log"]}, "`compressions`: .*no layer today"),
        (
            {"compressions": ["logeps", "x"], "variants": {"x": {"layer": "my_lab_that_refuses:Log"}}},
            r"`variants\.x`: .*no layer today",
        ),
    ],
)
def test_what_cannot_be_built_is_named_by_its_setting(us8k_root, tmp_path, monkeypatch, changes, says):
    (tmp_path / "my_lab_that_refuses.py").write_text(
        "def build(**arguments):\n    raise ValueError('no network today')\n"
        "def Log(**arguments):\n    raise ValueError('no layer today')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = short_settings(us8k_root, tmp_path, *(f"{key}={value}" for key, value in changes.items()))
    with pytest.raises(ConfigError, match=says):
        study.check_networks([(settings, 10)], on_progress=print)
