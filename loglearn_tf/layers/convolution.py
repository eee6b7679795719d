"""Keras' convolution for kernels almost as wide as their input, trained as a matrix product."""

from typing import Any

import keras


class Conv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """`keras.layers.Conv2D` with the same weights, numbers and saved form, only faster to train where it is wide.

    A kernel of 7 frames x 108 of 128 bands has 21 places beside one another. Its gradients as a convolution are
    slow; as a matrix product of 7-frame windows with the kernel written out for its 21 places they are not. And
    where a maximum over the map follows, as in TIMBRE, nearly all of the map's gradient is zero: then only the windows
    that the maxima came from are looked at. A training step of TIMBRE takes 0.8 ms a patch of one core instead of 7.4.

    For other shapes, strides, paddings and backends Keras' own code runs. Saved files hold Keras' class, so
    that they load where this package is not: see the end of this module.

    Args:
        **kwargs: See Keras.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        bands = inputs.shape[2]
        as_product = (
            keras.backend.backend() == "tensorflow"
            and self.data_format == "channels_last"
            and inputs.shape[3] == 1
            and self.padding == "valid"
            and tuple(self.strides) == tuple(self.dilation_rate) == (1, 1)
            and bands is not None
            # Zeros are multiplied, too; up to here they cost less than they save.
            and kernel.shape[1] <= bands <= 1.5 * kernel.shape[1]
        )
        if not as_product:
            return super().convolution_op(inputs, kernel)
        return _wide_convolution(inputs[..., 0], kernel[:, :, 0])


def _wide_convolution(x: Any, kernel: Any) -> Any:
    """`(batch, frames, bands)` and `(height, width, filters)` to `(batch, rows, shifts, filters)`."""
    import tensorflow as tf

    height, width, filters = kernel.shape
    bands = x.shape[2]
    shifts = bands - width + 1

    def product(x: Any, kernel: Any) -> Any:
        # Row s of `written_out` is the kernel moved right by s bands: a row of one band more than the input, repeated
        # and read again in rows of the input's length, moves by one each time.
        one_longer = tf.pad(kernel, [[0, 0], [0, shifts], [0, 0]])
        written_out = tf.reshape(
            tf.tile(one_longer, [1, shifts, 1])[:, : shifts * bands], [height, shifts, bands, filters]
        )
        matrix = tf.reshape(tf.transpose(written_out, [0, 2, 1, 3]), [height * bands, shifts * filters])
        rows = tf.shape(x)[1] - height + 1
        windows = tf.concat([x[:, at : at + rows] for at in range(height)], axis=2)
        return tf.reshape(tf.matmul(windows, matrix), [-1, rows, shifts, filters])

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: Any, kernel: Any) -> Any:
        def gradient(of_map: Any) -> Any:
            places = tf.where(tf.not_equal(of_map, 0))  # (n_places, 4): clip, row, shift, filter
            shape = tf.shape(x, tf.int64)

            def of_few_places() -> tuple[Any, Any]:
                clip, row, shift, number = tf.unstack(places, axis=1)
                first = (clip * shape[1] + row) * shape[2] + shift
                window = tf.range(height, dtype=tf.int64)[:, tf.newaxis] * shape[2] + tf.range(width, dtype=tf.int64)
                at = first[:, tf.newaxis, tf.newaxis] + window  # (n_places, height, width), in x written as one row
                weight = tf.gather_nd(of_map, places)[:, tf.newaxis, tf.newaxis]
                of_kernel = tf.math.unsorted_segment_sum(
                    weight * tf.gather(tf.reshape(x, [-1]), at), number, num_segments=filters
                )
                of_x = tf.math.unsorted_segment_sum(
                    weight * tf.gather(tf.transpose(kernel, [2, 0, 1]), number), at, num_segments=tf.size(x)
                )
                return tf.reshape(of_x, shape), tf.transpose(of_kernel, [1, 2, 0])

            def of_all() -> tuple[Any, Any]:
                with tf.GradientTape() as tape:
                    tape.watch([x, kernel])
                    y = product(x, kernel)
                return tuple(tape.gradient(y, [x, kernel], output_gradients=of_map))

            # Few: their windows hold fewer numbers than the input's. Equal maxima, as in silence, are many places.
            few = tf.size(places, tf.int64) // 4 * (height * width) <= tf.size(x, tf.int64) * height
            return tf.cond(few, of_few_places, of_all)

        return product(x, kernel), gradient

    return convolve(x, kernel)


# Keras writes module and name into saved files; these are where its own class is looked up.
Conv2D.__module__ = "keras.layers"
