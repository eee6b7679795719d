"""Training steps in bfloat16: bfloat16 factors, float32 sums, and feature maps in bfloat16 between the layers.

On processors with bfloat16 instructions, TensorFlow's convolutions, poolings and batch normalisations are up to six
times as fast in bfloat16 as in float32. Its activations and their gradients are four times as slow. Here activations
are therefore fused with the convolution, and their gradients are compiled by XLA, which reads and writes bfloat16 and
computes in float32.

Weights stay float32. They are rounded for each product, and their gradients are returned in float32.
"""

from collections.abc import Callable
from typing import Any

import keras

from loglearn_tf.training.accelerated.block import WITH_SLOPE, Convolution
from loglearn_tf.training.accelerated.pooling import pooled


def dense(layer: keras.layers.Dense, x: Any) -> Any:
    """A dense layer in a training step. The bias and the activation are computed in float32.

    Args:
        layer: Built.
        x: `(..., features)`, of any precision.

    Returns:
        `(..., units)` float32.
    """
    import tensorflow as tf

    kernel = tf.cast(tf.convert_to_tensor(layer.kernel), tf.bfloat16)
    y = tf.cast(tf.matmul(tf.cast(x, tf.bfloat16), kernel), tf.float32)
    if layer.use_bias:
        y = y + tf.convert_to_tensor(layer.bias)
    return y if layer.activation is None else layer.activation(y)


def convolution(layer: keras.layers.Conv2D, x: Any, pool: keras.layers.Layer | None) -> Any:
    """A convolution in a training step, and the maximum pooling after it.

    Args:
        layer: Built; channels last, in one group, not dilated.
        x: `(batch, frames, bands, channels)`, of any precision.
        pool: Applied before the activation, which must then be monotonic.

    Returns:
        `(batch, rows, columns, filters)` bfloat16, or the output of a global pooling.
    """
    import tensorflow as tf

    with_map = pool is None and layer.activation in WITH_SLOPE
    convolved = Convolution(layer, layer.activation if with_map else keras.activations.linear, "bfloat16")

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: Any, *weights: Any) -> Any:
        y = convolved.map_of(x, weights)

        def gradient(of_y: Any) -> list[Any]:
            of_x, *of_weights = convolved.gradients(x, weights, convolved.through_activation(of_y, y))
            return [of_x, *of_weights]

        return y, gradient

    y = convolve(tf.cast(x, tf.bfloat16), *convolved.weights())
    if pool is not None:
        y = pooled(pool, y)
    return y if with_map else _activated(layer.activation, y)


def _activated(activation: Callable[[Any], Any], x: Any) -> Any:
    """bfloat16 to bfloat16; TensorFlow has a fast bfloat16 kernel only for ReLU."""
    import tensorflow as tf

    if activation in (keras.activations.linear, keras.activations.relu):
        return activation(x)
    return tf.cast(activation(tf.cast(x, tf.float32)), tf.bfloat16)
