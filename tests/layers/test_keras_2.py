"""A Keras 2 model, which would compute with a layer of Keras 3 and not train it, is refused.

Keras 2 is not installed with the package: its modules are made here, of what the layers look at.
"""

import sys
from types import ModuleType, SimpleNamespace

import keras
import numpy as np
import pytest

from loglearn_tf import LearnableLog, MelSpectrogram
from loglearn_tf.layers import PCEN, Prototypes

LAYERS = [LearnableLog, PCEN, MelSpectrogram, lambda: Prototypes(n_classes=2)]


@pytest.fixture
def context(monkeypatch):
    """`tf_keras`, imported; what it says of its calls."""
    utils = ModuleType("tf_keras.src.engine.base_layer_utils")
    context = SimpleNamespace(in_call=False)
    utils.call_context = lambda: context
    for module in (ModuleType("tf_keras"), utils):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return context


@pytest.mark.parametrize("make", LAYERS)
def test_its_symbolic_tensors(context, make):
    of_keras_2 = {"__module__": "tf_keras.src.engine.keras_tensor", "dtype": "float32"}
    with pytest.raises(TypeError, match="Keras 3 model. Received: a call from a Keras 2 model .*unset TF_USE_LEGACY"):
        make()(type("KerasTensor", (), of_keras_2)())


@pytest.mark.parametrize("make", LAYERS)
def test_inside_its_models(context, make):
    layer, batch = make(), np.ones((2, 40), "float32")
    context.in_call = True
    with pytest.raises(TypeError, match="is a layer of Keras 3 and must be part of a Keras 3 model"):
        layer(batch)


def test_beside_it_the_layers_work(context):
    model = keras.Sequential([keras.Input((3, 4)), LearnableLog()])
    assert model(np.ones((2, 3, 4))).shape == (2, 3, 4)
