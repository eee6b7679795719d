"""Keras 2 beside Keras 3: what of it reaches a layer is refused, before it trains nothing in silence."""

import sys
from typing import Any

_PACKAGE = "tf_keras"  # what `tf.keras` is with TF_USE_LEGACY_KERAS=1


class Keras3Only:
    """First base of every layer of this package, before Keras' own.

    A Keras 2 model takes a Keras 3 layer for a function: it computes, but its weights are not the model's, so they are
    neither trained nor saved.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _PACKAGE in sys.modules and (any(map(_is_of_keras_2, [*args, *kwargs.values()])) or _keras_2_is_calling()):
            raise TypeError(
                f"Layer `{getattr(self, 'name', type(self).__name__)}` is a layer of Keras 3 and must be part of a "
                f"Keras 3 model. Received: a call from a Keras 2 model (`{_PACKAGE}`, which is `tf.keras` where "
                "TF_USE_LEGACY_KERAS=1 is set); the layer would not be trained. Build the model with `import keras`, or "
                "unset TF_USE_LEGACY_KERAS before TensorFlow is imported."
            )
        return super().__call__(*args, **kwargs)  # type: ignore[misc]


def _is_of_keras_2(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == _PACKAGE


def _keras_2_is_calling() -> bool:
    """Whether this happens inside the `call` of a Keras 2 layer or model, whose tensors are TensorFlow's own."""
    try:
        from tf_keras.src.engine.base_layer_utils import call_context
    except ImportError:  # a version that keeps it elsewhere: its symbolic tensors are still told
        return False
    return bool(call_context().in_call)
