"""Sound files: reads a file as a mono float32 waveform, or raises an `AudioError` with the remedy."""

from loglearn_tf.audio.decoder import Decoded, Decoder, Origin, Samples, choose_decoder, decode
from loglearn_tf.audio.formats import PYAV_SUFFIXES, SOUNDFILE_SUFFIXES
from loglearn_tf.audio.segments import decode_segments, seconds_of
from loglearn_tf.audio.wav import WavHeader, read_wav_header
from loglearn_tf.audio.waveform import load_segments, load_waveform, load_with_origin, waveform_blocks

__all__ = [
    "PYAV_SUFFIXES",
    "SOUNDFILE_SUFFIXES",
    "Decoded",
    "Decoder",
    "Origin",
    "Samples",
    "WavHeader",
    "choose_decoder",
    "decode",
    "decode_segments",
    "load_segments",
    "load_waveform",
    "load_with_origin",
    "read_wav_header",
    "seconds_of",
    "waveform_blocks",
]
