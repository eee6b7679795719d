"""Compressions of mel power by name: log-EPS, the baseline, loglearn, whose logarithm is learned, and variants.

Each is a layer in its own file. Names and titles are available without importing Keras.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loglearn_tf._util.registry import Registry, load
from loglearn_tf._util.text import shown
from loglearn_tf.errors import ConfigError

if TYPE_CHECKING:
    import keras

__all__ = ["COMPRESSIONS", "CompressionRecord", "build_compression"]


@dataclass(frozen=True)
class CompressionRecord:
    """A compression: its name and how its layer is built. Calling it builds a new layer.

    Args:
        name: Name in settings, run folders and results.
        title: Name in reports.
        layer: A Keras layer class, a function that returns a new layer, or `module:attribute`: `"my_lab.layers:MyLog"`.
        arguments: Default arguments of the layer.
        learnable: Whether the layer has trained parameters, unless `trainable=False` is among its arguments.
        relative: Whether it takes mel power divided by the level of the clip, like `relative` of its layer; repeated
            here for code that must not load Keras.

    Example:
        >>> COMPRESSIONS["loglearn_per_band"].title
        'loglearn (per band)'
        >>> COMPRESSIONS["loglearn_per_band"](alpha_pre_gate=3.0).per_band
        True
    """

    name: str
    title: str
    layer: str | Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    learnable: bool = True
    relative: bool = False

    def __call__(self, **arguments: Any) -> "keras.layers.Layer":
        """Builds the layer.

        Args:
            **arguments: Override the record's arguments. `name` is omitted if the layer does not take it.

        Raises:
            ConfigError: If the layer cannot be imported, does not take these arguments, or is not a layer.
        """
        import keras

        kind = load(self.layer, what=f"compression {self.name}") if isinstance(self.layer, str) else self.layer
        if isinstance(kind, keras.layers.Layer):
            raise ConfigError(
                f"Compression {self.name} must be a layer class or a function that returns a new layer. Received: the "
                f"layer {kind.name!r}, whose weights all networks would share. Name its class."
            )
        known = {**self.arguments, **arguments}
        try:
            if "name" in known and not _takes_name(kind):
                del known["name"]
            layer = kind(**known)
        except (TypeError, ValueError) as error:
            arguments.pop("name", None)
            raise ConfigError(f"Compression {self.name} does not take {arguments}: {error}") from error
        if not isinstance(layer, keras.layers.Layer):
            raise ConfigError(f"Compression {self.name} must be or return a Keras layer. Received: {shown(layer)}.")
        return layer


def _takes_name(kind: Callable[..., Any]) -> bool:
    parameters = inspect.signature(kind).parameters
    return any(one.name == "name" or one.kind is one.VAR_KEYWORD for one in parameters.values())


def _adopt(name: str, found: Any) -> CompressionRecord:
    if isinstance(found, CompressionRecord):
        return found
    if not callable(found):
        raise ConfigError(
            f"Compression {name} must be a Keras layer class, a function that returns a layer or a "
            f"`CompressionRecord`. Received: {shown(found)}."
        )
    return CompressionRecord(name, title=name, layer=found)


# The baseline first, as in comparisons.
_OWN = (
    CompressionRecord("logeps", "log-EPS", f"{__name__}.log_eps:LogEps", learnable=False),
    CompressionRecord("loglearn", "loglearn", f"{__name__}.learnable_log:LearnableLog"),
    CompressionRecord(
        "loglearn_per_band", "loglearn (per band)", f"{__name__}.learnable_log:LearnableLog", {"per_band": True}
    ),
    CompressionRecord(
        "loglearn_adapted", "loglearn (adapted)", f"{__name__}.learnable_log:LearnableLog", {"quantile": 0.1}
    ),
    CompressionRecord("loglearn_knee", "loglearn (knee alone)", f"{__name__}.learnable_knee:LearnableKnee"),
    CompressionRecord("log", "log(10000 X + 1)", f"{__name__}.log:Log", learnable=False),
    CompressionRecord("log1p_learn", "log1p (learned)", f"{__name__}.log1p:Log1p"),
    CompressionRecord("power", "power (learned)", f"{__name__}.power:Power"),
    CompressionRecord("pcen", "PCEN", f"{__name__}.pcen:PCEN", {"trainable": False}),
    CompressionRecord("pcen_learn", "PCEN (learned)", f"{__name__}.pcen:PCEN"),
    CompressionRecord(
        *("relative_knee", "knee at 1 % of the level", f"{__name__}.relative_knee:RelativeKnee", {"trainable": False}),
        relative=True,
    ),
    CompressionRecord(
        "learned_relative_knee", "relative knee (learned)", f"{__name__}.relative_knee:RelativeKnee", relative=True
    ),
    CompressionRecord(
        *("relative_logeps", "log-EPS (levelled)", f"{__name__}.relative_log_eps:RelativeLogEps"),
        learnable=False,
        relative=True,
    ),
    CompressionRecord("none", "none", f"{__name__}.identity:NoCompression", learnable=False),
)
COMPRESSIONS: Registry[CompressionRecord] = Registry(
    "compression", group="loglearn_tf.compressions", own={record.name: record for record in _OWN}, adopt=_adopt
)


def build_compression(compression: "str | keras.layers.Layer", **arguments: Any) -> "keras.layers.Layer":
    """Returns a new layer of the given name, or the given layer itself.

    Args:
        compression: A name in `COMPRESSIONS`, your own layer as `module:attribute`, such as
            `"my_lab.layers:MyLog"`, or any layer object.
        **arguments: Arguments of the named layer, instead of its defaults. By default `name` is the compression's name.

    Raises:
        ConfigError: If no compression has that name, it cannot be imported, or does not take these arguments. It is a
            ValueError.

    Example:
        >>> build_compression("log1p_learn", a=4.0, name="log_learn").name
        'log_learn'
    """
    import keras

    if isinstance(compression, keras.layers.Layer) and not arguments:
        return compression
    if not isinstance(compression, str):
        raise ConfigError(
            "`compression` must be a Keras layer without arguments, or a name: "
            f"{', '.join(COMPRESSIONS)}, or your own as `module:attribute`. Received: "
            f"compression={shown(compression)}{f' with arguments {arguments}' if arguments else ''}."
        )
    record = COMPRESSIONS[compression]
    # TensorFlow's scope names must not contain a colon.
    arguments["name"] = arguments.get("name", compression).replace(":", ".")
    return record(**arguments)
