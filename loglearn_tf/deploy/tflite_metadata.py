"""TFLite Metadata: the input and output of a file, in the form read by TFLite's and MediaPipe's tools.

The schema, whose field numbers are used here, is public and frozen: `metadata_schema.fbs` of tflite-support, whose own
package is large and unmaintained. TensorFlow includes the schema of the enclosing model.
"""

import io
import zipfile
from collections.abc import Sequence

import flatbuffers

_LABELS = "labels.txt"
# Values of unions and enumerations.
_AUDIO_PROPERTIES = 4
_TENSOR_AXIS_LABELS = 2


def with_metadata(content: bytes, *, class_names: Sequence[str], sample_rate: int) -> bytes:
    """Adds metadata to a TFLite file with a mono waveform as input and class probabilities as output.

    Args:
        content: The file.
        class_names: Stored as `labels.txt`, one per line, which any ZIP tool can read.
        sample_rate: Hz.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(_metadata(sample_rate))
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    file = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    with zipfile.ZipFile(file, "a") as archive:  # appended after the model
        archive.writestr(_LABELS, "".join(f"{name}\n" for name in class_names))
    return file.getvalue()


def _metadata(sample_rate: int) -> bytes:
    """`ModelMetadata` of one subgraph, with one input and one output."""
    b = flatbuffers.Builder(256)

    def table(*fields: tuple[int, str, object]) -> int:
        """A table of (field number, kind, value)."""
        b.StartObject(max(number for number, *_ in fields) + 1)
        for number, kind, value in fields:
            getattr(b, f"Prepend{kind}Slot")(number, value, 0)
        return int(b.EndObject())

    def vector(one: int) -> int:
        b.StartVector(4, 1, 4)
        b.PrependUOffsetTRelative(one)
        return int(b.EndVector())

    def tensor(name: str, description: str, *fields: tuple[int, str, object]) -> int:
        words = [(0, "UOffsetTRelative", b.CreateString(name)), (1, "UOffsetTRelative", b.CreateString(description))]
        return table(*words, *fields)

    audio = table((0, "Uint32", sample_rate), (1, "Uint32", 1))  # channels
    audio_content = table((0, "Uint8", _AUDIO_PROPERTIES), (1, "UOffsetTRelative", audio))
    waveform = tensor("waveform", "Mono sound, float32 in [-1, 1].", (3, "UOffsetTRelative", audio_content))
    labels = tensor(_LABELS, "Names of the classes.", (2, "Int8", _TENSOR_AXIS_LABELS))
    probabilities = tensor("probabilities", "Probabilities of the classes.", (6, "UOffsetTRelative", vector(labels)))
    subgraph = table((2, "UOffsetTRelative", vector(waveform)), (3, "UOffsetTRelative", vector(probabilities)))
    name = b.CreateString("clip_classifier")
    model = table((0, "UOffsetTRelative", name), (3, "UOffsetTRelative", vector(subgraph)))
    b.Finish(model, b"M001")
    return bytes(b.Output())
