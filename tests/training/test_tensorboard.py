"""TensorBoard, started as `make tensorboard` does, shows the trajectories of a run; looked at in a real browser."""

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import short_settings

from loglearn_tf.experiment.run import Work, Worker
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.study.run_folder import write_run

# What the event files hold is in tests/experiment/test_run.py; here, what TensorBoard makes of them.
pytestmark = pytest.mark.long
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def server(us8k, us8k_store, us8k_root, tmp_path_factory):
    """Address of a TensorBoard on the folder of one run."""
    home = tmp_path_factory.mktemp("tensorboard")
    settings = short_settings(us8k_root, home, "models=[timbre]", "compressions=[loglearn]", "tensorboard=first")
    (spec,) = plan_runs(settings)
    record = Worker(Work(settings, us8k, us8k_store.folder)).perform(spec)
    write_run(settings.study_dir, spec, record.files, record.result)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [Path(sys.executable).parent / "tensorboard", "--logdir", home / "runs", "--port", str(port)]
    with (home / "log").open("w") as log:
        process = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 90
        while not tags(address):
            assert process.poll() is None and time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.5)
        yield address
    finally:
        process.kill()
        process.wait()


def tags(address: str) -> dict[str, dict[str, object]]:
    """Run -> scalar tag -> what is known of it."""
    try:
        with urllib.request.urlopen(f"{address}/data/plugin/scalars/tags", timeout=10) as answer:
            found: dict[str, dict[str, object]] = json.load(answer)
            return found
    except (urllib.error.URLError, ConnectionError):
        return {}


def test_the_server_knows_run_and_tags(server):
    ((run, found),) = tags(server).items()
    assert run == "us8k/us8k/timbre/loglearn/n001/fold01/run00/tensorboard"
    assert {"compression/alpha", "compression/beta", "compression/knee", "training/loss", "test/accuracy"} <= set(found)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_browser_shows_the_trajectories(server):
    # A large window: what is outside of it is not drawn.
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1200"]
    for _ in range(3):  # its page draws when it has time to
        shown = subprocess.run(
            [*command, "--virtual-time-budget=20000", "--dump-dom", f"{server}/#timeseries"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if "compression/alpha" in shown.stdout:
            break
    for tag in ("compression/alpha", "compression/beta", "compression/knee"):
        assert tag in shown.stdout
