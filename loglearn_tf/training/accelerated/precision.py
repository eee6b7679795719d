"""The precision of training steps, and whether this processor computes in bfloat16 or only emulates it."""

import functools
import time
from typing import Literal

from loglearn_tf.errors import ConfigError

# Of training steps. `float32` is that of the published runs; in `float32_fast`, sums have another order.
Precision = Literal["float32", "float32_fast", "bfloat16"]

# Relative to float32, processors with bfloat16 instructions take a fifth (AMX) to two thirds of the time. Those that
# emulate bfloat16 take longer than for float32.
_MOST_OF_FLOAT32 = 0.8
_REPEATS = 5


def dtype_of(precision: Precision) -> str:
    """Of the maps between layers."""
    return "bfloat16" if precision == "bfloat16" else "float32"


def sees_gpu() -> bool:
    """Whether TensorFlow uses a GPU, whose fast operations are others than a processor's."""
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


def check_bfloat16() -> None:
    """Refuses bfloat16 where it is emulated: training would be slower than in float32, and less exact.

    Raises:
        ConfigError: If bfloat16 is emulated, or if TensorFlow finds a GPU, which is not supported.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        raise ConfigError(
            "`training.precision=bfloat16` is for CPUs. Received: a machine on which TensorFlow finds a GPU. Use "
            "`training.precision=float32`, or hide the GPU: set CUDA_VISIBLE_DEVICES=-1 in the environment."
        )
    share = share_of_float32()
    if share > _MOST_OF_FLOAT32:
        raise ConfigError(
            "`training.precision=bfloat16` needs a processor with bfloat16 instructions. Received: one on which a "
            f"convolution takes {share:.2g} times as long in bfloat16 as in float32, so it is emulated. Use "
            "`training.precision=float32`, or a processor with AMX or AVX-512 BF16 (Intel Xeon since 2023, AMD EPYC "
            "since 2022)."
        )


@functools.cache
def share_of_float32() -> float:
    """The time of a convolution in bfloat16 divided by that in float32, measured once per process."""
    import tensorflow as tf

    inputs = {
        dtype: (tf.ones([8, 32, 32, 64], dtype), tf.ones([3, 3, 64, 64], dtype)) for dtype in (tf.float32, tf.bfloat16)
    }
    convolve = tf.function(lambda x, kernel: tf.nn.conv2d(x, kernel, strides=1, padding="SAME"))
    for given in inputs.values():
        convolve(*given)  # compiles

    def seconds(dtype: tf.DType) -> float:
        # CPU time, which other processes do not change.
        began = time.process_time()
        convolve(*inputs[dtype])
        return time.process_time() - began

    # Alternating, because clock rates change; the shortest, because disturbances only lengthen.
    times = [{dtype: seconds(dtype) for dtype in inputs} for _ in range(_REPEATS)]
    in_float32, in_bfloat16 = (min(one[dtype] for one in times) for dtype in inputs)
    return in_bfloat16 / in_float32
