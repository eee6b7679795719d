"""Keras' maximum pooling, which comes before what keeps the order of its values rather than after it."""

from collections.abc import Callable
from typing import Any

import keras


class MaxPooling2D(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """`keras.layers.MaxPooling2D` with the same numbers and saved form, only less work for the layers before it.

    The maximum of `f(x)` over a window is `f` of the maximum of `x`, if `f` rises: a rectifier, or batch normalisation,
    which is a line for each channel. Applied after the pooling, `f` has a fraction of the values to go through. A layer
    that can wait so leaves a note with its output, see `pooled_before`; without one, Keras' own code runs.

    Saved files hold Keras' class, so that they load where this package is not: see the end of this module.

    Args:
        **kwargs: See Keras.
    """

    def call(self, inputs: Any) -> Any:
        pooled = getattr(inputs, _NOTE, None)
        return super().call(inputs) if pooled is None else pooled(super().call)


# Keras, too, leaves notes with tensors: their masks.
_NOTE = "_loglearn_pooled"


def pooled_before(output: Any, pooled: Callable[[Callable[[Any], Any]], Any]) -> Any:
    """A layer's output, with a note of how its maxima are found with less work.

    Args:
        output: Of the layer. Where nothing but a `MaxPooling2D` uses it, a compiled function does not compute it.
        pooled: Given the pooling, returns what the pooling of `output` would.
    """
    # JAX's arrays take no notes.
    if keras.backend.backend() == "tensorflow":
        setattr(output, _NOTE, pooled)
    return output


# Keras writes module and name into saved files; these are where its own class is looked up.
MaxPooling2D.__module__ = "keras.layers"
