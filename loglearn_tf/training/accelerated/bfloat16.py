"""Training steps in bfloat16: products of two bfloat16, added in float32, with maps in bfloat16 between them.

TensorFlow's convolutions, poolings and batch normalisations are two to six times as fast in bfloat16 as in float32, on
processors that compute in it; its activations, and their gradients, take four times as long. So these are part of the
convolution here, and their gradients are compiled by XLA: what is read and written as bfloat16 is float32 in between.

Weights stay float32 and are rounded for each product; their gradients come back as float32.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras

from loglearn_tf.training.accelerated.pooling import pooled


def convolution_in_bfloat16(layer: keras.layers.Conv2D, x: Any, pool: keras.layers.Layer | None) -> Any:
    """What a convolution, and the pooling after it, does in a training step.

    Args:
        layer: Built; channels last, in one group, not dilated.
        x: `(batch, frames, bands, channels)`, of any precision.
        pool: Comes before the activation, which must then rise.

    Returns:
        `(batch, rows, columns, filters)` bfloat16.
    """
    import tensorflow as tf

    activation = None if pool is not None else layer.activation
    y = _convolved(layer, tf.cast(x, tf.bfloat16), activation if activation in _WITH_CONVOLUTION else None)
    if pool is not None:
        y, activation = pooled(pool, y), layer.activation
    return y if activation is None or (pool is None and activation in _WITH_CONVOLUTION) else _activated(activation, y)


def dense_in_bfloat16(layer: keras.layers.Dense, x: Any) -> Any:
    """What a dense layer does in a training step; its bias and its activation in float32.

    Args:
        layer: Built.
        x: `(..., features)`, of any precision.

    Returns:
        `(..., units)` float32.
    """
    import tensorflow as tf

    product = tf.matmul(tf.cast(x, tf.bfloat16), tf.cast(tf.convert_to_tensor(layer.kernel), tf.bfloat16))
    y = tf.cast(product, tf.float32)
    if layer.use_bias:
        y = y + tf.convert_to_tensor(layer.bias)
    return y if layer.activation is None else layer.activation(y)


def _convolved(layer: keras.layers.Conv2D, x: Any, activation: Callable[[Any], Any] | None) -> Any:
    import tensorflow as tf

    strides, padding = [1, *layer.strides, 1], layer.padding.upper()
    # As tensors: of variables, `custom_gradient` would want to know more.
    weights = [tf.convert_to_tensor(layer.kernel)]
    if layer.use_bias:
        weights.append(tf.convert_to_tensor(layer.bias))

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: Any, *weights: Any) -> Any:
        kernel, *biases = (tf.cast(weight, tf.bfloat16) for weight in weights)
        y = tf.nn.conv2d(x, kernel, strides, padding)
        # One after another and with no other reader, TensorFlow makes one operation of the three.
        for bias in biases:
            y = tf.nn.bias_add(y, bias)
        if activation is not None:
            y = activation(y)

        def gradient(of_y: Any) -> list[Any]:
            of_map = of_y if activation is None else _GRADIENTS[activation](of_y, y)
            shared = {"out_backprop": of_map, "strides": strides, "padding": padding}
            of_x = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, **shared)
            of_weights = [tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **shared)]
            of_weights += [tf.raw_ops.BiasAddGrad(out_backprop=of_map) for _ in biases]
            return [of_x, *(tf.cast(one, tf.float32) for one in of_weights)]

        return y, gradient

    return convolve(x, *weights)


def _activated(activation: Callable[[Any], Any], x: Any) -> Any:
    """Of bfloat16 in bfloat16; TensorFlow has no fast kernels but of the rectifier."""
    import tensorflow as tf

    if activation in (keras.activations.linear, keras.activations.relu):
        return activation(x)
    return tf.cast(activation(tf.cast(x, tf.float32)), tf.bfloat16)


def _elu_gradient(of_y: Any, y: Any) -> Any:
    return _compiled(_elu_gradient_in_float32, 2)(of_y, y)


def _elu_gradient_in_float32(of_y: Any, y: Any) -> Any:
    import tensorflow as tf

    # Below zero the slope of exp(x) - 1 is y + 1. A minimum with zero XLA would take half a second for.
    slope = 1.0 + tf.clip_by_value(tf.cast(y, tf.float32), -1.0, 0.0)
    return tf.cast(tf.cast(of_y, tf.float32) * slope, tf.bfloat16)


def _relu_gradient(of_y: Any, y: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.ReluGrad(gradients=of_y, features=y)


def line_of_both(a: Any, b: Any, scale_of_a: Any, scale_of_b: Any, offset: Any) -> Any:
    """`scale_of_a * a + scale_of_b * b + offset` of two maps in bfloat16, in one pass; scales of each channel."""
    return _compiled(_line_in_float32, 2, 3)(a, b, scale_of_a, scale_of_b, offset)


def _line_in_float32(a: Any, b: Any, scale_of_a: Any, scale_of_b: Any, offset: Any) -> Any:
    import tensorflow as tf

    y = scale_of_a * tf.cast(a, tf.float32) + scale_of_b * tf.cast(b, tf.float32) + offset
    return tf.cast(y, tf.bfloat16)


@functools.cache
def _compiled(function: Callable[..., Any], n_maps: int, n_vectors: int = 0) -> Callable[..., Any]:
    """A function of maps, `(batch, rows, columns, channels)` bfloat16, and float32 vectors, compiled by XLA: once for
    every shape, for which it takes a tenth of a second."""
    import tensorflow as tf

    maps = [tf.TensorSpec([None, None, None, None], tf.bfloat16)] * n_maps
    vectors = [tf.TensorSpec([None], tf.float32)] * n_vectors
    return tf.function(function, input_signature=[*maps, *vectors], jit_compile=True, autograph=False)


_GRADIENTS = {keras.activations.elu: _elu_gradient, keras.activations.relu: _relu_gradient}
# Activations that TensorFlow computes together with the convolution, and whose gradient follows from what they return.
_WITH_CONVOLUTION = tuple(_GRADIENTS)
