"""Refuses calls from Keras 2, in which the layers would silently not be trained."""

import sys
from typing import Any

_PACKAGE = "tf_keras"  # what `tf.keras` is with TF_USE_LEGACY_KERAS=1


def refuse_keras_2(layer: Any, *inputs: Any) -> None:
    """Raises a `TypeError` if a layer is called with a Keras 2 tensor or from a Keras 2 model.

    To be called first in `__call__` of every layer. A Keras 2 model treats a Keras 3 layer as a function: it computes,
    but its weights are not the model's, so they are neither trained nor saved.
    """
    if _PACKAGE in sys.modules and (any(map(_is_of_keras_2, inputs)) or _keras_2_is_calling()):
        raise TypeError(
            f"Layer `{layer.name}` is a layer of Keras 3 and must be part of a Keras 3 model. Received: a call from a "
            f"Keras 2 model (`{_PACKAGE}`, which is `tf.keras` if TF_USE_LEGACY_KERAS=1 is set); the layer would "
            "not be trained. Build the model with `import keras`, or unset TF_USE_LEGACY_KERAS before TensorFlow is "
            "imported."
        )


def _is_of_keras_2(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == _PACKAGE


def _keras_2_is_calling() -> bool:
    """Whether this runs inside the `call` of a Keras 2 layer or model, which uses plain TensorFlow tensors."""
    # Not public, so it may move in other versions; symbolic tensors are still recognised then.
    utils = sys.modules.get(f"{_PACKAGE}.src.engine.base_layer_utils")
    return utils is not None and bool(utils.call_context().in_call)
