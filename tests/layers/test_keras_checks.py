"""Keras' own generic checks, which its layers are tested with, on every layer of the package.

Configuration and serialisation round trips, symbolic and eager calls, dtype policies, a training step.
"""

import keras
import pytest

from loglearn_tf import layers

# Not a public part of Keras, but in every installation of it.
checks = pytest.importorskip("keras.src.testing")


def network():
    mel = keras.Input((8, 4))
    return keras.Model(mel, keras.layers.Dense(3)(keras.layers.Flatten()(mel)))


# What the check is called with: arguments, input shape, output shape, trainable weights.
MEL = (2, 9, 4)
CASES = {
    "LearnableLog": [
        ({}, MEL, MEL, 2),
        ({"per_band": True, "learning_rate_factor": 3.0}, MEL, MEL, 2),
        ({"per_band": True, "axis": -2, "check_input": True}, (2, 9, 4, 3), (2, 9, 4, 3), 2),
        ({"trainable": False}, MEL, MEL, 0),
    ],
    "LearnableKnee": [({}, MEL, MEL, 1), ({"knee": 1e-9, "per_band": True, "quantile": 0.3}, MEL, MEL, 1)],
    "Log1p": [({}, MEL, MEL, 1), ({"a": 2.0, "per_band": True}, MEL, MEL, 1)],
    "Power": [({}, MEL, MEL, 1)],
    "PCEN": [
        ({}, MEL, MEL, 3),
        ({"smoothing": 0.5, "per_band": True}, MEL, MEL, 3),
        ({"trainable": False}, MEL, MEL, 0),
    ],
    "Log": [({}, MEL, MEL, 0), ({"alpha": [1.0, 2.0, 3.0, 4.0], "beta": 0.5}, MEL, MEL, 0)],
    "LogEps": [({"eps": 1e-7}, MEL, MEL, 0)],
    "RelativeKnee": [({}, MEL, MEL, 1), ({"trainable": False}, MEL, MEL, 0)],
    "RelativeLogEps": [({}, MEL, MEL, 0)],
    "ClipLevel": [({}, MEL, MEL, 0)],
    "NoCompression": [({}, MEL, MEL, 0)],
    "MelSpectrogram": [({"sample_rate": 8000, "n_fft": 64, "hop_length": 64, "n_mels": 8}, (2, 640), (2, 11, 8), 0)],
    "Prototypes": [({"n_classes": 3}, (2, 5), (2, 3), 0)],
    "MeanOverPatches": [({"network": network(), "class_names": ["a", "b", "c"]}, MEL, (2, 3), 2)],
}


def test_no_layer_is_left_out():
    public = {name: getattr(layers, name) for name in layers.__all__}
    found = {name for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, keras.Layer)}
    found -= {"Compression", "ClipClassifier"}  # the base; a model, tested by test_waveform_checks.py
    assert found == set(CASES)


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in CASES.items() for case in cases])
def test_keras_checks(name, case):
    arguments, input_shape, output_shape, n_trainable = case
    kind = getattr(layers, name)
    check = checks.TestCase()
    check.setUp()
    compression = issubclass(kind, layers.Compression)
    check.run_layer_test(
        kind,
        init_kwargs=arguments,
        input_shape=input_shape,
        expected_output_shape=output_shape,
        expected_output_dtype="float32",
        expected_num_trainable_weights=n_trainable,
        supports_masking=True if compression else None,
        # Keras' step trains all weights or none; it is not made for layers that have none.
        run_training_check=n_trainable > 0,
    )
