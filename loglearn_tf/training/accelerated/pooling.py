"""Maximum pooling, for the layers that it is fused with."""

from typing import Any

import keras


def pooled(pool: keras.layers.Layer, x: Any) -> Any:
    """`pool(x)`, of a global maximum with the quicker gradient of `highest`."""
    if type(pool) is keras.layers.GlobalMaxPooling2D:
        return highest(x) if pool.keepdims else highest(x)[:, 0, 0]
    # Calling the layer would convert bfloat16 to float32.
    return pool.call(x) if x.dtype == "bfloat16" else pool(x)


def highest(x: Any) -> Any:
    """`(batch, rows, columns, channels)` to the maxima over rows and columns, `(batch, 1, 1, channels)`.

    Equal maxima share a gradient, as in Keras, with one pass over the map less.
    """
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def maximum(x: Any) -> Any:
        y = tf.reduce_max(x, axis=[1, 2], keepdims=True)

        def gradient(of_y: Any) -> Any:
            is_highest = tf.cast(tf.equal(x, y), x.dtype)
            return is_highest * (of_y / tf.reduce_sum(is_highest, axis=[1, 2], keepdims=True))

        return y, gradient

    return maximum(x)
