"""Convolution over mel spectrograms, which have one channel, with gradients at their price.

**Kernels almost as wide as the input**, such as TIMBRE's of 7 frames x 108 of 128 bands, have few places beside one
another. Their gradients as a convolution are slow; as a matrix product of windows with the kernel written out for its
21 places they are not. And where a maximum over the map follows, nearly all of the map's gradient is zero: then only
the windows that the maxima came from are looked at. A training step of TIMBRE takes 0.8 ms a patch of one core instead
of 7.4.

**Other kernels**, such as SB-CNN's first: the gradient of their input, which batch normalisation and a learned
compression need, takes six times as long as the convolution, since to TensorFlow it is one with a single filter. Here
it is a matrix product over the taps, or for large kernels a convolution with as many filters as the kernel has rows. Of
3 x 3 kernels, VGG's, the kernel's own gradient is a matrix product, too: 0.9 ms for both instead of 2.7. In the
precisions `float32_fast` and `bfloat16`, neighbouring columns are taken together, which makes it one convolution with
several filters.
"""

from typing import Any

import keras
from keras import ops

from loglearn_tf.training.accelerated.precision import Precision

# Kernels of at most so many taps: one matrix product over all taps is the quicker way to the gradient of the input; and
# to that of the kernel. 3 x 3, 5 x 5 and 7 x 7 were measured.
_FEW_TAPS = 25
_VERY_FEW_TAPS = 9
# Columns that are taken together: the first of these that divides their number. 2, 4 and 8 were measured.
_GROUPS = (4, 2, 1)


def sees_one_channel(layer: keras.layers.Conv2D) -> bool:
    """Whether a built `keras.layers.Conv2D` is one that `convolution` has a faster way for."""
    return bool(
        keras.backend.backend() == "tensorflow"
        and layer.data_format == "channels_last"
        and layer.groups == layer.kernel.shape[2] == 1
        and tuple(layer.strides) == tuple(layer.dilation_rate) == (1, 1)
    )


def is_wide(layer: keras.layers.Conv2D, bands: int | None) -> bool:
    """Whether a kernel over one channel is almost as wide as its input of so many bands."""
    # Zeros are multiplied, too; up to here they cost less than they save.
    width = layer.kernel_size[1]
    return bool(layer.padding == "valid" and bands is not None and width <= bands <= 1.5 * width)


def convolution(layer: keras.layers.Conv2D, x: Any, precision: Precision = "float32") -> Any:
    """The map of a convolution, before bias and activation: Keras' numbers, on one channel with faster gradients.

    Args:
        layer: Built.
        x: `(batch, frames, bands, channels)`.
        precision: With `bfloat16`, of the product with a kernel almost as wide as the input; all else has that of the
            inputs. With `float32_fast`, other kernels have a faster gradient, whose sums have another order.
    """
    if not sees_one_channel(layer):
        return layer.convolution_op(x, layer.kernel)
    if is_wide(layer, x.shape[2]):
        return _wide_convolution(x[..., 0], layer.kernel[:, :, 0], precision)
    return _narrow_convolution(x, layer.kernel, layer.padding.upper(), is_fast=precision == "float32_fast")


def biased_and_activated(layer: keras.layers.Conv2D, x: Any) -> Any:
    """What a convolution does with its map, or with what a pooling left of it, `(batch, rows, columns, filters)`."""
    if layer.use_bias:
        x = ops.add(x, ops.reshape(layer.bias, (*[1] * (len(x.shape) - 1), layer.filters)))
    return layer.activation(x)


def _narrow_convolution(x: Any, kernel: Any, padding: str, *, is_fast: bool) -> Any:
    """`(batch, frames, bands, 1)` and `(height, width, 1, filters)` to `(batch, rows, columns, filters)`."""
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: Any, kernel: Any) -> Any:
        def gradient(of_map: Any) -> Any:
            return one_channel_gradients(x, kernel, of_map, padding, is_fast=is_fast)[:2]

        return tf.nn.conv2d(x, kernel, strides=1, padding=padding), gradient

    # As tensors: of a variable, `custom_gradient` would want to know more.
    return convolve(tf.convert_to_tensor(x), tf.convert_to_tensor(kernel))


