"""The report sections with their own modules, in page order."""

from loglearn_tf.analysis.report import by_recording, compressed, learning, levels, probabilities, reliability
from loglearn_tf.analysis.report.part import Finished, Maker, Part

MAKERS: tuple[Maker, ...] = (
    probabilities.make,
    reliability.make,
    learning.make,
    compressed.make,
    levels.make,
    by_recording.make,
)


def make_parts(finished: Finished) -> list[Part]:
    """All sections that apply to these runs."""
    return [part for make in MAKERS if (part := make(finished)) is not None]
