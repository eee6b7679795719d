"""One audio file to all its samples, at its own rate and with all its channels."""

import os
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile

from loglearn_tf.audio import tensorflow_io
from loglearn_tf.audio.containers import check_complete
from loglearn_tf.audio.faults import CONVERT, COPY_AGAIN, FilePath, cannot_read, truncated
from loglearn_tf.audio.wav import BLOCK_CODED, WavHeader, read_wav_header
from loglearn_tf.errors import AudioError, NonFiniteSamplesError

Samples = npt.NDArray[np.float32]
Decoder = Literal["tensorflow-io", "soundfile"]

_MAX_CHANNELS = 1024  # soundfile refuses more
_SAMPLE_RATES = range(1_000, 1_000_001)  # Hz; beyond, the header is damaged
# Floats may hold integers of 32 bits, unscaled; beyond, they are not audio, and their mel power may be infinite.
_LOUDEST = 2.0**32
# Hardly any coder packs more, except silence: a header that declares more is not believed before the audio is there.
_FRAMES_A_BYTE = 16
_BLOCK_FRAMES = 1 << 20
# A file is decoded as a whole: 1 GiB of float32, 100 minutes of one channel at 44.1 kHz. A few MB of FLAC can hold days
# of silence.
_MOST_SAMPLES = 1 << 28


@dataclass(frozen=True)
class Origin:
    """What a decoded file was: its decoder, and what its header says."""

    decoder: Decoder
    container: str  # "WAV" or soundfile's name: "FLAC", "OGG", "RF64", ...
    format_tag: int | None  # of WAV; of an EXTENSIBLE file, the tag in its GUID
    bits: int | None  # per sample; None where the coding has no such number
    channels: int
    sample_rate: int  # Hz
    frames: int  # decoded


@dataclass(frozen=True)
class Decoded:
    """One decoded file: `samples` `(frames, channels)` float32, and where they come from."""

    samples: Samples
    origin: Origin


def decode(path: FilePath) -> Decoded:
    """Decodes one audio file completely, at its own rate and with all its channels.

    tensorflow-io decodes what `choose_decoder` gives it, if it is installed; soundfile
    decodes everything else, and takes over where tensorflow-io fails. Both give the
    same samples, bit for bit. A streamed WAV file, whose header leaves the size open,
    is read to its end; one that declares 0 bytes though more follow is an error.
    An OGG file cut between two of its pages passes for a shorter one, as do cut files
    of containers seldom used for recordings (VOC, PAF, ...): nothing in them is checked.

    Args:
        path: A file soundfile can read.

    Returns:
        Samples, and what the file was. Values beyond [-1, 1] are kept.

    Raises:
        AudioError: If the file cannot be read, is truncated, holds no audio, or more than 2^28 samples.
        NonFiniteSamplesError: If a sample is not a number, or beyond 2^32 times full scale.
    """
    header = read_wav_header(path)
    if header is None:
        decoded = _by_soundfile(path)
        check_complete(path, decoded.origin.container)
    else:
        decoded = _decode_wav(path, header)
    samples, sample_rate = decoded.samples, decoded.origin.sample_rate
    if not samples.size:
        raise cannot_read(path, "it holds no audio", "Record, export or download it again.")
    if sample_rate not in _SAMPLE_RATES:
        raise cannot_read(path, f"its header declares a sample rate of {sample_rate} Hz", COPY_AGAIN)
    # Both are NaN where a sample is, and no comparison with NaN is true.
    if not (samples.min() >= -_LOUDEST and samples.max() <= _LOUDEST):
        frame, channel = np.argwhere(~(np.abs(samples) <= _LOUDEST))[0]
        value = samples[frame, channel]
        fault = "where full scale is 1" if np.isfinite(value) else "not a finite number"
        reason = f"sample {frame} of channel {channel} is {value:g}, {fault}"
        raise cannot_read(path, reason, "Export it again from its source.", kind=NonFiniteSamplesError)
    return decoded


def choose_decoder(header: WavHeader | None) -> Decoder:
    """Names the decoder for a file, from its header alone.

    Args:
        header: From `read_wav_header`; None for a file that is not RIFF/WAVE.

    Returns:
        "tensorflow-io" only where it is known to be right; otherwise "soundfile".
    """
    if header is None or (header.format_tag, header.bits_per_sample) not in tensorflow_io.FORMATS:
        return "soundfile"
    # Given the file as it is, tensorflow-io finds no frames after a chunk of odd size and
    # joins a second `data` chunk to the first: soundfile decides on all such layouts, and
    # where it may refuse a chunk (`smpl`, ...): that must not depend on what is installed.
    plain = (
        not header.contradicts_itself
        and not header.odd_chunk_before_data
        and header.channels <= _MAX_CHANNELS
        and 0 < header.data_size == header.available_size < 2**31
        and header.data_size % header.block_align == 0
    )
    return "tensorflow-io" if plain else "soundfile"


