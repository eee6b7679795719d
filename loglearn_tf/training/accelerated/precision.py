"""bfloat16: whether this machine computes in it, or only emulates it."""

import functools
import time
from typing import Any, Literal

from loglearn_tf.errors import ConfigError

Precision = Literal["float32", "bfloat16"]

# Machines with instructions for bfloat16 take a tenth (AMX) to two thirds of the time of float32; those that emulate it
# take longer than in float32.
_MOST_OF_FLOAT32 = 0.8
_REPEATS = 5


def check_bfloat16() -> None:
    """Refuses bfloat16 where it is emulated: training would be slower than in float32, and less exact.

    Raises:
        ConfigError: If it is.
    """
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

    # Seconds of the processor, which others on it do not change; a GPU's are not among them.
    clock = time.perf_counter if tf.config.get_visible_devices("GPU") else time.process_time

    def seconds(convolve: Any, x: Any, kernel: Any) -> float:
        began = clock()
        convolve(x, kernel).numpy()
        return clock() - began

    inputs = {
        dtype: (tf.ones([8, 32, 32, 64], dtype), tf.ones([3, 3, 64, 64], dtype)) for dtype in (tf.float32, tf.bfloat16)
    }
    convolve = tf.function(lambda x, kernel: tf.nn.conv2d(x, kernel, strides=1, padding="SAME"), reduce_retracing=False)
    for given in inputs.values():
        convolve(*given)  # compiled
    # In turn, since the clock of a processor changes; the shortest, since what disturbs makes longer.
    times = [{dtype: seconds(convolve, *given) for dtype, given in inputs.items()} for _ in range(_REPEATS)]
    in_float32, in_bfloat16 = (min(one[dtype] for one in times) for dtype in inputs)
    return in_bfloat16 / in_float32
