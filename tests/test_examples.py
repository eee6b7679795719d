"""The networks of experiments/examples, from the check before a study to a model in use."""

import keras
import numpy as np
import pytest
from conftest import short_settings

from loglearn_tf.audio import load_waveform
from loglearn_tf.deploy.export import export_model
from loglearn_tf.deploy.predict import predict
from loglearn_tf.experiment.networks import check_networks
from loglearn_tf.experiment.run import Work, Worker
from loglearn_tf.models import MODELS, build_model
from loglearn_tf.study.cost import sounds_of
from loglearn_tf.study.grid import plan_runs
from loglearn_tf.training.measure import rates_of

CRNN, MOBILENET = "experiments.examples.nets:build_crnn", "experiments.examples.nets:build_mobilenet"


def test_what_docstrings_say_of_their_size():
    crnn = build_model(CRNN, n_classes=10)
    weights = crnn.count_params() - sum(np.prod(w.shape) for w in crnn.get_layer("loglearn").weights)
    assert "32,976" in MODELS[CRNN].build.args[0].__doc__ and weights + 2 == 32_976


def test_a_mobilenet_from_scratch_begins_alike_for_every_compression():
    ours, theirs = (build_model(MOBILENET, compression=name, seed=4) for name in ("loglearn", "logeps"))
    of_ours = [variable for variable in ours.variables if "loglearn" not in variable.path]
    assert len(of_ours) > 100
    for one, other in zip(of_ours, theirs.variables, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)
    assert np.std(ours.layers[-2].get_layer("conv1").kernel) > 0


@pytest.mark.long
def test_a_crnn_from_check_to_export(us8k_root, us8k, us8k_store, tmp_path, caplog):
    changes = (f"models=[{CRNN}]", "compressions=[loglearn]", "save_models=true", "evaluation.patch_hop=8")
    settings = short_settings(us8k_root, tmp_path, *changes)
    with caplog.at_level("INFO", "loglearn_tf"):
        check_networks([(settings, 10)])
    assert f"{CRNN}: scored from maps of whole clips" in caplog.text

    rates = rates_of(settings, CRNN, "loglearn", sounds_of(settings, us8k, seconds=[4.0], to_compute=0))
    assert 0 < rates.patch_s < 1 and 0 < rates.frame_s < 1 and rates.is_settled and rates.patch_mib > 0.5

    (spec,) = plan_runs(settings.model_copy(update={"n_shot": (1,), "runs": 1}))
    record = Worker(Work(settings, us8k, us8k_store.folder)).perform(spec)
    assert record.result["status"] == "done", record.result.get("error")
    assert record.result["accuracy_settled"] is not None
    path = tmp_path / "model.keras"
    path.write_bytes(record.files["model.keras"])
    network = keras.saving.load_model(path)
    clip = us8k.test_clips(1)[0]
    (predicted,) = predict(network, [clip.path])
    assert predicted.probabilities.shape == (10,) and predicted.probabilities.sum() == pytest.approx(1)
    row = record.files["predictions.csv"].decode().splitlines()[1].split(",")
    np.testing.assert_allclose(predicted.probabilities, [float(p) for p in row[-10:]], atol=2e-3)

    export_model(network, tmp_path / "saved", to="savedmodel")
    import tensorflow as tf

    waveform = load_waveform(clip.path)[np.newaxis]
    (given,) = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"](tf.constant(waveform)).values()
    np.testing.assert_allclose(given, network(waveform), atol=1e-5)
