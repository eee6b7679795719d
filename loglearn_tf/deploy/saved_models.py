"""Loads, checks and describes saved models."""

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from loglearn_tf._util.text import shown
from loglearn_tf.deploy.safe_mode import REMEDY, ways_around
from loglearn_tf.errors import ModelError
from loglearn_tf.layers import ClipClassifier, MeanOverPatches, MelSpectrogram

_SAVE = "Runs save their model with `save_models=true`; `clip_classifier` makes one from your own network."
# A description of a thousand layers takes about a megabyte.
_MAX_CONFIG_BYTES = 16 << 20
# The code of these is Python code in the file or elsewhere. Safe mode also refuses most of it, but a program can switch
# that off for all loading (`keras.config.enable_unsafe_deserialization`). There is no list of allowed layers, since
# registered custom layers may have any name.
_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__")
_LOADED = (
    "Only layers of Keras, of this package and registered by your program are loaded, and no Python code. For layers "
    "of your own, use `--import MODULE`; in Python, import the module that registers them."
)
# Values of mel power for the curve in `describe`: from silence to a loud tone.
_SHOWN_POWER = 10.0 ** np.arange(-10, 5)


def load_model(path: str | Path, *, trust: bool = False) -> keras.Model:
    """Loads a `.keras` file, directly or from a run's folder, with Keras' safe mode on.

    Args:
        path: The file or the folder.
        trust: Whether you trust the source of the file. Required if the installed Keras has known ways around its safe
            mode (`safe_mode.WAYS_AROUND`); all checks are made in any case.

    Raises:
        ModelError: If there is no such file, it is not a Keras model, its parts are compressed, it contains code (a
            lambda, a pickled object) or layers that are neither Keras' nor registered; or the installed Keras has ways
            around its safe mode and the file is not trusted.
    """
    file = Path(path) / "model.keras" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise ModelError(f"Model not found: {file}. Name a .keras file or a run's folder that has one. {_SAVE}")
    # Keras decides by the name: a file can be both zip and HDF5, and HDF5 would bypass the checks here.
    if not file.name.endswith(".keras"):
        raise ModelError(
            f"The name of a model file must end in `.keras`. Received: {file}. Rename it if it is a Keras file. {_SAVE}"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            _check_sizes(file, archive)
            config = json.loads(archive.read("config.json"))
    except ModelError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, RuntimeError) as error:
        raise ModelError(f"{file} is not a model saved by Keras 3: {error}. {_SAVE}") from error
    _check_has_no_code(file, config)
    if not trust and (ways := ways_around(keras.__version__)):
        raise ModelError(
            f"{file} was not loaded: Keras {keras.__version__} has known ways around its safe mode, so a file could "
            f"{ways[-1].what} ({', '.join(way.name for way in ways)}). If you trust its source, use `--trust`, in "
            f"Python `load_model(path, trust=True)`; otherwise install {REMEDY}."
        )
    try:
        return _refusing_integers(keras.models.load_model(file, compile=False, safe_mode=True))
    except Exception as error:  # Keras and layers raise TypeError, ValueError, KeyError, ...
        # The first error of the chain names the problem, the others only the layers.
        while error.__context__ is not None:
            error = error.__context__  # type: ignore[assignment]
        reason = str(error).strip().split("\n")[0][:300]
        raise ModelError(f"{file} cannot be loaded: {reason} {_LOADED}") from error


def _refusing_integers(model: keras.Model) -> keras.Model:
    """Converts clip classifiers of version 0.1, which were plain functional models."""
    if is_clip_classifier(model) and has_known_graph(model) and not isinstance(model, ClipClassifier):
        return ClipClassifier(model.input, model.output, name=model.name)
    return model


def _check_sizes(file: Path, archive: zipfile.ZipFile) -> None:
    """Checks sizes before reading: a compressed part can be a thousand times as large as the file."""
    parts = archive.infolist()
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
            raise ModelError(
                f"{file} must contain uncompressed parts, as saved by Keras. Received: {part.filename}, "
                f"{part.file_size:,} bytes compressed to {part.compress_size:,}. Save it again or use `zip -0`."
            )
    n_bytes, size = sum(part.file_size for part in parts), file.stat().st_size
    if n_bytes > size:
        raise ModelError(f"{file} must not have overlapping parts. Received: {n_bytes:,} bytes in {size:,}. {_SAVE}")
    n_bytes = archive.getinfo("config.json").file_size
    if n_bytes > _MAX_CONFIG_BYTES:
        raise ModelError(
            f"{file}: `config.json` may have at most {_MAX_CONFIG_BYTES:,} bytes. Received: {n_bytes:,}. {_SAVE}"
        )


def _check_has_no_code(file: Path, config: Any) -> None:
    left = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            # Keras resolves names below a module: `layers.Lambda` below `keras` also counts.
            kind = str(value.get("class_name")).rpartition(".")[2]
            if kind in _CODE:
                inner = value.get("config")
                named = f" named {inner['name']!r}" if isinstance(inner, dict) and "name" in inner else ""
                raise ModelError(
                    f"{file} cannot be loaded: it has a `{kind}`{named}, which can run arbitrary code. {_LOADED} Make "
                    "it a layer with `@keras.saving.register_keras_serializable()`."
                )
            left += value.values()
        elif isinstance(value, list):
            left += value


