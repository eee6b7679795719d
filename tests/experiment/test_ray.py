"""Runs on a Ray cluster of two nodes, started here as a user starts one: results are those of this machine."""

import csv
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, short_overrides

from loglearn_tf.cli import main
from loglearn_tf.errors import ConfigError
from loglearn_tf.experiment import ray as cluster_runs
from loglearn_tf.study.settings import load_settings

pytest.importorskip("ray", reason="ray, the extra [cluster], is not installed")
US8K = str(ROOT / "experiments" / "us8k.yaml")


# A network that the package has never heard of; every node must have it.
MY_LAB = """
import keras


def build(n_classes, compression, seed, n_mels, patch_frames):
    mel = keras.Input((patch_frames, n_mels))
    x = keras.layers.BatchNormalization()(keras.layers.GlobalAveragePooling1D()(compression(mel)))
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras.Model(mel, keras.layers.Dense(n_classes, kernel_initializer=start, name="logits")(x))
"""


def paths(folder: Path) -> str:
    """`PYTHONPATH` with a folder in front."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Node:
    """A raylet, started by `ray start`, with one CPU; it dies with all its processes."""

    def __init__(self, *arguments: str, home: Path, log: Path) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--num-gpus=0"]
        command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", "--object-store-memory=100000000"]
        # A session of its own, so that `kill` reaches the raylet and its workers, and no other cluster of this user.
        self._process = subprocess.Popen(
            [*command, *arguments],
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # The node's own disk, where it puts the mel store, and what its user has installed there.
            env={**os.environ, "TMPDIR": str(home), "PYTHONPATH": paths(home)},
        )
        self._log = log

    def wait_for(self, text: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text not in self._log.read_text():
            assert self._process.poll() is None and time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.2)

    def is_at_work(self) -> bool:
        """Whether a process of this node is performing a run now."""
        if sys.platform != "linux":
            return True
        titles = subprocess.run(["ps", "-s", str(self._process.pid), "-o", "args="], capture_output=True, text=True)
        return "ray::_perform" in titles.stdout

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def running(*arguments: str, home: Path) -> Iterator[Node]:
    (home / "my_lab_on_nodes.py").write_text(MY_LAB)
    node = Node(*arguments, home=home, log=home / "log")
    try:
        node.wait_for("--block")
        yield node
    finally:
        node.kill()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of a cluster of one node."""
    address = f"127.0.0.1:{(port := free_port())}"
    # Short: it holds sockets, whose names the system limits to 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-") as short:
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={short}"]
        with running(*head, home=tmp_path_factory.mktemp("head")):
            yield address


@pytest.fixture
def second(address, tmp_path_factory):
    """Another node of that cluster."""
    with running(f"--address={address}", home=tmp_path_factory.mktemp("second")) as node:
        yield node


def accuracies(study: Path) -> dict[tuple[str, ...], str]:
    with (study / "results.csv").open() as file:
        return {
            (row["model"], row["compression"], row["n_shot"], row["run"]): row["accuracy"]
            for row in csv.DictReader(file)
            if row["status"] == "done"
        }


@pytest.mark.parametrize(
    "grid",
    [
        pytest.param(
            [
                "models=[timbre,'my_lab_on_nodes:build']",
                "compressions=[loglearn]",
                "n_shot=[1,all]",
                "training.epochs=30",
            ],
            id="a few long runs, also of a network from outside, and of all clips",
            marks=pytest.mark.long,
        ),
        pytest.param(["models=[timbre]", "runs=20", "training.epochs=2"], id="many short runs", marks=pytest.mark.long),
    ],
)
@pytest.mark.usefixtures("runs_here", "undrawn")
def test_runs_survive_the_death_of_a_node(address, second, us8k_root, us8k_store, tmp_path, monkeypatch, grid):
    (tmp_path / "my_lab_on_nodes.py").write_text(MY_LAB)
    monkeypatch.syspath_prepend(tmp_path)
    grid = [f"features.store_dir={us8k_store.folder.parent}", *grid]
    here, there = tmp_path / "here", tmp_path / "there"

    assert main(["run", US8K, *short_overrides(us8k_root, here), *grid]) == 0
    expected = accuracies(here / "runs" / "us8k")
    assert len(expected) >= 4
    # The nodes do not see `features.store_dir`: they are sent the store.
    on_nodes = [*short_overrides(us8k_root, there), *grid, f"ray={{address: '{address}', ship_store: true}}"]
    with there.with_suffix(".log").open("w") as log:
        job = subprocess.Popen(
            [sys.executable, "-m", "loglearn_tf.cli", "run", US8K, *on_nodes],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths(tmp_path)},
        )
    while len(list((there / "runs").rglob("result.json"))) < len(expected) // 4 or not second.is_at_work():
        assert job.poll() is None, there.with_suffix(".log").read_text()
        time.sleep(0.1)
    second.kill()
    assert len(list((there / "runs").rglob("result.json"))) < len(expected)
    assert job.wait(300) == 0, there.with_suffix(".log").read_text()
    assert accuracies(there / "runs" / "us8k") == expected