def check_length(path: FilePath, n_samples: float) -> None:
    """Raises an `AudioError` if a file has more samples than are held in memory."""
    if n_samples > _MOST_SAMPLES:
        raise cannot_read(path, f"it holds more than {_MOST_SAMPLES:,} samples", "Cut it into shorter ones.")


def _decode_wav(path: FilePath, header: WavHeader) -> Decoded:
    """Decodes RIFF/WAVE, holding the header against itself and against the samples."""
    if header.contradicts_itself:
        # soundfile ignores the block size: 24 bits in blocks of 4 bytes come out as noise.
        reason = (
            f"its header contradicts itself ({header.channels} channels of "
            f"{header.bits_per_sample} bits in blocks of {header.block_align} bytes)"
        )
        raise cannot_read(path, reason, CONVERT)
    if header.data_size == 0 and header.available_size:
        # A recorder that was interrupted, or no audio and then metadata: we cannot know.
        reason = f"its header declares no audio, though {header.available_size} bytes follow"
        raise cannot_read(path, reason, "Export, repair or download it again.")
    samples, sample_rate = None, header.sample_rate
    decoder = choose_decoder(header)
    if decoder == "tensorflow-io":
        check_length(path, (header.declared_frames or 0) * header.channels)
        samples = tensorflow_io.read_samples(path, header)
    if samples is None:
        by_soundfile = _by_soundfile(path)
        decoder, samples, sample_rate = "soundfile", by_soundfile.samples, by_soundfile.origin.sample_rate
    _check_wav_complete(path, header, len(samples))
    bits = header.bits_per_sample or None
    return Decoded(samples, Origin(decoder, "WAV", header.format_tag, bits, header.channels, sample_rate, len(samples)))


def _check_wav_complete(path: FilePath, header: WavHeader, n_frames: int) -> None:
    declared = header.declared_frames
    # Some writers count `fact` over all channels: not a reason to refuse a whole file.
    total = n_frames * (header.channels if header.format_tag in BLOCK_CODED else 1)
    if declared is not None and n_frames < declared and (header.is_cut or total < declared):
        raise truncated(path, n_frames, declared, "frames")
    if header.is_cut:  # a cut ADPCM block still decodes to its full length
        raise truncated(path, header.available_size, header.data_size, "bytes of audio")
    if declared is not None and n_frames > declared and header.format_tag not in BLOCK_CODED:
        # Of two `data` chunks soundfile takes the last.
        raise cannot_read(path, f"it holds {n_frames} frames where its header declares {declared}", CONVERT)


def _by_soundfile(path: FilePath) -> Decoded:
    # A bare `-` is standard input to libsndfile. As bytes, names that are not UTF-8 are found too.
    name = os.fsencode(os.path.join(os.curdir, path))
    try:
        with soundfile.SoundFile(name) as file:
            n_frames = file.frames
            samples = _read_all(path, file, os.stat(path).st_size)
            number = re.search(r"PCM_\D?(\d+)|ALAC_(\d+)", file.subtype)
            bits = int(number[1] or number[2]) if number else {"FLOAT": 32, "DOUBLE": 64}.get(file.subtype)
            origin = Origin("soundfile", file.format, None, bits, file.channels, file.samplerate, len(samples))
    except AudioError:
        raise
    # TypeError: `.raw` names a headerless file. The last two: a damaged frame count.
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as error:
        reason = getattr(error, "error_string", "") or str(error) or type(error).__name__
        raise cannot_read(path, reason.strip().rstrip("."), CONVERT) from error
    if len(samples) < n_frames:
        raise truncated(path, len(samples), n_frames, "frames")
    return Decoded(samples, origin)


def _read_all(path: FilePath, file: soundfile.SoundFile, n_bytes: int) -> Samples:
    if file.frames <= _FRAMES_A_BYTE * n_bytes:
        check_length(path, file.frames * file.channels)
        # The count is given because GSM is not seekable: without, read() refuses it.
        return file.read(file.frames, dtype="float32", always_2d=True)
    # A damaged FLAC header may declare terabytes: room is made for what is there.
    blocks, held = [np.zeros((0, file.channels), np.float32)], 0
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        blocks.append(block)
        held += block.size
        check_length(path, held)
    return np.concatenate(blocks)
