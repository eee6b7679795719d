"""Fixtures: the shared reference material, and one small synthetic data set for the whole session."""

import csv
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

# Before NumPy: tests run side by side already, and threads of matrix products that wait for one another do so busily.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
import pytest
from filelock import FileLock
from narrow_networks import NARROW

from loglearn_tf._util.tensorflow_runtime import available_cores, be_quiet, tensorflow
from loglearn_tf.audio import tensorflow_io
from loglearn_tf.datasets import DataSet, load_dataset
from loglearn_tf.datasets.clips import Clip
from loglearn_tf.datasets.synthetic import make_us8k
from loglearn_tf.experiment import study
from loglearn_tf.experiment.local import Finished
from loglearn_tf.experiment.run import Work, Worker
from loglearn_tf.features.build import build_store
from loglearn_tf.features.store import MelStore
from loglearn_tf.models import MODELS
from loglearn_tf.study.grid import RunSpec
from loglearn_tf.study.settings import Settings, load_settings

be_quiet()
ROOT = Path(__file__).parent.parent


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: the longest tests wait for processes of their own."""
    return available_cores() + 1


def pytest_configure(config: pytest.Config) -> None:
    """One thread and deterministic operations, so that tests see the numbers that studies see.

    Before any test module is imported: some make tensors when they are, and then it is too late.
    """
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", 0):
        tensorflow()
        # A full collection goes through all that has been imported: a tenth of the time of tests that trace graphs.
        gc.freeze()
        gc.set_threshold(5_000, 20, 10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, so that no core waits for another at the end."""
    first = [
        f"test_{name}.py"
        for name in [
            "interruptions",
            "whole_way",
            "ray",
            "supervised",
            "writer",
            "side_effects",
            "episodic",
            "plain",
            "cli",
            "callbacks",
            "build",
            "bfloat16",
            "whole_study",
            "validation",
            "study",
            "sliding",
            "estimate",
            "readme",
        ]
    ]
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real clips and outputs of the reference pipeline; not part of the project."""
    path = Path(os.environ.get("LOGLEARN_SHARED", ROOT / ".." / "shared"))
    if not path.is_dir():
        pytest.skip(f"needs the shared reference material; LOGLEARN_SHARED names its folder ({path} is not there)")
    return path


@contextmanager
def for_all_workers(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[Path]:
    """A folder that processes which run tests side by side have in common, for one of them at a time to fill."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with FileLock(folder / f"{name}.lock"):
        yield folder / name


@pytest.fixture(scope="session")
def us8k_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic UrbanSound8K: 2 clips of each class in folds 1, 2, 3. Read-only."""
    with for_all_workers(tmp_path_factory, "us8k") as root:
        return make_us8k(root, clips_per_class=2, folds=(1, 2, 3))


@pytest.fixture(scope="session")
def us8k(us8k_root: Path) -> DataSet:
    return load_dataset("us8k", us8k_root)


@pytest.fixture(scope="session")
def us8k_store(us8k: DataSet, tmp_path_factory: pytest.TempPathFactory) -> MelStore:
    """Its mel power. Read-only; runs that are given its folder's folder as `features.store_dir` find it there."""
    settings = load_settings(ROOT / "experiments" / "us8k.yaml")
    with for_all_workers(tmp_path_factory, "stores") as store_dir:
        return build_store(us8k.clips, name="us8k", front_end=settings.features.front_end, store_dir=store_dir)


@pytest.fixture
def settings(us8k_root: Path, tmp_path: Path) -> Settings:
    """The paper's settings, cut to seconds of work."""
    return short_settings(us8k_root, tmp_path)


def short_settings(root: Path, tmp_path: Path, *more: str) -> Settings:
    return load_settings(ROOT / "experiments" / "us8k.yaml", [*short_overrides(root, tmp_path), *more])


def short_overrides(root: Path, tmp_path: Path) -> list[str]:
    """Overrides that let experiments/us8k.yaml run in seconds: one fold, n = 1, two epochs, no pictures."""
    return [
        f"data.root={root}",
        f"features.store_dir={tmp_path / 'stores'}",
        f"runs_dir={tmp_path / 'runs'}",
        "folds=[1]",
        "n_shot=[1]",
        "runs=1",
        "training.epochs=2",
        "evaluation.patch_hop=20",
        "workers=2",
        "tensorboard=none",
    ]


