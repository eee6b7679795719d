"""The layers that only make Keras' own faster leave nothing of themselves in saved files."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from loglearn_tf import build_model, layers


@pytest.mark.parametrize(
    ("network", "layer", "name"),
    [
        ("timbre", "conv", "Conv2D"),
        ("timbre", "logits", "GlobalMaxPooling2D"),
        ("sb_cnn", "pool_1", "MaxPooling2D"),
        ("vgg", "norm_1", "BatchNormalization"),
    ],
)
def test_files_name_keras_class(network, layer, name):
    found = build_model(network, compression="none", seed=1).get_layer(layer)
    assert type(found) is getattr(layers, name) is not getattr(keras.layers, name)
    serialised = keras.saving.serialize_keras_object(found)
    assert (serialised["module"], serialised["class_name"]) == ("keras.layers", name)
    assert serialised["config"] == getattr(keras.layers, name).from_config(serialised["config"]).get_config()


def test_models_load_and_compute_the_same_where_this_package_is_not(tmp_path):
    chains = {
        # Convolutions as matrix products add up in another order; the others have no such excuse.
        1e-4: [
            layers.Conv2D(4, (3, 12), activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Conv2D(3, 2),
            layers.GlobalMaxPooling2D(),
        ],
        1e-6: [layers.BatchNormalization(), layers.MaxPooling2D(2), layers.GlobalMaxPooling2D()],
    }
    x = np.random.default_rng(0).normal(-6, 3, (2, 20, 16, 1)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    for tolerance, chain in chains.items():
        model = keras.Sequential([keras.Input((20, 16, 1)), *chain])
        model(x, training=True)  # its statistics are no longer the first
        model.save(tmp_path / f"{tolerance}.keras")
        np.save(tmp_path / f"{tolerance}.npy", model(x))
    names = {tolerance: [type(layer).__name__ for layer in chain] for tolerance, chain in chains.items()}
    program = f"""
import keras, numpy, sys
for tolerance, names in {names}.items():
    model = keras.models.load_model(f"{{tolerance}}.keras")
    assert [type(layer) for layer in model.layers] == [getattr(keras.layers, name) for name in names]
    found, expected = model(numpy.load("x.npy")), numpy.load(f"{{tolerance}}.npy")
    numpy.testing.assert_allclose(found, expected, rtol=tolerance, atol=min(tolerance, 1e-5))
assert "loglearn_tf" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
