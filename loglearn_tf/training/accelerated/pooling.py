"""Keras' maximum pooling, which comes before what keeps the order of its values rather than after it."""

from collections.abc import Callable
from typing import Any

import keras


class MaxPooling2D(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """`keras.layers.MaxPooling2D` with the same numbers and saved form, only less work for the layers before it.

    The maximum of `f(x)` over a window is `f` of the maximum of `x`, if `f` rises: a bias, a rectifier, or batch
    normalisation, which is a line for each channel. Applied after the pooling, `f` has a fraction of the values to go
    through. A layer that can wait so leaves a note with its output, see `pooled_before`; without one, Keras' own code
    runs.

    Saved files hold Keras' class, so that they load where this package is not: see the end of this module.

    Args:
        **kwargs: See Keras.
    """

    def call(self, inputs: Any) -> Any:
        pooled = getattr(inputs, _NOTE, None)
        return super().call(inputs) if pooled is None else pooled(super().call)


class GlobalMaxPooling2D(keras.layers.GlobalMaxPooling2D):  # type: ignore[misc]
    """`keras.layers.GlobalMaxPooling2D`, as `MaxPooling2D` is of its kind.

    Equal maxima share a gradient, as in Keras, with one pass over the map less.

    Args:
        **kwargs: See Keras.
    """

    def call(self, inputs: Any) -> Any:
        pool = super().call
        if keras.backend.backend() == "tensorflow" and self.data_format == "channels_last":

            def pool(x: Any) -> Any:
                return _highest(x) if self.keepdims else _highest(x)[:, 0, 0]

        pooled = getattr(inputs, _NOTE, None)
        return pool(inputs) if pooled is None else pooled(pool)


def _highest(x: Any) -> Any:
    """`(batch, rows, columns, channels)` to `(batch, 1, 1, channels)`."""
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def highest(x: Any) -> Any:
        y = tf.reduce_max(x, axis=[1, 2], keepdims=True)

        def gradient(of_y: Any) -> Any:
            is_highest = tf.cast(tf.equal(x, y), x.dtype)
            return is_highest * (of_y / tf.reduce_sum(is_highest, axis=[1, 2], keepdims=True))

        return y, gradient

    return highest(x)


# Keras, too, leaves notes with tensors: their masks.
_NOTE = "_loglearn_pooled"


def pooled_before(output: Any, pooled: Callable[[Callable[[Any], Any]], Any]) -> Any:
    """A layer's output, with a note of how its maxima are found with less work.

    Args:
        output: Of the layer. Where nothing but a pooling uses it, a compiled function does not compute it.
        pooled: Given the pooling, returns what the pooling of `output` would.
    """
    # JAX's arrays take no notes.
    if keras.backend.backend() == "tensorflow":
        setattr(output, _NOTE, pooled)
    return output


# Keras writes module and name into saved files; these are where its own classes are looked up.
MaxPooling2D.__module__ = GlobalMaxPooling2D.__module__ = "keras.layers"