def one_channel_gradients(x: Any, kernel: Any, of_map: Any, padding: str, *, is_fast: bool) -> tuple[Any, Any, Any]:
    """Gradients of the input, the kernel and the bias of a convolution over one channel, without strides.

    Args:
        x: `(batch, frames, bands, 1)`.
        kernel: `(height, width, 1, filters)`.
        of_map: The gradient of its output, `(batch, rows, columns, filters)`.
        padding: Of the convolution, `"VALID"` or `"SAME"`.
        is_fast: Whether sums may have another order than in the published runs.
    """
    import tensorflow as tf

    of_x = one_channel_input_gradient(x, kernel, of_map, padding, is_fast=is_fast)
    height, width = kernel.shape[:2]
    if height * width <= _VERY_FEW_TAPS:
        around = [_padded_by(size, padding) for size in (height, width)]
        # Not before its turn: it would wait in memory for as long as the layers above take.
        with tf.control_dependencies([of_map]):
            padded = tf.pad(x[..., 0], [[0, 0], *around])
        if is_fast:
            return of_x, *_kernel_and_bias_gradients(padded, kernel.shape, of_map)
        of_kernel = _kernel_gradient(padded, kernel.shape, of_map)
    else:
        of_kernel = tf.raw_ops.Conv2DBackpropFilter(
            input=x, filter_sizes=kernel.shape, out_backprop=of_map, strides=[1, 1, 1, 1], padding=padding
        )
    return of_x, of_kernel, tf.raw_ops.BiasAddGrad(out_backprop=of_map)


def one_channel_input_gradient(x: Any, kernel: Any, of_map: Any, padding: str, *, is_fast: bool) -> Any:
    """As `one_channel_gradients`, of the input alone, `(batch, frames, bands, 1)`; all of one precision."""
    import tensorflow as tf

    height, width = kernel.shape[:2]
    way = _input_gradient if height * width <= _FEW_TAPS else _input_gradient_by_rows
    of_padded = (_input_gradient_by_groups if is_fast else way)(kernel, of_map)
    (row, _), (column, _) = (_padded_by(size, padding) for size in (height, width))
    _, frames, bands, _ = tf.unstack(tf.shape(x))
    return of_padded[:, row : row + frames, column : column + bands, tf.newaxis]


def _padded_by(size: int, padding: str) -> tuple[int, int]:
    """Zeros before and after an axis along which a kernel has this size."""
    before = (size - 1) // 2 if padding == "SAME" else 0
    return before, size - 1 - before if padding == "SAME" else 0


def _kernel_gradient(padded: Any, shape: tuple[int, ...], of_map: Any) -> Any:
    """Of `(batch, rows + height - 1, columns + width - 1)`, the input with its padding, and the map's gradient.

    Sums over each clip, then over clips: so a million products keep six digits. TensorFlow's own keep three; and fused
    with the bias's, as it is when compiled, it takes half as long again as both alone.
    """
    import tensorflow as tf

    return tf.reshape(_sums_over_places(_windows(padded, shape, of_map), of_map), shape)


def _kernel_and_bias_gradients(padded: Any, shape: tuple[int, ...], of_map: Any) -> tuple[Any, Any]:
    """As `_kernel_gradient`; a bias is the kernel of an input of ones."""
    import tensorflow as tf

    windows = _windows(padded, shape, of_map)
    of_both = _sums_over_places([*windows, tf.ones_like(windows[0])], of_map)
    return tf.reshape(of_both[:-1], shape), of_both[-1]


def _windows(padded: Any, shape: tuple[int, ...], of_map: Any) -> list[Any]:
    """What each tap of a kernel sees, `(batch, rows, columns)`."""
    import tensorflow as tf

    height, width, *_ = shape
    _, rows, columns, _ = tf.unstack(tf.shape(of_map))
    return [padded[:, row : row + rows, column : column + columns] for row in range(height) for column in range(width)]


def _sums_over_places(seen: list[Any], of_map: Any) -> Any:
    """Products of several inputs with the gradient of the map, `(inputs, filters)`."""
    import tensorflow as tf

    _, rows, columns, filters = tf.unstack(tf.shape(of_map))
    of_clips = tf.matmul(
        tf.reshape(tf.stack(seen, axis=1), [-1, len(seen), rows * columns]),
        tf.reshape(of_map, [-1, rows * columns, filters]),
    )
    return tf.reduce_sum(of_clips, axis=0)


def _input_gradient(kernel: Any, of_map: Any) -> Any:
    """`(batch, rows + height - 1, columns + width - 1)`, of the input with its padding: what goes back by each tap of
    the kernel, moved to where the tap was."""
    import tensorflow as tf

    height, width, _, filters = kernel.shape
    batch, rows, columns, _ = tf.unstack(tf.shape(of_map))
    by_tap = tf.matmul(tf.reshape(of_map, [-1, filters]), tf.reshape(kernel, [-1, filters]), transpose_b=True)
    # Turned first, so that each tap's numbers lie together.
    planes = tf.unstack(tf.reshape(tf.transpose(by_tap), [height * width, batch, rows, columns]))
    places = [(row, column) for row in range(height) for column in range(width)]
    return tf.add_n(
        [
            tf.pad(plane, [[0, 0], [row, height - 1 - row], [column, width - 1 - column]])
            for plane, (row, column) in zip(planes, places, strict=True)
        ]
    )


