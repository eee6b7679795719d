"""In which precision steps are trained, and whether this processor computes in bfloat16 or only emulates it."""

import functools
import time
from typing import Literal

from loglearn_tf.errors import ConfigError

Precision = Literal["float32", "bfloat16"]

# Processors with instructions for bfloat16 take a fifth (AMX) to two thirds of the time of float32; those that emulate it
# take longer than for float32.
_MOST_OF_FLOAT32 = 0.8
_REPEATS = 5


def check_bfloat16() -> None:
    """Refuses bfloat16 where it is emulated: training would be slower than in float32, and less exact.

    Raises:
        ConfigError: If it is, or if TensorFlow finds a GPU, for which nothing here is made.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        raise ConfigError(
            "`training.precision=bfloat16` is for processors. Received: a machine on which TensorFlow finds a GPU. Use "
            "`training.precision=float32`, or hide the GPU: set CUDA_VISIBLE_DEVICES=-1 in the environment."
        )
    share = share_of_float32()
    if share > _MOST_OF_FLOAT32:
        raise ConfigError(
            "`training.precision=bfloat16` needs a processor with instructions for bfloat16. Received: one on which a "
            f"convolution takes {share:.2g} times as long in bfloat16 as in float32, so that it is emulated. Use "
            "`training.precision=float32`, or a processor with AMX or AVX-512 BF16 (Intel Xeon since 2023, AMD EPYC "
            "since 2022)."
        )


@functools.cache
def share_of_float32() -> float:
    """What a convolution takes in bfloat16, divided by what it takes in float32: measured, once a process."""
    import tensorflow as tf

    inputs = {
        dtype: (tf.ones([8, 32, 32, 64], dtype), tf.ones([3, 3, 64, 64], dtype)) for dtype in (tf.float32, tf.bfloat16)
    }
    convolve = tf.function(lambda x, kernel: tf.nn.conv2d(x, kernel, strides=1, padding="SAME"))
    for given in inputs.values():
        convolve(*given)  # compiled

    def seconds(dtype: tf.DType) -> float:
        # Of the processor, which others on it do not change.
        began = time.process_time()
        convolve(*inputs[dtype])
        return time.process_time() - began

    # In turn, since the clock of a processor changes; the shortest, since what disturbs makes longer.
    times = [{dtype: seconds(dtype) for dtype in inputs} for _ in range(_REPEATS)]
    in_float32, in_bfloat16 = (min(one[dtype] for one in times) for dtype in inputs)
    return in_bfloat16 / in_float32
