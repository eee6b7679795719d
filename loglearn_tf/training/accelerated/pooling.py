"""Maximum pooling, for the layers that it is fused with."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from loglearn_tf.training.accelerated.xla import compiled


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


class Maxima:
    """A maximum pooling of a map that is not kept.

    If its windows do not overlap and cover the map, the places of the maxima are kept instead, a byte each, and the
    gradient needs nothing else. Otherwise it needs the map again.

    Args:
        pool: A layer of Keras.
        shape: Of the map, `(batch, rows, columns, channels)`.
        dtype: Of the map.

    Attributes:
        dtypes: Of what `of` returns: maxima, and places if there are any.
    """

    def __init__(self, pool: keras.layers.MaxPooling2D, shape: tuple[int | None, ...], dtype: str) -> None:
        self._pool = pool
        self._window = tuple(pool.pool_size)
        height, width = self._window
        _, rows, columns, _ = shape
        covers = None not in (rows, columns) and rows % height == columns % width == 0
        # In bfloat16, TensorFlow's own are as fast.
        self._has_places = (
            dtype == "float32" and covers and self._window == tuple(pool.strides) and height * width <= 256
        )
        self.dtypes = [dtype, "uint8"] if self._has_places else [dtype]

    def of(self, x: Any) -> Sequence[Any]:
        """The maxima of a map, and their places."""
        return _maxima_and_places(self._window)(x) if self._has_places else [pooled(self._pool, x)]

    def gradient(self, of_maxima: Any, places: Sequence[Any], again: Callable[[], Any]) -> Any:
        """Of the map, which `again` computes if it is needed."""
        if places:
            return _to_places(self._window)(of_maxima, *places)
        x = again()
        # The pooling, too: TensorFlow's fast gradient needs the forward operation in the same graph, which that of a
        # loop is not, and the other one takes twenty times as long.
        return pooling_gradient(self._pool, x, pooled(self._pool, x), of_maxima)


def pooling_gradient(pool: keras.layers.MaxPooling2D, x: Any, y: Any, of_y: Any) -> Any:
    """Of `x`, where `y = pooled(pool, x)`."""
    import tensorflow as tf

    return tf.raw_ops.MaxPoolGrad(
        orig_input=x,
        orig_output=y,
        grad=of_y,
        ksize=[1, *pool.pool_size, 1],
        strides=[1, *pool.strides, 1],
        padding=pool.padding.upper(),
    )


@functools.cache
def _maxima_and_places(window: tuple[int, int]) -> Any:
    """Of a float32 map; of equal maxima the first one's place, as TensorFlow has it."""
    import tensorflow as tf

    height, width = window

    def maxima_and_places(x: Any) -> tuple[Any, Any]:
        batch, rows, columns, channels = tf.unstack(tf.shape(x))
        windows = tf.reshape(x, [batch, rows // height, height, columns // width, width, channels])
        first, *others = [windows[:, :, row, :, column] for row in range(height) for column in range(width)]
        maxima, places = first, tf.zeros_like(first, tf.uint8)
        for at, other in enumerate(others, 1):
            places = tf.where(other > maxima, tf.constant(at, tf.uint8), places)
            maxima = tf.maximum(other, maxima)
        return maxima, places

    return compiled(maxima_and_places, ["float32"], [4])


@functools.cache
def _to_places(window: tuple[int, int]) -> Any:
    """The gradient of the map: that of each maximum at its place, zero elsewhere."""
    import tensorflow as tf

    height, width = window

    def to_places(of_maxima: Any, places: Any) -> Any:
        batch, rows, columns, channels = tf.unstack(tf.shape(of_maxima))
        each = tf.reshape(tf.range(height * width), [height, 1, width, 1])
        is_place = tf.cast(places, tf.int32)[:, :, tf.newaxis, :, tf.newaxis] == each
        windows = tf.where(is_place, of_maxima[:, :, tf.newaxis, :, tf.newaxis], 0.0)
        return tf.reshape(windows, [batch, rows * height, columns * width, channels])

    return compiled(to_places, ["float32", "uint8"], [4, 4])