def test_a_cluster_without_enough_cpus(address, us8k_root, tmp_path, capsys):
    overrides = [*short_overrides(us8k_root, tmp_path), "models=[timbre]", f"ray.address={address}", "ray.cpus=64"]
    assert main(["run", US8K, *overrides]) == 2
    message = capsys.readouterr().err
    assert "A run needs ray.cpus=64 and ray.gpus=0, but no node of the Ray cluster" in message
    assert "the largest have 1 CPUs and 0 GPUs" in message
    assert not list(tmp_path.rglob("result.json"))


def test_no_cluster_at_the_address(us8k_root, tmp_path, capsys):
    overrides = [*short_overrides(us8k_root, tmp_path), "models=[timbre]", f"ray=127.0.0.1:{free_port()}"]
    assert main(["run", US8K, *overrides]) == 2
    message = capsys.readouterr().err
    assert "No Ray cluster answers at `ray=127.0.0.1:" in message and "ray start --head" in message


def test_a_run_that_takes_too_long_is_ended(address, us8k_root, us8k_store, tmp_path, capsys):
    overrides = [*short_overrides(us8k_root, tmp_path), f"features.store_dir={us8k_store.folder.parent}"]
    overrides += ["models=[timbre]", "compressions=[loglearn]", "training.epochs=1000000", "run_timeout_s=3"]
    assert main(["run", US8K, *overrides, f"ray.address={address}"]) == 1
    (path,) = (tmp_path / "runs").rglob("result.json")
    assert "took longer than `run_timeout_s=3` seconds" in path.read_text()
    assert "1 of 1 runs failed" in capsys.readouterr().err


def test_time_counts_from_when_a_task_began(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cluster_runs.time, "monotonic", lambda: now[0])
    clock = cluster_runs.Clock()
    clock.begin(1)
    now[0] = 6.0
    clock.begin(2)
    assert clock.overdue(10) == []
    now[0] = 11.0
    assert clock.overdue(10) == [1] and clock.overdue(10) == []  # told once
    clock.begin(1)  # on another node
    now[0] = 17.0
    assert clock.overdue(10) == [2]


def test_a_node_with_another_package_is_noticed(monkeypatch, tmp_path):
    """Of the same version, by its sources."""
    software = cluster_runs.same_software.__wrapped__
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "log.py").write_text("one")
    monkeypatch.setattr(cluster_runs, "_PACKAGE", tmp_path)
    drivers = software()
    assert cluster_runs._difference(software(), drivers) == ""
    (tmp_path / "layers" / "log.py").write_text("two")
    said = cluster_runs._difference(software(), drivers)
    assert said.startswith("has the source of loglearn_tf ") and said.endswith("Install the same on both.")
    assert drivers["the source of loglearn_tf"] in said and "tensorflow" not in said.replace("loglearn_tf", "")
    (tmp_path / "layers" / "log.py").rename(tmp_path / "log.py")
    assert cluster_runs._difference({**drivers, "keras": "2.0"}, drivers).startswith(
        "has keras 2.0; the driver has keras "
    )


@pytest.mark.parametrize("address", ["head", "ray://head:1", "head:port", ""])
def test_an_address_must_name_host_and_port(address):
    with pytest.raises(ConfigError, match=r"`ray\.address`"):
        load_settings(US8K, [f"ray='{address}'"])
