"""Jobs stopped in the middle, by their user or by force: the same command again ends as if nothing had been."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, command, results, short_overrides

from loglearn_tf._util.registry import folder_name
from loglearn_tf.cli import main

# One kill anywhere in the job; and, because these take long, one in every quarter of it. More:
# LOGLEARN_KILLS=200 pytest -n 2 --dist=load -m long tests/experiment/test_interruptions.py
N_KILLS = int(os.environ.get("LOGLEARN_KILLS", "4"))
STRETCHES = [(0, 1)] + [pytest.param(at, N_KILLS, marks=pytest.mark.long) for at in range(N_KILLS)]


def children(pid: int) -> list[int]:
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(one) for one, parent in map(str.split, table.splitlines()) if int(parent) == pid]


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")  # which nobody has asked what of


def test_ctrl_c_ends_at_once_and_says_how_to_go_on(us8k_root, us8k_store, tmp_path, capsys):
    """SIGINT to the whole process group, as a terminal sends it, while two workers train."""
    overrides = [*short_overrides(us8k_root, tmp_path), f"features.store_dir={us8k_store.folder.parent}"]
    overrides += ["models=[timbre]", "runs=8", "training.epochs=20"]
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
    workers = children(process.pid)
    assert workers
    # Meanwhile a second job on the same study is refused, and disturbs nothing.
    assert main(["run", str(ROOT / "experiments" / "us8k.yaml"), *overrides]) == 2
    assert f"Another process is working on {study}" in capsys.readouterr().err
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Stopped. Finished work is kept; rerun the command to resume." in said
    assert "Traceback" not in said
    deadline = time.monotonic() + 10
    with pytest.raises(ProcessLookupError):  # no process is left
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    # Nor any of its workers, which are in groups of their own.
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    n_done = len(list(study.rglob("result.json")))
    assert 1 <= n_done < 16
    assert main(["status", str(study)]) == 0
    assert f"{n_done} of 16 runs done, 0 failed, {16 - n_done} to do" in capsys.readouterr().out


# A network that the package has never heard of.
MY_LAB = """
import keras


def build(n_classes, compression, seed, n_mels, patch_frames):
    mel = keras.Input((patch_frames, n_mels))
    x = keras.layers.BatchNormalization()(keras.layers.GlobalAveragePooling1D()(compression(mel)))
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras.Model(mel, keras.layers.Dense(n_classes, kernel_initializer=start, name="logits")(x))
"""


def command_line(root: Path, home: Path) -> list[str]:
    """TIMBRE and a network from outside, with one clip a class and with all."""
    home.mkdir(exist_ok=True)
    (home / "my_lab_that_is_killed.py").write_text(MY_LAB)
    overrides = [*short_overrides(root, home), 'models=[timbre,"my_lab_that_is_killed:build"]', "n_shot=[1,all]"]
    more = ["compressions=[loglearn]", "save_models=true", "workers=1", "tensorboard=first"]
    return ["run", str(ROOT / "experiments" / "us8k.yaml"), *overrides, *more]


def job(root: Path, home: Path) -> dict[str, Any]:
    """Arguments of `subprocess`."""
    arguments = command(*command_line(root, home))
    paths = os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"args": arguments, "env": {**os.environ, "PYTHONPATH": paths}}


@pytest.fixture
def rerun(us8k_root, runs_here, undrawn, monkeypatch, capsys):
    """The same command again, in this process, which need not be killed; returns what it writes to stderr."""

    def rerun(home: Path) -> str:
        monkeypatch.syspath_prepend(home)
        assert main(command_line(us8k_root, home)) == 0
        return capsys.readouterr().err

    return rerun


@pytest.fixture(scope="module")
def undisturbed(us8k_root, tmp_path_factory) -> Path:
    """Where a job has run from beginning to end; `seconds` in it says how long."""
    home = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    subprocess.run(**job(us8k_root, home), check=True, capture_output=True)
    (home / "seconds").write_text(str(time.monotonic() - started))
    return home


@pytest.mark.parametrize(("stretch", "of"), STRETCHES)
def test_a_killed_job_ends_as_an_undisturbed_one(us8k_root, undisturbed, rerun, tmp_path, stretch, of):
    """kill -9 at a random moment of the job, features and training; then the same command again."""
    duration_s = float((undisturbed / "seconds").read_text())
    expected = results(undisturbed / "runs" / "us8k")
    assert len(expected) == 4 and {row["status"] for row in expected} == {"done"}
    moment = random.Random(stretch)
    for attempt in range(5):
        home = tmp_path / str(attempt)
        started = time.monotonic()
        process = subprocess.Popen(**job(us8k_root, home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=duration_s * (stretch + moment.random()) / of)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            break
        duration_s = time.monotonic() - started  # shorter than before: the machine has less to do
    else:
        pytest.fail("The job was never running any more when it was to be killed.")
    study = home / "runs" / "us8k"
    finished = {path: path.stat().st_mtime_ns for path in study.glob("us8k/**/result.json")}
    said = rerun(home)
    # What was finished is not done again: neither counted among the runs, nor written.
    n_left = len(expected) - len(finished)
    assert said.count(": accuracy ") == n_left
    assert not finished or f"{len(finished)} of {len(expected)} runs are already done" in said
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert results(study) == expected
    for row in expected:
        n = {"1": "n001", "all": "nall"}[row["n_shot"]]
        folder = Path("us8k") / folder_name(row["model"]) / row["compression"] / n / "fold01" / "run00"
        assert {path.name for path in (study / folder).iterdir()} == {
            path.name for path in (undisturbed / "runs/us8k" / folder).iterdir()
        }
        for name in ("predictions.csv", "history.csv"):
            assert (study / folder / name).read_bytes() == (undisturbed / "runs/us8k" / folder / name).read_bytes()
    assert not (study / ".unfinished").exists() or not list((study / ".unfinished").iterdir())


@pytest.mark.long
@pytest.mark.parametrize("fault", ["truncated", "overwritten"])
def test_a_store_that_is_spoilt_under_a_running_study(us8k_root, undisturbed, rerun, tmp_path, fault):
    """The job ends, telling what failed; the same command mends the store and gives what an undisturbed job gives."""
    process = subprocess.Popen(
        **job(us8k_root, tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as above
    )
    study = tmp_path / "runs" / "us8k"
    while not list(study.rglob("result.json")):
        assert process.poll() is None
        time.sleep(0.05)
    (shard,) = (tmp_path / "stores").glob("us8k-*/shard-0000.npy")
    if fault == "truncated":
        os.truncate(shard, shard.stat().st_size // 2)  # in place: what is mapped beyond the end is gone
    else:
        with shard.open("r+b") as file:
            file.seek(shard.stat().st_size // 2)
            file.write(b"\xff" * 4096)  # NaN
    # What reads beyond the end dies; one run that could not be done is enough to see.
    deadline = time.monotonic() + 300
    while process.poll() is None and not any('"failed"' in path.read_text() for path in study.rglob("result.json")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) in (0, 1, 130, -signal.SIGINT)
    rerun(tmp_path)
    assert results(study) == results(undisturbed / "runs" / "us8k")
