"""Saved models: read, checked and described."""

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from loglearn_tf.deploy.safe_mode import REMEDY, ways_around
from loglearn_tf.errors import ModelError
from loglearn_tf.layers import ClipClassifier, MeanOverPatches, MelSpectrogram

_SAVE = "A run keeps its model with `save_models=true`; `clip_classifier` makes one of your own network."
# A description of a thousand layers is about a megabyte.
_MAX_CONFIG_BYTES = 16 << 20
# What these do is Python code in the file, or lies in another one. Safe mode refuses most of it, too, but a program can
# switch that off (`keras.config.enable_unsafe_deserialization`), for whatever it loads. No list of what may be loaded:
# layers of one's own, once registered, may have any name.
_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__")
_LOADED = "Layers of Keras, of this package and those that the program has registered are loaded, and no Python code."
# Mel power at which `describe` shows the curve: from silence to a loud tone.
_SHOWN_POWER = 10.0 ** np.arange(-10, 5)


def load_model(path: str | Path, *, trust: bool = False) -> keras.Model:
    """Loads a `.keras` file, or that of a run's folder, with Keras' safe mode on.

    Args:
        path: Of the file or the folder.
        trust: Whether you know who made the file. Asked for where the installed Keras has known ways around its safe
            mode (`safe_mode.WAYS_AROUND`); all checks are made in either case.

    Raises:
        ModelError: If there is no such file, it is no Keras model, its parts are compressed, it holds code (a lambda, a
            pickled object) or layers that are neither Keras' nor registered; or the installed Keras has ways around
            its safe mode and the file is not trusted.
    """
    file = Path(path) / "model.keras" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise ModelError(f"There is no model {file}. Name a .keras file or a run's folder that has one. {_SAVE}")
    # Keras goes by the name: a file can be both a zip and HDF5, which it would read without what is checked here.
    if not file.name.endswith(".keras"):
        raise ModelError(
            f"A model's file must have a name that ends in `.keras`. Received: {file}. Rename it if it is one. {_SAVE}"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            _check_sizes(file, archive)
            config = json.loads(archive.read("config.json"))
    except ModelError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, RuntimeError) as error:
        raise ModelError(f"{file} is no model saved by Keras 3: {error}. {_SAVE}") from error
    _check_has_no_code(file, config)
    if not trust and (ways := ways_around(keras.__version__)):
        raise ModelError(
            f"{file} is not loaded: Keras {keras.__version__} has known ways around its safe mode, by which a file can "
            f"{ways[-1].what} ({', '.join(way.name for way in ways)}). If you know who made it, say `--trust`, in "
            f"Python `load_model(path, trust=True)`; otherwise install {REMEDY}."
        )
    try:
        return _refusing_integers(keras.models.load_model(file, compile=False, safe_mode=True))
    except Exception as error:  # Keras raises TypeError, ValueError, KeyError, ... of its own and of the layers
        # The first of the chain says what is wrong; the others only in which layers.
        while error.__context__ is not None:
            error = error.__context__  # type: ignore[assignment]
        reason = str(error).strip().split("\n")[0][:300]
        raise ModelError(f"{file} cannot be loaded: {reason} {_LOADED}") from error


def _refusing_integers(model: keras.Model) -> keras.Model:
    """Clip classifiers of version 0.1 were functional models of Keras' own class."""
    if is_clip_classifier(model) and has_known_graph(model) and not isinstance(model, ClipClassifier):
        return ClipClassifier(model.input, model.output, name=model.name)
    return model


def _check_sizes(file: Path, archive: zipfile.ZipFile) -> None:
    """Before anything is read: a compressed part can be a thousand times as large as the file."""
    parts = archive.infolist()
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
            raise ModelError(
                f"{file} must hold its parts uncompressed, as Keras saves them. Received: {part.filename}, "
                f"{part.file_size:,} bytes packed as {part.compress_size:,}. Save it anew, or pack it by `zip -0`."
            )
    n_bytes, size = sum(part.file_size for part in parts), file.stat().st_size
    if n_bytes > size:
        raise ModelError(f"{file} must hold parts side by side. Received: {n_bytes:,} bytes in {size:,}. {_SAVE}")
    n_bytes = archive.getinfo("config.json").file_size
    if n_bytes > _MAX_CONFIG_BYTES:
        raise ModelError(
            f"{file}: `config.json` must have at most {_MAX_CONFIG_BYTES:,} bytes. Received: {n_bytes:,}. {_SAVE}"
        )


def _check_has_no_code(file: Path, config: Any) -> None:
    left = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            # Keras looks a name up below a module: `layers.Lambda` below `keras` is one, too.
            kind = str(value.get("class_name")).rpartition(".")[2]
            if kind in _CODE:
                inner = value.get("config")
                named = f" named {inner['name']!r}" if isinstance(inner, dict) and "name" in inner else ""
                raise ModelError(
                    f"{file} cannot be loaded: it has a `{kind}`{named}, which can run any code. {_LOADED} Make it a "
                    "layer with `@keras.saving.register_keras_serializable()`."
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


def has_known_graph(model: keras.Model) -> bool:
    """Whether a model is functional, or sequential and built: Keras can then go through its layers, and copy them."""
    # Both raise an AttributeError where a sequential model is not built.
    is_graph = isinstance(model, keras.Sequential) or hasattr(model, "operations")
    return is_graph and bool(getattr(model, "inputs", None))


def is_clip_classifier(model: keras.Model) -> bool:
    """Whether a model goes from waveform to probabilities, as `clip_classifier` makes it."""
    layers = list(model.layers)
    has_front_end = any(isinstance(layer, MelSpectrogram) for layer in layers)
    return has_front_end and isinstance(layers[-1], MeanOverPatches) and has_known_graph(model)


def _check_is_classifier(model: keras.Model, where: str | Path) -> None:
    if not is_clip_classifier(model):
        raise ModelError(
            f"{where} is no clip classifier: it must go from a waveform through `MelSpectrogram` to `MeanOverPatches`. "
            f"Received: a model `{model.name}`, {_shapes(model)}. "
            "`loglearn_tf.clip_classifier(network, class_names=...)` makes one of a network."
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
    # Of a class of someone's own, Keras knows what it was built for, not what it returns.
    return f"{type(model).__name__}, shapes not known" if model.built else "not built"


def _describe_compression(layer: Any) -> list[str]:
    lines = [f"compression: {layer.name} ({type(layer).__name__})"]
    for name in ("alpha", "beta", "knee", "eps"):
        if hasattr(layer, name):
            values = np.asarray(keras.ops.convert_to_numpy(getattr(layer, name)), np.float64)
            shown = f"{float(values):.6g}" if values.ndim == 0 else _spread(values)
            lines.append(f"  {name:<5} {shown}")
    bands = 1
    if hasattr(layer, "knee"):
        # By the formula: the layer may have its bands on another axis.
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
    """All layers, those of nested models at their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer
            if isinstance(layer, MeanOverPatches):
                yield from all_layers(layer.network)