def front_end_of(model: keras.Model, where: str | Path = "the model") -> MelSpectrogram:
    """The mel front end of a clip classifier.

    Raises:
        ModelError: If the model is not a clip classifier.
    """
    _check_is_classifier(model, where)
    return next(layer for layer in model.layers if isinstance(layer, MelSpectrogram))


def head_of(model: keras.Model, where: str | Path = "the model") -> MeanOverPatches:
    """The last layer of a clip classifier: network, class names, patch hop.

    Raises:
        ModelError: If the model is not a clip classifier.
    """
    _check_is_classifier(model, where)
    head: MeanOverPatches = model.layers[-1]
    return head


def check_is_model(model: Any) -> None:
    """Raises a `ModelError` for anything but a Keras model, such as the path of one."""
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"`model` must be a Keras model. Received: model={shown(model)}. Load it first, with "
            "`loglearn_tf.deploy.saved_models.load_model` or `keras.models.load_model`."
        )


def has_known_graph(model: keras.Model) -> bool:
    """Whether a model is functional, or sequential and built, so that Keras can traverse and copy its layers."""
    # Both raise an AttributeError if a sequential model is not built.
    is_graph = isinstance(model, keras.Sequential) or hasattr(model, "operations")
    return is_graph and bool(getattr(model, "inputs", None))


def is_clip_classifier(model: keras.Model) -> bool:
    """Whether a model goes from waveform to probabilities, like those of `clip_classifier`."""
    layers = list(model.layers)
    has_front_end = any(isinstance(layer, MelSpectrogram) for layer in layers)
    return has_front_end and isinstance(layers[-1], MeanOverPatches) and has_known_graph(model)


def _check_is_classifier(model: keras.Model, where: str | Path) -> None:
    check_is_model(model)
    if not is_clip_classifier(model):
        raise ModelError(
            f"{where} is not a clip classifier: it must go from a waveform through `MelSpectrogram` to "
            f"`MeanOverPatches`. Received: a model `{model.name}`, {_shapes(model)}. "
            "`loglearn_tf.clip_classifier(network, class_names=...)` makes one from a network."
        )


def describe(model: keras.Model) -> str:
    """A model's inputs, front end, classes and compressions as text, with their values and curves."""
    n_parameters = f"{model.count_params():,}" if model.built else "unknown"
    lines = [f"{model.name}: {_shapes(model)}, {n_parameters} parameters"]
    for layer in all_layers(model):
        if isinstance(layer, MelSpectrogram):
            f_max = layer.sample_rate / 2 if layer.f_max is None else layer.f_max
            lines.append(
                f"front end: {layer.sample_rate:,} Hz, FFT {layer.n_fft}, hop {layer.hop_length} samples "
                f"({1e3 * layer.hop_length / layer.sample_rate:.1f} ms), {layer.n_mels} mel bands from "
                f"{layer.f_min:g} to {f_max:g} Hz, {layer.pad_mode} padding, {layer.fft_dtype}"
            )
        elif isinstance(layer, MeanOverPatches):
            frames, bands = layer.network.input_shape[1:]
            lines.append(
                f"patches: {frames} frames x {bands} bands, hop {layer.patch_hop}, {layer.mean} mean of the softmax"
            )
            lines.append(f"network: {layer.network.name}, {layer.network.count_params():,} parameters")
            lines.append(f"classes: {', '.join(layer.class_names)}")
        elif hasattr(layer, "compress"):
            lines += _describe_compression(layer)
    return "\n".join(lines)


def _shapes(model: keras.Model) -> str:
    if has_known_graph(model):
        return f"{model.input_shape} to {model.output_shape}"
    # For a custom class, Keras knows the input shapes, not the output shapes.
    return f"{type(model).__name__}, shapes unknown" if model.built else "not built"


def _describe_compression(layer: Any) -> list[str]:
    lines = [f"compression: {layer.name} ({type(layer).__name__})"]
    for name in ("alpha", "beta", "knee", "eps"):
        if hasattr(layer, name):
            values = np.asarray(keras.ops.convert_to_numpy(getattr(layer, name)), np.float64)
            shown = f"{float(values):.6g}" if values.ndim == 0 else _spread(values)
            lines.append(f"  {name:<5} {shown}")
    bands = 1
    if hasattr(layer, "knee"):
        # Computed by the formula, since the layer may have its bands on another axis.
        alpha, beta = (np.ravel(keras.ops.convert_to_numpy(value)) for value in (layer.alpha, layer.beta))
        bands = max(alpha.size, beta.size)
        curve = np.log(alpha * _SHOWN_POWER[:, np.newaxis] + beta).mean(axis=1)
    else:
        curve = layer.curve(_SHOWN_POWER)
    low, high = float(curve.min()), float(curve.max())
    taken = "mel power / clip level" if getattr(layer, "relative", False) is True else "mel power"
    lines.append(f"  {taken} to {'its mean over bands' if bands > 1 else 'output'}:")
    for at, value in zip(_SHOWN_POWER, curve, strict=True):
        bar = "#" * round(50 * (value - low) / (high - low)) if high > low else ""
        lines.append(f"  {at:8.0e} {value:9.3f}  {bar}".rstrip())
    return lines


def _spread(values: Any) -> str:
    low, middle, high = np.quantile(values, (0, 0.5, 1))
    return f"{low:.6g} to {high:.6g}, median {middle:.6g}, of {values.size} bands"


def all_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """All layers in order, including those of nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer
            if isinstance(layer, MeanOverPatches):
                yield from all_layers(layer.network)