def _input_gradient_by_rows(kernel: Any, of_map: Any) -> Any:
    """As `_input_gradient`, by convolution over bands for each row of the kernel: for more taps."""
    import tensorflow as tf

    height, width = kernel.shape[:2]
    rows = tf.nn.conv2d(
        of_map,
        tf.transpose(tf.reverse(kernel[:, :, 0], [1]), [1, 2, 0])[tf.newaxis],
        strides=1,
        padding=[[0, 0], [0, 0], [width - 1, width - 1], [0, 0]],
    )
    # Row i of the kernel saw frames i later than row 0.
    return tf.add_n([tf.pad(rows[..., i], [[0, 0], [i, height - 1 - i], [0, 0]]) for i in range(height)])


def _input_gradient_by_groups(kernel: Any, of_map: Any) -> Any:
    """As `_input_gradient`, by one convolution, in half the time; its sums have another order.

    A few neighbouring columns of the map are one column with more channels. It goes back to a few columns more than
    these, which are as many filters, in parts of as many columns again. The parts are added where they overlap.
    """
    import tensorflow as tf

    height, width, _, filters = kernel.shape
    group = next(n for n in _GROUPS if (of_map.shape[2] or 1) % n == 0)
    n_parts = -(-(width + group - 1) // group)
    # The kernel as each column of a group sees it: (group, height, n_parts * group, filters).
    moved = tf.stack(
        [tf.pad(kernel[:, :, 0], [[0, 0], [at, n_parts * group - width - at], [0, 0]]) for at in range(group)]
    )
    taps = tf.reshape(tf.transpose(tf.reverse(moved, [1]), [1, 0, 3, 2]), [height, 1, group * filters, n_parts * group])
    batch, rows, columns, _ = tf.unstack(tf.shape(of_map))
    back = tf.nn.conv2d(
        tf.reshape(of_map, [batch, rows, columns // group, group * filters]),
        taps,
        strides=1,
        padding=[[0, 0], [height - 1, height - 1], [0, 0], [0, 0]],
    )
    shape = [batch, rows + height - 1, columns]
    # In bfloat16 the parts are rounded, but not their sums on the way.
    back = tf.cast(back, tf.float32)
    parts = tf.unstack(tf.reshape(back, [*shape[:2], columns // group, n_parts, group]), axis=3)
    placed = [
        tf.pad(tf.reshape(part, shape), [[0, 0], [0, 0], [at * group, (n_parts - 1 - at) * group]])
        for at, part in enumerate(parts)
    ]
    return tf.cast(tf.add_n(placed)[:, :, : columns + width - 1], of_map.dtype)


def _wide_convolution(x: Any, kernel: Any, precision: Precision) -> Any:
    """`(batch, frames, bands)` and `(height, width, filters)` to `(batch, rows, shifts, filters)`.

    In bfloat16, only the product is: the map is converted back, and the gradients of few places stay float32.
    """
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
        dtype = x.dtype
        if precision == "bfloat16":
            x, matrix = tf.cast(x, tf.bfloat16), tf.cast(matrix, tf.bfloat16)
        windows = tf.concat([x[:, at : at + rows] for at in range(height)], axis=2)
        return tf.cast(tf.reshape(tf.matmul(windows, matrix), [-1, rows, shifts, filters]), dtype)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolve(x: Any, kernel: Any) -> Any:
        def gradient(of_map: Any) -> Any:
            places = tf.where(tf.not_equal(of_map, 0))  # (n_places, 4): clip, row, shift, filter
            shape = tf.shape(x, tf.int64)

            def of_few_places(places: Any) -> tuple[Any, Any]:
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

            def of_all(x: Any, of_map: Any) -> tuple[Any, Any]:
                with tf.GradientTape() as tape:
                    tape.watch([x, kernel])
                    y = product(x, kernel)
                return tuple(tape.gradient(y, [x, kernel], output_gradients=of_map))

            def of_each_clip() -> tuple[Any, Any]:
                n_places = tf.math.count_nonzero(of_map, axis=[1, 2, 3])
                is_crowded = n_places * (height * width) > shape[1] * shape[2] * height
                crowded = tf.where(is_crowded)
                sparse = tf.boolean_mask(places, tf.logical_not(tf.gather(is_crowded, places[:, 0])))
                of_x, of_kernel = of_few_places(sparse)
                of_crowded, also_of_kernel = of_all(tf.gather_nd(x, crowded), tf.gather_nd(of_map, crowded))
                return tf.tensor_scatter_nd_add(of_x, crowded, of_crowded), of_kernel + also_of_kernel

            # Few: their windows hold fewer numbers than the input's. Equal maxima are many places: in a patch of
            # digital silence every place is one, and a few such patches must not make all others dear.
            few = tf.size(places, tf.int64) // 4 * (height * width) <= tf.size(x, tf.int64) * height
            return tf.cond(few, lambda: of_few_places(places), of_each_clip)

        return product(x, kernel), gradient

    return convolve(x, kernel)
