"""The benchmarks can be run: they compare what they say, and put a study together from its parts."""

import importlib
import json

import numpy as np
import pytest
from conftest import ROOT

from loglearn_tf.training.accelerated import precision
from loglearn_tf.training.accelerated.layers import Fused


@pytest.fixture
def stages(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments" / "benchmarks")
    return importlib.import_module("stages")


@pytest.fixture
def growth(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments" / "benchmarks")
    return importlib.import_module("growth")


def test_both_are_called_alike(stages):
    calls = []
    row = stages.compare("stage", "case", lambda: calls.append("plain"), lambda: calls.append("ours"), repeats=4)
    assert calls == ["plain", "ours"] * 5  # the first to compile
    assert row.plain_ms >= 0 and row.low <= row.ratio <= row.high


def test_the_twin_is_compared_with_keras_layers(stages, monkeypatch):
    """Each trains layers of its kind, from the same weights."""
    trained = {}

    def compare(stage, case, plain, ours, **_):
        trained[case] = [call.__defaults__[0] for call in (plain, ours)]

    monkeypatch.setattr(stages, "compare", compare)
    list(stages.training())
    assert len(trained) == 2 * (len(stages.NETWORKS) + 2)  # two of them in float32_fast, too
    for models, _ in trained.values():
        ours_only = [layer for layer in models["ours"].layers if "accelerated" in type(layer).__module__]
        assert ours_only and not any("accelerated" in type(layer).__module__ for layer in models["plain"].layers)
        for one, other in zip(models["ours"].get_weights(), models["plain"].get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_bounds_are_of_all_operations_of_a_step(stages, monkeypatch):
    bounds = importlib.import_module("bounds")
    monkeypatch.setattr(bounds, "BATCH", 1)
    rows = {row.name: row for row in bounds.operations(bounds.build_model("sb_cnn"))}
    convolutions = [f"conv_{i}{to}" for i in (1, 2, 3) for to in ("", ", to its input", ", to its kernel")]
    others = ("loglearn", "input_norm", "dropout_1", "dense_1", "dropout_2", "logits")
    assert set(rows) == {
        *convolutions,
        *("pool_1, and gradient", "pool_2, and gradient"),
        *(f"{name}, and gradients" for name in others),
        "update of the weights",
    }
    assert rows["conv_1"].mflop == pytest.approx(2e-6 * 5 * 5 * 24 * 124 * 124)
    assert [name for name, row in rows.items() if row.counts_at_peak] == ["conv_1, to its input"]
    assert rows["conv_2, to its input"].call().shape == (1, 31, 62, 24)


def test_bounds_of_the_layer_are_operations_of_its_size(stages, monkeypatch):
    bounds = importlib.import_module("bounds")
    monkeypatch.setattr(bounds, "N_WAVEFORMS", 1)
    n_frames = 4 * 44_100 // 1024
    shapes = {}
    for row in bounds.layer():
        result = (row.ours or row.bare)()
        shapes[row.name] = result.shape.as_list(), result.dtype.name
    for dtype, transformed in (("float32", "complex64"), ("float64", "complex128")):
        assert shapes[f"{dtype}: all"] == ([1, n_frames + 1, 128], "float32")
        assert shapes[f"{dtype}: window"] == ([n_frames, 1024], dtype)
        assert shapes[f"{dtype}: Fourier transform"] == ([n_frames, 513], transformed)
        assert shapes[f"{dtype}: the same, two frames in one"] == ([n_frames // 2, 1024], transformed)
        assert shapes[f"{dtype}: squares"] == ([n_frames, 513], "float32")
        assert shapes[f"{dtype}: bands' products"] == ([1, n_frames, 128], "float32")
    assert shapes["float64: cast"] == ([n_frames, 1024], "float64") and "float32: cast" not in shapes


def test_bounds_of_evaluation_call_the_operations_of_the_scorer(stages):
    bounds = importlib.import_module("bounds")
    tf = stages.tf

    @tf.function
    def scored(x):
        y = tf.nn.max_pool2d(tf.nn.conv2d(x, tf.ones([3, 2, 1, 4]), 1, "VALID"), (2, 1), (2, 1), "VALID")
        return tf.matmul(tf.reshape(y, [-1, 4]), tf.ones([5, 4]), transpose_b=True)

    graph = scored.get_concrete_function(tf.TensorSpec((1, 8, 6, 1), tf.float32)).graph
    found = {op.type: op for op in graph.get_operations() if op.type in bounds._SCORED}
    assert set(found) == {"Conv2D", "MaxPool", "MatMul"}
    for op in found.values():
        assert bounds.bare_operation(op)().shape == op.outputs[0].shape


def test_a_study_is_the_mean_over_the_cells_of_the_protocol(stages, tmp_path):
    rows = []
    for network in stages.NETWORKS:
        for frames in (173, 431):
            rows.append(stages.Row("evaluation", f"{network}, {frames} frames at hop 1, a clip", 10, 1, 10, 10, 10))
        for batch in (10, 100):
            case = f"{network} with loglearn, batch {batch}, a patch"
            rows.append(stages.Row("training", case, 4, 2, 2, 2, 2))
            if network != "timbre":
                case = f"{network} with loglearn in float32_fast, batch {batch}, a patch"
                rows.append(stages.Row("training", case, 4, 0.5, 8, 8, 8))
    us8k, us8k_fast, tut, _ = stages.study(rows)
    # 75 runs of 199 epochs: (20 * 1 + 20 * 2 + 10 * 5 + 10 * 10 + 5 * (20 + 50 + 100)) / 75 clips a class on average.
    patches = 199 * 10 * 1060 / 75
    assert us8k.plain_ms == pytest.approx(4 * patches + 873 * 10)
    assert us8k.ours_ms == pytest.approx(2 * patches + 873)
    assert us8k_fast.ours_ms == pytest.approx((2 + 0.5 + 0.5) / 3 * patches + 873)
    assert tut.ratio == pytest.approx((4 * 1.5 * patches + 16_200) / (2 * 1.5 * patches + 1620))
    stages.write([*rows, us8k, tut], tmp_path / "latest")
    written = json.loads((tmp_path / "latest.json").read_text())["rows"]
    assert {"stage", "case", "plain_ms", "ours_ms", "ratio"} <= set(written[0])
    assert len((tmp_path / "latest.md").read_text().splitlines()) == 6 + len(written)


@pytest.mark.long
def test_what_grows_is_done_in_full(growth, tmp_path, monkeypatch):
    monkeypatch.setenv("LOGLEARN_SHARED", str(tmp_path / "nowhere"))
    for task, size in {"results.csv from run folders": 60, "report.html and all beside it": 60}.items():
        work, _ = growth.TASKS[task]
        assert work(size, tmp_path / task) >= 0
        study = tmp_path / task / "study"
        assert len(list(study.glob("**/result.json"))) == 60
    assert (study / "report.html").is_file()
    assert growth.TASKS["statistics of a table"][0](400, tmp_path) > 0
    assert growth.TASKS["evaluation on TUT, timbre"][0](1, tmp_path) > 0


@pytest.mark.long
def test_whole_runs_are_paired(monkeypatch, us8k_root, capsys, tmp_path):
    monkeypatch.setenv("LOGLEARN_SHARED", str(tmp_path / "nowhere"))
    monkeypatch.syspath_prepend(ROOT / "experiments" / "benchmarks")
    whole_runs = importlib.import_module("whole_runs")
    monkeypatch.setattr(whole_runs, "SHARED", tmp_path / "nowhere")
    monkeypatch.setattr(whole_runs, "make_us8k", lambda *_, **__: us8k_root)
    monkeypatch.setattr("sys.argv", ["", "--models", "timbre", "--n-shot", "1", "--runs", "2", "--epochs", "2"])
    whole_runs.main()
    said = capsys.readouterr().out
    assert "60 computed clips, fold 1 tested, n = 1, 2 epochs" in said
    assert said.count("timbre   run") == 4
    # The first update of two equal networks on equal patches: alpha is the same to rounding.
    alphas = [float(line.split("alpha")[1].split()[0]) for line in said.splitlines() if "alpha" in line]
    assert alphas[0] == pytest.approx(alphas[1], abs=0.02) and alphas[2] == pytest.approx(alphas[3], abs=0.02)
    assert alphas[0] != alphas[2]
    assert "timbre    " in said.splitlines()[-1] and "2 pairs" in said.splitlines()[-1]


def test_bfloat16_is_compared_with_our_float32(stages, monkeypatch):
    """Where the processor has it; elsewhere there are no such rows."""
    kinds = {}

    def compare(stage, case, plain, ours, **_):
        for name, twin in plain.__defaults__[0].__defaults__[0].items():
            fused = [layer for layer in twin.layers if isinstance(layer, Fused)]
            kinds[case, name] = {layer.precision for layer in fused}
        return stage

    monkeypatch.setattr(stages, "compare", compare)
    monkeypatch.setattr(stages, "compare_updates", lambda stage, plain, ours: stage)
    monkeypatch.setattr(precision, "share_of_float32", lambda: 3.0)
    assert list(stages.bfloat16()) == []
    monkeypatch.setattr(precision, "share_of_float32", lambda: 0.2)
    assert list(stages.bfloat16()) == ["bfloat16"] * (len(stages.NETWORKS) + 1)
    assert len(kinds) == 2 * len(stages.NETWORKS)
    assert all(found == {name} for (_, name), found in kinds.items())
