"""Batch normalisation in training by TensorFlow's fused kernels on CPUs.

For `(batch, height, width, channels)` TensorFlow has a kernel that normalises in one pass, and one for the gradient of
a whole batch normalisation; Keras computes both of many single operations. Training VGG takes half the time and two
thirds of the memory.

The first kernel's own mean and variance are not used: a sum of a million float32 values one by one is right to two or
three digits, and so is Keras'. Here they are sums of sums over each axis, right to six.
"""

from collections.abc import Callable
from typing import Any

# Maps with at most this many columns are cheap to convert to float32, and may have too few rows for errors to cancel.
_SMALL = 32


def normalise(
    x: Any, gamma: Any, beta: Any, epsilon: float
) -> tuple[Callable[[Callable[[Any], Any] | None], Any], Any, Any]:
    """`x` normalised over all axes but the last, scaled and moved; and the mean and variance of the batch.

    What is normalised comes as a function: given a pooling that leaves maxima, or none, it returns what is left.

    Args:
        x: `(batch, height, width, channels)` float32 or bfloat16; what is normalised is of the same.
        gamma, beta: `(channels,)` float32.
        epsilon: Added to the variance.
    """
    import tensorflow as tf

    # As tensors: of variables, `custom_gradient` would want to know more.
    gamma, beta = tf.convert_to_tensor(gamma), tf.convert_to_tensor(beta)
    mean, variance = moments(x, epsilon)

    # Batch normalisation in two: first nothing, but with the gradient of the whole; then the whole, with the gradient
    # of nothing. A pooling between them changes neither.
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def unchanged(x: Any, gamma: Any, beta: Any) -> Any:
        def gradient(of_y: Any) -> tuple[Any, Any, Any]:
            # Of the whole batch normalisation: through mean and variance, too.
            of_x, of_gamma, of_beta, _, _ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=of_y,
                x=x,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,  # on GPUs it would be the inverse of the deviation
                reserve_space_3=tf.zeros([0]),
                epsilon=epsilon,
                is_training=True,
            )
            return of_x, of_gamma, of_beta

        return tf.identity(x), gradient

    def line(x: Any, sign: Any, back: Callable[[Any], Any]) -> Any:
        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def rising(x: Any) -> Any:
            y, *_ = tf.compat.v1.nn.fused_batch_norm(
                x, sign * gamma, beta, mean=sign * mean, variance=variance, epsilon=epsilon, is_training=False
            )
            return y, back

        return rising(x)

    def normalised(pool: Callable[[Any], Any] | None) -> Any:
        y = unchanged(x, gamma, beta)
        if pool is None:
            return line(y, 1.0, lambda of_y: of_y)
        # A maximum before a falling line is the minimum after it: for a maximum, channels that fall are turned over.
        sign = tf.where(gamma < 0, -1.0, 1.0)

        def turn(x: Any) -> Any:
            return tf.cond(tf.reduce_any(gamma < 0), lambda: x * tf.cast(sign, x.dtype), lambda: x)

        turned = tf.custom_gradient(lambda x: (turn(x), turn))
        maxima = pool(turned(y))
        # A global pooling may drop rows and columns; the fused kernel takes four axes.
        is_flat = len(maxima.shape) == 2
        left = line(maxima[:, tf.newaxis, tf.newaxis] if is_flat else maxima, sign, turn)
        return left[:, 0, 0] if is_flat else left

    return normalised, mean, variance


def moments(x: Any, epsilon: float) -> tuple[Any, Any]:
    """Mean and variance over all axes but the last, `(channels,)` float32.

    Args:
        x: `(batch, height, width, channels)` float32 or bfloat16. For large bfloat16 maps, the sum over each row
            is rounded to bfloat16. Thousands of rows are then added in float32, and the errors average out.
        epsilon: Of the normalisation: a variance far below it need not be exact.
    """
    import tensorflow as tf

    size = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
    batch, rows, columns = 0, 1, 2
    if x.dtype == tf.bfloat16 and (x.shape[columns] or 0) <= _SMALL:
        x = tf.cast(x, tf.float32)
    # The sum of a row is its product with ones, and quicker so.
    row_sums = tf.cast(tf.matmul(tf.ones([1, tf.shape(x)[columns]], x.dtype), x), tf.float32)
    mean = tf.reduce_sum(tf.reduce_sum(row_sums, [rows, columns]), batch) / size

    def mean_square(x: Any) -> Any:
        # The norm of a row is the root of its sum of squares, and writes no squares to memory.
        squares = tf.cast(tf.math.reduce_euclidean_norm(x, columns), tf.float32) ** 2
        return tf.reduce_sum(tf.reduce_sum(squares, rows), batch) / size

    around_zero = mean_square(x) - mean**2
    # Far from zero little would be left of the difference: there the mean is taken away first, at the price of a pass.
    far = 100 if x.dtype == tf.float32 else 10
    is_far = tf.reduce_any(mean**2 > far * (around_zero + epsilon))
    variance = tf.cond(is_far, lambda: mean_square(tf.cast(x, tf.float32) - mean), lambda: around_zero)
    return tf.stop_gradient(mean), tf.stop_gradient(tf.maximum(variance, 0.0))
