"""A convolution, a batch normalisation and a maximum pooling, trained as one: the precisions float32_fast and bfloat16.

The map between the convolution and the pooling is the largest of a network, and most of the time goes into passes over
it. Here the activation is fused with the convolution, as TensorFlow can. The gradients of the normalisation, the
activation and, over one channel, the bias are one pass, compiled by XLA, instead of three or four.

In bfloat16, weights stay float32. They are rounded for each product, and their gradients are returned in float32.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from loglearn_tf.training.accelerated.convolution import (
    one_channel_gradients,
    one_channel_input_gradient,
    sees_one_channel,
)
from loglearn_tf.training.accelerated.normalization import moments
from loglearn_tf.training.accelerated.pooling import Maxima, pooled, pooling_gradient
from loglearn_tf.training.accelerated.precision import Precision, dtype_of
from loglearn_tf.training.accelerated.xla import compiled

# Per patch: larger maps over one channel are computed again for the gradient instead of being kept. In float32 that is
# quicker: the parts stay in the processor's cache. In bfloat16 VGG with 32 filters has 1 MiB, prototypical networks
# have 4 MiB.
_KEPT_BYTES = {"float32": 0, "bfloat16": 2 << 20}
# The largest part of a feature map that is computed at once, where a map is computed in parts. 5 to 48 MiB were
# measured.
_PART_BYTES = 12 << 20


def pooled_convolution(layer: keras.layers.Conv2D, pool: keras.layers.MaxPooling2D, x: Any) -> Any:
    """A convolution over one channel, without bias and activation, and a maximum pooling, in float32.

    The map between them is computed a few patches at a time and not kept: the gradient needs the places of the maxima
    only, or else computes it again.

    Args:
        layer: Built; in one group, without strides, not dilated.
        pool: Takes its output.
        x: `(batch, frames, bands, 1)`.

    Returns:
        `(batch, rows, columns, filters)`.
    """
    import tensorflow as tf

    convolved = Convolution(layer, keras.activations.linear, "float32_fast")
    shape = layer.compute_output_shape(tuple(x.shape))
    maxima = Maxima(pool, shape, "float32")

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def block(x: Any, kernel: Any) -> Any:
        n_parts = _number_of_parts(layer, x)

        def map_of(x: Any) -> Any:
            return convolved.map_of(x, [kernel])

        y, *places = _in_parts(lambda x: maxima.of(map_of(x)), [x], n_parts, joined=maxima.dtypes)

        def gradient(of_y: Any) -> list[Any]:
            def of_part(x: Any, of_y: Any, *places: Any) -> list[Any]:
                of_map = maxima.gradient(of_y, places, lambda: map_of(x))
                return convolved.gradients(x, [kernel], of_map)

            of_x, of_kernel = _in_parts(of_part, [x, of_y, *places], n_parts, joined=[x.dtype], n_stacked=1)
            return [of_x, tf.reduce_sum(of_kernel, 0)]

        return y, gradient

    y = block(tf.convert_to_tensor(x), tf.convert_to_tensor(layer.kernel))
    y.set_shape(pool.compute_output_shape(shape))
    return y


def normalised_convolution(
    layer: keras.layers.Conv2D,
    norm: keras.layers.BatchNormalization,
    pool: keras.layers.MaxPooling2D,
    x: Any,
    precision: Precision,
) -> tuple[Any, Any, Any]:
    """A convolution, a batch normalisation and a maximum pooling in a training step.

    The gradients of gamma and beta are sums over the maxima only. Given these, the gradient of the map before the
    activation is a single elementwise expression of the gradient that the pooling returns. A convolution over one
    channel is cheap and has the largest map of the network. Unless that is small, it is not kept for the gradient but
    computed again, a few patches at a time: this halves the memory of an update.

    Args:
        layer: Built; channels last, in one group, not dilated; its activation one of `WITH_NORM`.
        norm: Over the last of four axes, with center and scale; trained.
        pool: Takes its output.
        x: `(batch, frames, bands, channels)`, of any precision.
        precision: Of the convolution, its map and the result.

    Returns:
        `(batch, rows, columns, filters)` of that precision; mean and variance of the batch, `(filters,)` float32.
    """
    import tensorflow as tf

    convolved = Convolution(layer, layer.activation, precision)
    map_shape = layer.compute_output_shape(tuple(x.shape))
    dtype = dtype_of(precision)
    maxima_of_part = Maxima(pool, map_shape, dtype)
    _, rows, columns, _ = x.shape
    value_bytes = tf.as_dtype(dtype).size
    is_small = None not in (rows, columns) and value_bytes * rows * columns * layer.filters <= _KEPT_BYTES[dtype]
    is_kept = is_small or layer.kernel.shape[2] > 1
    epsilon = norm.epsilon

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def block(x: Any, gamma: Any, beta: Any, *weights: Any) -> Any:
        # With a negative gamma the maximum after normalisation is the minimum before it: these channels are negated.
        sign = tf.where(gamma < 0, -1.0, 1.0)

        def turn(y: Any) -> Any:
            return tf.cond(tf.reduce_any(gamma < 0), lambda: y * tf.cast(sign, y.dtype), lambda: y)

        def statistics(y: Any) -> tuple[Any, Any, Any]:
            return *moments(y, epsilon), tf.cast(tf.size(y) // y.shape[-1], tf.float32)

        def part(x: Any) -> list[Any]:
            y = convolved.map_of(x, weights)
            return [*maxima_of_part.of(turn(y)), *statistics(y)]

        if is_kept:
            y = convolved.map_of(x, weights)
            turned = turn(y)
            maxima, places = pooled(pool, turned), []
            mean, variance, size = statistics(y)
        else:
            maxima, *places, means, variances, sizes = _in_parts(
                part, [x], n_parts, joined=maxima_of_part.dtypes, n_stacked=3
            )
            # The variance of the whole: the mean of the parts' variances plus the variance of their means.
            size = tf.reduce_sum(sizes)
            share = (sizes / size)[:, tf.newaxis]
            mean = tf.reduce_sum(share * means, 0)
            variance = tf.reduce_sum(share * (variances + (means - mean) ** 2), 0)
        scale, around = sign * gamma, sign * mean
        normalised, *_ = tf.compat.v1.nn.fused_batch_norm(
            maxima, scale, beta, mean=around, variance=variance, epsilon=epsilon, is_training=False
        )

        def gradient(of_normalised: Any, *_: Any) -> list[Any]:
            _, of_scale, of_beta, _, _ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=of_normalised,
                x=maxima,
                scale=scale,
                reserve_space_1=around,
                reserve_space_2=variance,
                reserve_space_3=tf.zeros([0]),
                epsilon=epsilon,
                is_training=True,
            )
            of_gamma = sign * of_scale
            # The gradient of each value of the map: directly, and through the mean and the variance of the batch.
            inverse = tf.math.rsqrt(variance + epsilon)
            direct = gamma * inverse
            by_value = -direct * inverse * of_gamma / size
            offset = -direct * of_beta / size - by_value * mean

            def backward(x: Any, y: Any, of_y: Any) -> list[Any]:
                of_map = _line(convolved.activation, dtype)(of_y, y, direct, by_value, offset)
                return convolved.gradients(x, weights, of_map)

            def of_part(x: Any, of_normalised: Any, *places: Any) -> list[Any]:
                y = convolved.map_of(x, weights)
                return backward(x, y, maxima_of_part.gradient(of_normalised, places, lambda: turn(y)))

            if is_kept:
                of_x, *of_weights = backward(x, y, pooling_gradient(pool, turned, maxima, of_normalised))
            else:
                of_x, *parts = _in_parts(
                    of_part, [x, of_normalised, *places], n_parts, joined=[x.dtype], n_stacked=len(weights)
                )
                of_weights = [tf.reduce_sum(one, 0) for one in parts]
            return [of_x, of_gamma, of_beta, *of_weights]

        return (normalised, mean, variance), gradient

    x = tf.cast(x, dtype)
    n_parts = _number_of_parts(layer, x)
    y, mean, variance = block(
        x, tf.convert_to_tensor(norm.gamma), tf.convert_to_tensor(norm.beta), *convolved.weights()
    )
    y.set_shape(pool.compute_output_shape(map_shape))
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance)


class Convolution:
    """A convolution with bias and activation, and its gradients.

    Args:
        layer: Keras', built.
        activation: Of `WITH_SLOPE`, or linear.
        precision: Of the input, the map and their gradients.
    """

    def __init__(self, layer: keras.layers.Conv2D, activation: Callable[[Any], Any], precision: Precision) -> None:
        self.layer = layer
        self.activation = activation
        self._dtype = dtype_of(precision)
        self._strides = [1, *layer.strides, 1]
        self._padding = layer.padding.upper()

    def weights(self) -> list[Any]:
        """Kernel and bias as float32 tensors; `custom_gradient` treats variables differently."""
        import tensorflow as tf

        return [tf.convert_to_tensor(one) for one in (self.layer.kernel, self.layer.bias) if one is not None]

    def map_of(self, x: Any, weights: Sequence[Any]) -> Any:
        import tensorflow as tf

        kernel, *biases = (tf.cast(weight, self._dtype) for weight in weights)
        y = tf.nn.conv2d(x, kernel, self._strides, self._padding)
        # TensorFlow fuses the three into one operation if nothing else reads the results between them.
        for bias in biases:
            y = tf.nn.bias_add(y, bias)
        return self.activation(y)

    def through_activation(self, of_y: Any, y: Any) -> Any:
        """The gradient of the activation's input, from that of its output."""
        import tensorflow as tf

        if self.activation is keras.activations.linear:
            return of_y
        if self.activation is keras.activations.relu:
            return tf.raw_ops.ReluGrad(gradients=of_y, features=y)
        return _times_slope(self.activation, self._dtype)(of_y, y)

    def gradients(self, x: Any, weights: Sequence[Any], of_map: Any) -> list[Any]:
        """Of `x`, of its precision, and of the weights, float32."""
        import tensorflow as tf

        is_of_one_channel = sees_one_channel(self.layer)
        # In bfloat16, TensorFlow's own gradients of the weights are as fast.
        if self._dtype == "float32" and is_of_one_channel:
            found = one_channel_gradients(x, weights[0], of_map, self._padding, is_fast=True)
            return list(found[: 1 + len(weights)])
        kernel = tf.cast(weights[0], self._dtype)
        shared = {"out_backprop": of_map, "strides": self._strides, "padding": self._padding}
        if is_of_one_channel:
            of_x = one_channel_input_gradient(x, kernel, of_map, self._padding, is_fast=True)
        else:
            of_x = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, **shared)
        of_weights = [tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **shared)]
        of_weights += [tf.raw_ops.BiasAddGrad(out_backprop=of_map) for _ in weights[1:]]
        return [of_x, *(tf.cast(one, tf.float32) for one in of_weights)]


