"""Training steps in bfloat16: bfloat16 factors, float32 sums, and feature maps in bfloat16 between the layers.

On processors with bfloat16 instructions, TensorFlow's convolutions, poolings and batch normalisations are up to six
times as fast in bfloat16 as in float32. Its activations and their gradients are four times as slow. Here activations
are therefore fused with the convolution, and their gradients are compiled by XLA, which reads and writes bfloat16 and
computes in float32.

Weights stay float32. They are rounded for each product, and their gradients are returned in float32.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from loglearn_tf.training.accelerated.normalization import moments
from loglearn_tf.training.accelerated.pooling import pooled

# Per patch: larger maps of a convolution over one channel are computed again for the gradient instead of being kept.
# VGG with 32 filters has 1 MiB, prototypical networks have 4.
_KEPT_BYTES = 2 << 20
# The largest part of a feature map that is computed at once, where a map is computed in parts.
_PART_BYTES = 48 << 20


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

    with_map = pool is None and layer.activation in _WITH_MAP
    convolved = _Convolution(layer, layer.activation if with_map else keras.activations.linear)

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


def normalised_convolution(
    layer: keras.layers.Conv2D, norm: keras.layers.BatchNormalization, pool: keras.layers.MaxPooling2D, x: Any
) -> tuple[Any, Any, Any]:
    """A convolution, a batch normalisation and a maximum pooling in a training step.

    The gradients of gamma and beta are sums over the maxima only. Given these, the gradient of the map before the
    activation is a single elementwise expression of the gradient that the pooling returns. A convolution over one
    channel is cheap and has the largest map of the network. If it has many filters, its map is not kept for the
    gradient but computed again, a few patches at a time: this halves the memory of an update.

    Args:
        layer: See `convolution`; its activation one of `WITH_NORM`.
        norm: Over the last of four axes, with center and scale; trained.
        pool: Takes its output.
        x: `(batch, frames, bands, channels)`, of any precision.

    Returns:
        `(batch, rows, columns, filters)` bfloat16; mean and variance of the batch, `(filters,)` float32.
    """
    import tensorflow as tf

    convolved = _Convolution(layer, layer.activation)
    _, rows, columns, _ = x.shape
    is_small = None not in (rows, columns) and 2 * rows * columns * layer.filters <= _KEPT_BYTES
    is_kept = is_small or layer.kernel.shape[2] > 1
    epsilon = norm.epsilon

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def block(x: Any, gamma: Any, beta: Any, *weights: Any) -> Any:
        # With a negative gamma the maximum after normalisation is the minimum before it: these channels are negated.
        sign = tf.where(gamma < 0, -1.0, 1.0)

        def turn(y: Any) -> Any:
            return tf.cond(tf.reduce_any(gamma < 0), lambda: y * tf.cast(sign, y.dtype), lambda: y)

        def forward(y: Any) -> tuple[Any, ...]:
            return pooled(pool, turn(y)), *moments(y, epsilon), tf.cast(tf.size(y) // y.shape[-1], tf.float32)

        if is_kept:
            y = convolved.map_of(x, weights)
            maxima, mean, variance, size = forward(y)
        else:
            maxima, means, variances, sizes = _in_parts(
                lambda x: forward(convolved.map_of(x, weights)), [x], n_parts, n_others=3
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

            def backward(x: Any, y: Any, of_normalised: Any) -> list[Any]:
                turned = turn(y)
                # The pooling is computed again: TensorFlow's fast gradient needs the forward operation in the same
                # graph, and the other one takes twenty times as long.
                of_y = _pooling_gradient(pool, turned, pooled(pool, turned), of_normalised)
                of_map = _line(convolved.activation)(of_y, y, direct, by_value, offset)
                return convolved.gradients(x, weights, of_map)

            if is_kept:
                of_x, *of_weights = backward(x, y, of_normalised)
            else:
                of_x, *parts = _in_parts(
                    lambda x, of_normalised: backward(x, convolved.map_of(x, weights), of_normalised),
                    [x, of_normalised],
                    n_parts,
                    n_others=len(weights),
                )
                of_weights = [tf.reduce_sum(one, 0) for one in parts]
            return [of_x, of_gamma, of_beta, *of_weights]

        return (normalised, mean, variance), gradient

    x = tf.cast(x, tf.bfloat16)
    # The map is at most as large as the input, times the filters.
    n_parts = tf.cast(1 + tf.size(x, tf.int64) * (2 * layer.filters) // _PART_BYTES, tf.int32)
    y, mean, variance = block(
        x, tf.convert_to_tensor(norm.gamma), tf.convert_to_tensor(norm.beta), *convolved.weights()
    )
    y.set_shape(pool.compute_output_shape(layer.compute_output_shape(tuple(x.shape))))
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance)


class _Convolution:
    """A convolution with bias and activation, and its gradients.

    Args:
        layer: Keras', built.
        activation: Of `_WITH_MAP`, or linear.
    """

    def __init__(self, layer: keras.layers.Conv2D, activation: Callable[[Any], Any]) -> None:
        self.layer = layer
        self.activation = activation
        self._strides = [1, *layer.strides, 1]
        self._padding = layer.padding.upper()

    def weights(self) -> list[Any]:
        """Kernel and bias as float32 tensors; `custom_gradient` treats variables differently."""
        import tensorflow as tf

        return [tf.convert_to_tensor(one) for one in (self.layer.kernel, self.layer.bias) if one is not None]

    def map_of(self, x: Any, weights: Sequence[Any]) -> Any:
        import tensorflow as tf

        kernel, *biases = (tf.cast(weight, tf.bfloat16) for weight in weights)
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
        return _times_slope(self.activation)(of_y, y)

    def gradients(self, x: Any, weights: Sequence[Any], of_map: Any) -> list[Any]:
        """Of `x`, bfloat16, and of the weights, float32."""
        import tensorflow as tf

        kernel = tf.cast(weights[0], tf.bfloat16)
        shared = {"out_backprop": of_map, "strides": self._strides, "padding": self._padding}
        of_x = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, **shared)
        of_weights = [tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=kernel.shape, **shared)]
        of_weights += [tf.raw_ops.BiasAddGrad(out_backprop=of_map) for _ in weights[1:]]
        return [of_x, *(tf.cast(one, tf.float32) for one in of_weights)]


def _activated(activation: Callable[[Any], Any], x: Any) -> Any:
    """bfloat16 to bfloat16; TensorFlow has a fast bfloat16 kernel only for ReLU."""
    import tensorflow as tf

    if activation in (keras.activations.linear, keras.activations.relu):
        return activation(x)
    return tf.cast(activation(tf.cast(x, tf.float32)), tf.bfloat16)


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


def _in_parts(
    function: Callable[..., Sequence[Any]], maps: Sequence[Any], n_parts: Any, *, n_others: int
) -> tuple[Any, ...]:
    """Calls a function on a few patches at a time, in order.

    Args:
        function: Of as many maps; returns a map, bfloat16, and `n_others` float32 tensors.
        maps: `(batch, rows, columns, channels)` each.
        n_parts: At most this many parts.

    Returns:
        The maps joined, and each of the others stacked.
    """
    import tensorflow as tf

    n = tf.shape(maps[0])[0]
    each = -(-n // n_parts)
    found = [tf.TensorArray(tf.bfloat16, 0, dynamic_size=True, infer_shape=False)]
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
_WITH_MAP = {keras.activations.elu: _elu_slope, keras.activations.relu: _relu_slope}
WITH_NORM = (keras.activations.linear, *_WITH_MAP)


@functools.cache
def _times_slope(activation: Callable[[Any], Any]) -> Any:
    """`of_y` times the slope of the activation whose output was `y`."""
    import tensorflow as tf

    def times_slope(of_y: Any, y: Any) -> Any:
        slope = _WITH_MAP[activation](tf.cast(y, tf.float32))
        return tf.cast(tf.cast(of_y, tf.float32) * slope, tf.bfloat16)

    return _compiled(times_slope, n_vectors=0)


@functools.cache
def _line(activation: Callable[[Any], Any]) -> Any:
    """`direct * of_y + by_value * y + offset` per channel, times the slope of the activation whose output was `y`."""
    import tensorflow as tf

    def line(of_y: Any, y: Any, direct: Any, by_value: Any, offset: Any) -> Any:
        y = tf.cast(y, tf.float32)
        of_map = direct * tf.cast(of_y, tf.float32) + by_value * y + offset
        if activation in _WITH_MAP:
            of_map = of_map * _WITH_MAP[activation](y)
        return tf.cast(of_map, tf.bfloat16)

    return _compiled(line, n_vectors=3)


def _compiled(function: Callable[..., Any], *, n_vectors: int) -> Any:
    """Compiles a function of two maps, `(batch, rows, columns, channels)` bfloat16, and float32 vectors.

    XLA compiles it again for each shape, which takes about 0.2 s.
    """
    import tensorflow as tf

    maps = [tf.TensorSpec([None] * 4, tf.bfloat16)] * 2
    vectors = [tf.TensorSpec([None], tf.float32)] * n_vectors
    return tf.function(function, input_signature=[*maps, *vectors], jit_compile=True, autograph=False)
