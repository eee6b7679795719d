"""Keras 2 beside Keras 3: what of it reaches a layer is refused, before it trains nothing in silence."""

import sys
from typing import Any

_PACKAGE = "tf_keras"  # what `tf.keras` is with TF_USE_LEGACY_KERAS=1


def refuse_keras_2(layer: Any, *inputs: Any) -> None:
    """Raises a `TypeError` where a layer is called with a tensor of Keras 2, or from within a model of Keras 2.

    To be called first by `__call__` of every layer. A Keras 2 model takes a Keras 3 layer for a function: it computes,
    but its weights are not the model's, so they are neither trained nor saved.
    """
    if _PACKAGE in sys.modules and (any(map(_is_of_keras_2, inputs)) or _keras_2_is_calling()):
        raise TypeError(
            f"Layer `{layer.name}` is a layer of Keras 3 and must be part of a Keras 3 model. Received: a call from a "
            f"Keras 2 model (`{_PACKAGE}`, which is `tf.keras` where TF_USE_LEGACY_KERAS=1 is set); the layer would "
            "not be trained. Build the model with `import keras`, or unset TF_USE_LEGACY_KERAS before TensorFlow is "
            "imported."
        )


def _is_of_keras_2(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == _PACKAGE


def _keras_2_is_calling() -> bool:
    """Whether this happens inside the `call` of a Keras 2 layer or model, whose tensors are TensorFlow's own."""
    # Not public, and so perhaps elsewhere in another version: its symbolic tensors are still told.
    utils = sys.modules.get(f"{_PACKAGE}.src.engine.base_layer_utils")
    return utils is not None and bool(utils.call_context().in_call)