def _number_of_parts(layer: keras.layers.Conv2D, x: Any) -> Any:
    """Into which to cut the input of a convolution over one channel; its map has up to as many values, per filter."""
    import tensorflow as tf

    return tf.cast(1 + tf.size(x, tf.int64) * (x.dtype.size * layer.filters) // _PART_BYTES, tf.int32)


def _in_parts(
    function: Callable[..., Sequence[Any]],
    maps: Sequence[Any],
    n_parts: Any,
    *,
    joined: Sequence[Any],
    n_stacked: int = 0,
) -> tuple[Any, ...]:
    """Calls a function on a few patches at a time, in order.

    Args:
        function: Of as many maps; returns maps, then float32 tensors.
        maps: `(batch, rows, columns, channels)` each.
        n_parts: At most this many parts.
        joined: Precisions of the maps that are returned.
        n_stacked: How many tensors follow them.

    Returns:
        The maps joined, and each of the tensors stacked.
    """
    import tensorflow as tf

    n = tf.shape(maps[0])[0]
    each = -(-n // n_parts)
    found = [tf.TensorArray(dtype, 0, dynamic_size=True, infer_shape=False) for dtype in joined]
    found += [tf.TensorArray(tf.float32, 0, dynamic_size=True) for _ in range(n_stacked)]

    def part(at: Any, *found: Any) -> tuple[Any, ...]:
        results = function(*(one[at * each : (at + 1) * each] for one in maps))
        return at + 1, *(array.write(at, result) for array, result in zip(found, results, strict=True))

    _, *found = tf.while_loop(lambda at, *_: at * each < n, part, (0, *found), parallel_iterations=1)
    return *(one.concat() for one in found[: len(joined)]), *(one.stack() for one in found[len(joined) :])


# ---- Compiled by XLA --------------------------------------------------------------------------------------------


def _elu_slope(y: Any) -> Any:
    import tensorflow as tf

    # Below zero the slope of y = exp(x) - 1 is y + 1. A minimum with zero is the same, but takes twice as long.
    return 1.0 + tf.clip_by_value(y, -1.0, 0.0)


def _relu_slope(y: Any) -> Any:
    import tensorflow as tf

    return tf.where(y > 0, 1.0, 0.0)


# Activations that TensorFlow fuses with the convolution, and their slopes as functions of their outputs.
WITH_SLOPE = {keras.activations.elu: _elu_slope, keras.activations.relu: _relu_slope}
WITH_NORM = (keras.activations.linear, *WITH_SLOPE)


@functools.cache
def _times_slope(activation: Callable[[Any], Any], dtype: str) -> Any:
    """`of_y` times the slope of the activation whose output was `y`."""
    import tensorflow as tf

    def times_slope(of_y: Any, y: Any) -> Any:
        slope = WITH_SLOPE[activation](tf.cast(y, tf.float32))
        return tf.cast(tf.cast(of_y, tf.float32) * slope, dtype)

    return compiled(times_slope, [dtype] * 2, [4] * 2)


@functools.cache
def _line(activation: Callable[[Any], Any], dtype: str) -> Any:
    """`direct * of_y + by_value * y + offset` per channel, times the slope of the activation whose output was `y`."""
    import tensorflow as tf

    def line(of_y: Any, y: Any, direct: Any, by_value: Any, offset: Any) -> Any:
        y = tf.cast(y, tf.float32)
        of_map = direct * tf.cast(of_y, tf.float32) + by_value * y + offset
        if activation in WITH_SLOPE:
            of_map = of_map * WITH_SLOPE[activation](y)
        return tf.cast(of_map, dtype)

    return compiled(line, [dtype] * 2 + ["float32"] * 3, [4] * 2 + [1] * 3)
