"""The complete arguments of the mel front end, so that equal front ends share one store."""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from loglearn_tf._util.text import printable
from loglearn_tf.errors import ConfigError

# Always part of a store's key. Later arguments of `MelSpectrogram` are part of it only if they are not the default, so
# that older stores are found.
_ALWAYS = ("sample_rate", "n_fft", "hop_length", "n_mels", "f_min", "f_max", "pad_mode", "fft_dtype")
# The later arguments, besides `win_length`, and their non-default values.
_LATER = {"window": ("hamming", "blackman", "ones"), "mel_scale": ("htk",), "norm": (None,)}


def completed(front_end: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `MelSpectrogram`, with the layer's defaults for missing ones.

    Raises:
        ConfigError: If there is no such argument.
        ValueError: If a value is out of its range.
    """
    # Known arguments of settings. Otherwise the layer is asked, which loads TensorFlow.
    if _are_complete(front_end):
        return dict(front_end)
    from loglearn_tf.layers import MelSpectrogram

    parameters = inspect.signature(MelSpectrogram.__init__).parameters.values()
    known = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    for name in front_end:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
            raise ConfigError(
                f"`front_end` must contain arguments of `MelSpectrogram`. Received: {printable(name)}. {hint}"
            )
    layer = MelSpectrogram(**front_end)
    config = {**layer.get_config(), "win_length": None if layer.win_length == layer.n_fft else layer.win_length}
    plain = MelSpectrogram(**{name: front_end[name] for name in _ALWAYS if name in front_end}).get_config()
    return {name: config[name] for name in known if name in _ALWAYS or config[name] != plain[name]}


def _are_complete(front_end: Mapping[str, Any]) -> bool:
    later = {name: value for name, value in front_end.items() if name not in _ALWAYS}
    width = later.pop("win_length", 1)
    return (
        all(name in front_end for name in _ALWAYS)
        and not any(isinstance(front_end[name], int) for name in ("f_min", "f_max"))
        and all(name in _LATER and value in _LATER[name] for name, value in later.items())
        and (type(width) is int and 1 <= width < front_end["n_fft"])
    )