@pytest.fixture
def networks_checked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a study, its variants and networks from outside are built in this process, not in another that would have
    to load TensorFlow; tests/experiment/test_study.py and others do it there."""
    monkeypatch.setattr(study, "call", lambda function, *arguments: function(*arguments, on_progress=print))


class ExecutorHere(nullcontext["ExecutorHere"]):
    """Takes the place of a `LocalExecutor`: the same worker, but in this process, which has loaded TensorFlow."""

    def __init__(self, work: Work, workers: int) -> None:
        self._worker = Worker(work)
        self._spec: RunSpec | None = None

    def __enter__(self) -> "ExecutorHere":
        return self

    def has_room(self) -> bool:
        return self._spec is None

    def start(self, spec: RunSpec) -> None:
        self._spec = spec

    def finished(self) -> list[Finished]:
        assert self._spec is not None
        spec, self._spec = self._spec, None
        return [(spec, self._worker.perform(spec))]


@pytest.fixture
def runs_here(networks_checked_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies train in this process: for tests of what comes before and after. tests/experiment/test_local.py and
    others have worker processes."""
    monkeypatch.setattr(study, "LocalExecutor", ExecutorHere)


def draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have their figures, but nothing is drawn, which takes most of a report's time: for tests of their words.
    tests/analysis/report/test_figures.py and others draw."""
    from loglearn_tf.analysis.report import figures

    monkeypatch.setattr(figures, "to_svg", lambda figure: "<svg></svg>")
    monkeypatch.setattr(figures, "to_pdf", lambda figure: b"%PDF")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `draw_nothing`."""
    draw_nothing(monkeypatch)


@pytest.fixture
def narrow_prototypical(monkeypatch: pytest.MonkeyPatch) -> None:
    """`prototypical` has 4 filters: for what does not depend on their number, as the seconds of an update do."""
    monkeypatch.setitem(MODELS._found, "prototypical", NARROW)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "loglearn_tf", *map(str, arguments)]


def loglearn(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    # Here, so that settings can name `narrow_networks:NARROW`.
    done = subprocess.run(command(*arguments), capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def python(program: str, *arguments: object, cwd: Path | None = None) -> str:
    """What a program prints that a new Python runs; Keras starts faster there, as in this package's own processes."""
    program = f"import sys; sys.modules.update(matplotlib=None, pandas=None, sklearn=None)\n{program}"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def results(study_dir: Path) -> list[dict[str, str]]:
    """results.csv without its two columns of wall-clock seconds, which no two jobs share."""
    with (study_dir / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if not key.endswith("_seconds")} for row in rows]


def read_scalars(log_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value), of TensorBoard's event files, by its own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(log_dir.glob("events.out.tfevents.*")):
        events = EventAccumulator(str(path), size_guidance={"tensors": 0}).Reload()
        for tag in events.Tags()["tensors"]:
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                found[tag] = [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
    return found


class ArrayStore:
    """Stands for a `MelStore` where a test wants to choose every number itself."""

    def __init__(self, mels: list[np.ndarray], labels: list[int] | None = None) -> None:
        labels = labels or [0] * len(mels)
        self.clips = tuple(Clip(f"clip{i}", Path(f"clip{i}.wav"), label, 1) for i, label in enumerate(labels))
        self._mels = {clip.clip_id: mel.astype(np.float32) for clip, mel in zip(self.clips, mels, strict=True)}

    def mel(self, clip: Clip) -> np.ndarray:
        return self._mels[clip.clip_id]


@pytest.fixture
def array_store() -> type[ArrayStore]:
    return ArrayStore


@pytest.fixture(params=["tensorflow-io allowed", "soundfile only"])
def either_decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test twice: the outcome must not depend on what is installed."""
    if request.param == "soundfile only":
        monkeypatch.setattr(tensorflow_io, "load", lambda: None)
