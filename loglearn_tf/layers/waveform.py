"""Checks of waveforms."""

import warnings
from typing import Any

import numpy as np

# Integer type -> how to convert its samples.
_TO_FLOAT = {
    "int8": 'Divide by 128: `waveform.astype("float32") / 128`',
    "uint8": 'Centre and divide by 128: `(waveform.astype("float32") - 128) / 128`',
    "int16": 'Divide by 32768: `waveform.astype("float32") / 32768`',
    "int32": 'Divide by 2 ** 31, or by 32768 if the samples have 16 bits: `waveform.astype("float32") / 2**31`',
    "int64": "Divide by the integers' full scale, for 16-bit samples 32768: `np.float32(waveform) / 32768`",
}
# Amplified or summed audio reaches a few times full scale; integers of 8 bits and more are far above.
_LOUD = 30.0


def check_waveform(waveform: Any) -> None:
    """Raises a `ValueError` unless a waveform is floating-point; warns of NumPy samples far outside [-1, 1].

    Args:
        waveform: Array, tensor, Keras' symbolic tensor, or list of numbers, of any shape.
    """
    array = waveform if hasattr(waveform, "dtype") else np.asarray(waveform)
    dtype = str(getattr(array.dtype, "name", array.dtype))
    if dtype not in ("float16", "bfloat16", "float32", "float64"):
        given = f"dtype={dtype!r}" if hasattr(waveform, "dtype") else f"{type(waveform).__name__} with dtype={dtype!r}"
        raise ValueError(
            f"The waveform must be floating-point, in [-1, 1]. Received: {given}. "
            f"{_TO_FLOAT.get(dtype, 'Load the sound as float32')}."
        )
    if isinstance(array, np.ndarray) and array.size:
        peak = float(np.max(np.abs(array)))
        if peak > _LOUD:
            warnings.warn(
                f"The waveform must be in [-1, 1]. Received: samples up to {peak:g}. If these are 16-bit integers, "
                "divide them by 32768.",
                stacklevel=3,
            )
