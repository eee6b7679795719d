"""A convolution, a batch normalisation and a maximum pooling, trained as one; in float32 or in bfloat16.

The map between the convolution and the pooling is the largest of a network, and most of the time goes into passes over
it. Here the activation is fused with the convolution, as TensorFlow can. The gradients of the normalisation, the
activation and, over one channel, the bias are one pass, compiled by XLA, instead of three or four.

In bfloat16, weights stay float32. They are rounded for each product, and their gradients are returned in float32.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from loglearn_tf.training.accelerated.convolution import one_channel_gradients, sees_one_channel
from loglearn_tf.training.accelerated.normalization import moments
from loglearn_tf.training.accelerated.pooling import pooled
from loglearn_tf.training.accelerated.precision import Precision

# Per patch: larger maps over one channel are computed again for the gradient instead of being kept. In float32 that is
# quicker: the parts stay in the processor's cache. In bfloat16 VGG with 32 filters has 1 MiB, prototypical networks have
# 4 MiB.
_KEPT_BYTES = {"float32": 0, "bfloat16": 2 << 20}
# The largest part of a feature map that is computed at once, where a map is computed in parts. 5 to 48 MiB were measured.
_PART_BYTES = 12 << 20


def pooled_convolution(layer: keras.layers.Conv2D, pool: keras.layers.MaxPooling2D, x: Any) -> Any:
    """A convolution over one channel, without bias and activation, and a maximum pooling, in float32.

    The map between them is not kept but computed again for the gradient, a few patches at a time.

    Args:
        layer: Built; in one group, without strides, not dilated.
        pool: Takes its output.
        x: `(batch, frames, bands, 1)`.

    Returns:
        `(batch, rows, columns, filters)`.
    """
    import tensorflow as tf

    convolved = Convolution(layer, keras.activations.linear, "float32")

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def maxima(x: Any, kernel: Any) -> Any:
        n_parts = _number_of_parts(layer, x)

        def gradient(of_maxima: Any) -> list[Any]:
            def again(x: Any, of_maxima: Any) -> list[Any]:
                y = convolved.map_of(x, [kernel])
                of_map = _pooling_gradient(pool, y, pooled(pool, y), of_maxima)
                return convolved.gradients(x, [kernel], of_map)

            of_x, of_kernel = _in_parts(again, [x, of_maxima], n_parts, n_others=1)
            return [of_x, tf.reduce_sum(of_kernel, 0)]

        (y,) = _in_parts(lambda x: [pooled(pool, convolved.map_of(x, [kernel]))], [x], n_parts, n_others=0)
        return y, gradient

    y = maxima(tf.convert_to_tensor(x), tf.convert_to_tensor(layer.kernel))
    y.set_shape(pool.compute_output_shape(layer.compute_output_shape(tuple(x.shape))))
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
    _, rows, columns, _ = x.shape
    value_bytes = tf.as_dtype(precision).size
    is_small = None not in (rows, columns) and value_bytes * rows * columns * layer.filters <= _KEPT_BYTES[precision]
    is_kept = is_small or layer.kernel.shape[2] > 1
    epsilon = norm.epsilon

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def block(x: Any, gamma: Any, beta: Any, *weights: Any) -> Any:
        # With a negative gamma the maximum after normalisation is the minimum before it: these channels are negated.
        sign = tf.where(gamma < 0, -1.0, 1.0)

        def turn(y: Any) -> Any:
            return tf.cond(tf.reduce_any(gamma < 0), lambda: y * tf.cast(sign, y.dtype), lambda: y)

        def forward(y: Any) -> tuple[Any, ...]:
            size = tf.cast(tf.size(y) // y.shape[-1], tf.float32)
            turned = turn(y)
            return turned, pooled(pool, turned), *moments(y, epsilon), size

        if is_kept:
            y = convolved.map_of(x, weights)
            turned, maxima, mean, variance, size = forward(y)
        else:
            maxima, means, variances, sizes = _in_parts(
                lambda x: forward(convolved.map_of(x, weights))[1:], [x], n_parts, n_others=3
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

            def backward(x: Any, y: Any, turned: Any, maxima: Any, of_normalised: Any) -> list[Any]:
                of_y = _pooling_gradient(pool, turned, maxima, of_normalised)
                of_map = _line(convolved.activation, precision)(of_y, y, direct, by_value, offset)
                return convolved.gradients(x, weights, of_map)

            def again(x: Any, of_normalised: Any) -> list[Any]:
                y = convolved.map_of(x, weights)
                turned = turn(y)
                # The pooling, too: TensorFlow's fast gradient needs the forward operation in the same graph, which that
                # of a loop is not, and the other one takes twenty times as long.
                return backward(x, y, turned, pooled(pool, turned), of_normalised)

            if is_kept:
                of_x, *of_weights = backward(x, y, turned, maxima, of_normalised)
            else:
                of_x, *parts = _in_parts(again, [x, of_normalised], n_parts, n_others=len(weights))
                of_weights = [tf.reduce_sum(one, 0) for one in parts]
            return [of_x, of_gamma, of_beta, *of_weights]

        return (normalised, mean, variance), gradient

    x = tf.cast(x, precision)
    n_parts = _number_of_parts(layer, x)
    y, mean, variance = block(
        x, tf.convert_to_tensor(norm.gamma), tf.convert_to_tensor(norm.beta), *convolved.weights()
    )
    y.set_shape(pool.compute_output_shape(layer.compute_output_shape(tuple(x.shape))))
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
        self.precision = precision
        self._strides = [1, *layer.strides, 1]
        self._padding = layer.padding.upper()

    def weights(self) -> list[Any]:
        """Kernel and bias as float32 tensors; `custom_gradient` treats variables differently."""
        import tensorflow as tf

        return [tf.convert_to_tensor(one) for one in (self.layer.kernel, self.layer.bias) if one is not None]

    def map_of(self, x: Any, weights: Sequence[Any]) -> Any:
        import tensorflow as tf

        kernel, *biases = (tf.cast(weight, self.precision) for weight in weights)
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
        return _times_slope(self.activation, self.precision)(of_y, y)

    def gradients(self, x: Any, weights: Sequence[Any], of_map: Any) -> list[Any]:
        """Of `x`, of its precision, and of the weights, float32."""
        import tensorflow as tf

        # In bfloat16, TensorFlow's own are as fast.
        if self.precision == "float32" and sees_one_channel(self.layer):
            return list(one_channel_gradients(x, weights[0], of_map, self._padding)[: 1 + len(weights)])
        kernel = tf.cast(weights[0], self.precision)
        shared = {"out_backprop": of_map, "strides": self._strides, "padding": self._padding}
        of_x = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, **shared)
        of_weights = [tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **shared)]
        of_weights += [tf.raw_ops.BiasAddGrad(out_backprop=of_map) for _ in weights[1:]]
        return [of_x, *(tf.cast(one, tf.float32) for one in of_weights)]


def _pooling_gradient(pool: keras.layers.MaxPooling2D, x: Any, y: Any, of_y: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.MaxPoolGrad(
        orig_input=x,
        orig_output=y,
        grad=of_y,
        ksize=[1, *pool.pool_size, 1],
        strides=[1, *pool.strides, 1],
        padding=pool.padding.upper(),
    )


def _number_of_parts(layer: keras.layers.Conv2D, x: Any) -> Any:
    """Into which to cut the input of a convolution over one channel; its map has up to as many values, per filter."""
    import tensorflow as tf

    return tf.cast(1 + tf.size(x, tf.int64) * (x.dtype.size * layer.filters) // _PART_BYTES, tf.int32)


def _in_parts(
    function: Callable[..., Sequence[Any]], maps: Sequence[Any], n_parts: Any, *, n_others: int
) -> tuple[Any, ...]:
    """Calls a function on a few patches at a time, in order.

    Args:
        function: Of as many maps; returns a map of the same precision, and `n_others` float32 tensors.
        maps: `(batch, rows, columns, channels)` each, of one precision.
        n_parts: At most this many parts.

    Returns:
        The maps joined, and each of the others stacked.
    """
    import tensorflow as tf

    n = tf.shape(maps[0])[0]
    each = -(-n // n_parts)
    found = [tf.TensorArray(maps[0].dtype, 0, dynamic_size=True, infer_shape=False)]
    found += [tf.TensorArray(tf.float32, 0, dynamic_size=True) for _ in range(n_others)]

    def part(at: Any, *found: Any) -> tuple[Any, ...]:
        results = function(*(one[at * each : (at + 1) * each] for one in maps))
        return at + 1, *(array.write(at, result) for array, result in zip(found, results, strict=True))

    _, first, *others = tf.while_loop(lambda at, *_: at * each < n, part, (0, *found), parallel_iterations=1)
    return first.concat(), *(one.stack() for one in others)


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
def _times_slope(activation: Callable[[Any], Any], precision: Precision) -> Any:
    """`of_y` times the slope of the activation whose output was `y`."""
    import tensorflow as tf

    def times_slope(of_y: Any, y: Any) -> Any:
        slope = WITH_SLOPE[activation](tf.cast(y, tf.float32))
        return tf.cast(tf.cast(of_y, tf.float32) * slope, precision)

    return _compiled(times_slope, precision, n_vectors=0)


@functools.cache
def _line(activation: Callable[[Any], Any], precision: Precision) -> Any:
    """`direct * of_y + by_value * y + offset` per channel, times the slope of the activation whose output was `y`."""
    import tensorflow as tf

    def line(of_y: Any, y: Any, direct: Any, by_value: Any, offset: Any) -> Any:
        y = tf.cast(y, tf.float32)
        of_map = direct * tf.cast(of_y, tf.float32) + by_value * y + offset
        if activation in WITH_SLOPE:
            of_map = of_map * WITH_SLOPE[activation](y)
        return tf.cast(of_map, precision)

    return _compiled(line, precision, n_vectors=3)


def _compiled(function: Callable[..., Any], precision: Precision, *, n_vectors: int) -> Any:
    """Compiles a function of two maps, `(batch, rows, columns, channels)` of a precision, and float32 vectors.

    XLA compiles it again for each shape, which takes about 0.2 s. Without XLA the operations run one by one.
    """
    import tensorflow as tf

    maps = [tf.TensorSpec([None] * 4, precision)] * 2
    vectors = [tf.TensorSpec([None], tf.float32)] * n_vectors
    return tf.function(function, input_signature=[*maps, *vectors], jit_compile=_has_xla(), autograph=False)


@functools.cache
def _has_xla() -> bool:
    """Whether this TensorFlow compiles for this processor; some builds do not."""
    import tensorflow as tf

    with tf.init_scope():
        try:
            tf.function(tf.identity, jit_compile=True, autograph=False)(tf.zeros([1]))
        except (tf.errors.OpError, ValueError):
            return False
    return True
