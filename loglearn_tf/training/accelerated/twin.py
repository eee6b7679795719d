"""The accelerated twin of a network: fused layers in place of Keras' own, every variable shared."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras

from loglearn_tf.errors import ConfigError
from loglearn_tf.training.accelerated.block import WITH_NORM
from loglearn_tf.training.accelerated.convolution import is_wide, sees_one_channel
from loglearn_tf.training.accelerated.layers import (
    Absorbed,
    Fused,
    FusedBatchNormalization,
    FusedBlock,
    FusedConv2D,
    FusedDense,
)
from loglearn_tf.training.accelerated.precision import Precision, sees_gpu
from loglearn_tf.training.graph import Graph, NoGraphError, graph_of

_log = logging.getLogger(__name__)

# Activations that a maximum may come before.
_RISING = (keras.activations.linear, keras.activations.relu, keras.activations.elu)
# Per patch. From here on, the map of a first convolution is computed in parts in every precision. With 128 filters, VGG
# and prototypical networks have 8 MiB, of which an update would keep gigabytes. With 32, VGG has 2.
_LARGE_BYTES = 4 << 20
_POOLINGS = (keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D)


@dataclass(frozen=True)
class Accelerated:
    """What `accelerate` made of a network.

    Attributes:
        network: The twin, to be compiled and trained; the plain network itself where nothing is replaced.
        replaced: Names of layers, those of nested models after the model's (`"encoder/conv_1"`), to the names of the
            fused layers that do their work.
        kept: Names of convolutions, batch normalisations and models that run as they are, to the reasons; with
            `precision="bfloat16"` of dense layers, too.
    """

    network: keras.Model
    replaced: dict[str, str]
    kept: dict[str, str]

    def describe(self) -> str:
        """Both lists, a layer a line."""
        lines = [f"{self.network.name}: {len(self.replaced)} layers fused, {len(self.kept)} kept"]
        lines += [f"  {name} -> {fused}" for name, fused in self.replaced.items()]
        lines += [f"  {name} kept: {reason}" for name, reason in self.kept.items()]
        return "\n".join(lines)


def accelerate(model: keras.Model, *, precision: Precision = "float32") -> Accelerated:
    """Makes a twin of a network that trains faster, with the same variables and, but for rounding, the same numbers.

    Replaced are convolutions over one channel; convolutions and batch normalisations whose output goes to a maximum
    pooling alone, together with it; and other batch normalisations over several channels. All other layers are in both.
    To train the twin is to train `model`: nothing is copied back. Score, save and hand out `model`; the twin cannot be
    saved. A twin of a compiled model is compiled alike, with an optimizer that begins anew.

    Args:
        model: Functional or sequential, built; models nested in it gain as well. Of Keras' own layers in float32 on
            TensorFlow. Whatever is not of this kind is kept, and nothing is wrong with it.
        precision: Of training steps. With `"float32_fast"`, a convolution, a batch normalisation and a maximum pooling
            in a row are replaced together, and sums are added in another order. With 100 patches, SB-CNN and VGG take
            2 to 18 % less time, depending on the processor; with 10, hardly less. Weights differ from those of
            `"float32"` by more with every update. With `"float32"`, they are replaced together only if the
            convolution is over one channel and its map takes 4 MiB per patch or more, which almost halves the memory
            of an update. If TensorFlow sees a GPU, `"float32_fast"` is `"float32"`. With `"bfloat16"`, convolutions
            and dense layers compute in bfloat16 with float32 sums, except dense layers whose output is the
            model's. With `training=False` the twin computes in float32. `check_bfloat16` tells whether this
            processor has bfloat16 instructions.

    Raises:
        ConfigError: If no layer of the model can be computed in bfloat16.

    Example:
        >>> layers = [keras.layers.Conv2D(8, 3, name="conv"), keras.layers.MaxPooling2D(name="pool")]
        >>> model = keras.Sequential([keras.Input((128, 128, 1)), *layers])
        >>> fast = accelerate(model)
        >>> fast.replaced
        {'conv': 'conv_fused_with_pool', 'pool': 'conv_fused_with_pool'}
        >>> fast.network.variables[0] is model.variables[0]
        True
    """
    replaced: dict[str, str] = {}
    kept: dict[str, str] = {}
    making = _Making("float32" if precision == "float32_fast" and sees_gpu() else precision, replaced, kept)
    accelerated = Accelerated(making.twin_of(model, ""), replaced, kept)
    if precision == "bfloat16" and not making.in_bfloat16:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in kept.items()) or "it has none"
        raise ConfigError(
            f"`training.precision=bfloat16` needs a network with convolutions or dense layers of Keras' own classes. "
            f"Received: {model.name}, of which none can be computed in bfloat16 ({reasons}). Use "
            "`training.precision=float32`."
        )
    _log.debug("%s", accelerated.describe())
    return accelerated


class _Making:
    """Makes twins of a model and of those nested in it.

    Args:
        precision: Of training steps.
        replaced, kept: Filled in.
    """

    def __init__(self, precision: Precision, replaced: dict[str, str], kept: dict[str, str]) -> None:
        self.precision = precision
        self.replaced = replaced
        self.kept = kept
        self.in_bfloat16 = False
        # A model nested in several places has one twin.
        self._made: dict[int, keras.Model] = {}

    def twin_of(self, model: keras.Model, path: str) -> keras.Model:
        """Fills in what is replaced and kept under `path`."""
        made = self._made
        if id(model) in made:
            return made[id(model)]
        made[id(model)] = model
        try:
            if keras.backend.backend() != "tensorflow":
                raise NoGraphError(f"Keras runs on {keras.backend.backend()}, not on TensorFlow")
            graph = graph_of(model)
        except NoGraphError as reason:
            self.kept[path.rstrip("/") or model.name] = str(reason)
            return model
        stand_ins: dict[int, keras.layers.Layer] = {}
        for name, layer in graph.layers.items():
            if isinstance(layer, keras.Model):
                twin = self.twin_of(layer, f"{path}{name}/")
                if twin is not layer:
                    stand_ins[id(layer)] = twin
            elif isinstance(layer, self._looked_at) and id(layer) not in stand_ins:
                fused = self._fused(layer, graph)
                if isinstance(fused, str):
                    self.kept[path + name] = fused
                    continue
                stand_ins[id(layer)] = fused
                self.replaced[path + name] = fused.name
                for other in fused.absorbed:
                    # Autocasting would convert bfloat16 to float32.
                    stand_ins[id(other)] = Absorbed(
                        name=other.name, dtype=other.dtype_policy, autocast=self.precision != "bfloat16"
                    )
                    self.replaced[path + other.name] = fused.name
        if stand_ins:
            made[id(model)] = keras.models.clone_model(model, clone_function=lambda one: stand_ins.get(id(one), one))
        return made[id(model)]

    @property
    def _looked_at(self) -> tuple[type[keras.layers.Layer], ...]:
        dense = (keras.layers.Dense,) if self.precision == "bfloat16" else ()
        return (keras.layers.Conv2D, keras.layers.BatchNormalization, *dense)

    def _fused(self, layer: keras.layers.Layer, graph: Graph) -> Fused | str:
        """What can stand for a layer, or the reason why nothing can."""
        if type(layer) not in self._looked_at:
            return f"{type(layer).__name__} is derived from Keras' class and may do other things"
        reason = _not_plain(layer, graph)
        if reason:
            return reason
        pool = _reader(layer, _POOLINGS, graph)
        if type(layer) is keras.layers.BatchNormalization:
            return _not_fused_by_tensorflow(layer) or FusedBatchNormalization(layer, pool, self.precision)
        unfit = _unfit(layer, graph)
        in_bfloat16 = self.precision == "bfloat16" and not unfit
        self.in_bfloat16 = self.in_bfloat16 or in_bfloat16
        if type(layer) is keras.layers.Dense:
            return FusedDense(layer, None, self.precision) if in_bfloat16 else str(unfit)
        in_parts = self.precision == "float32_fast" or _has_large_map(layer)
        if in_bfloat16 or (in_parts and not unfit and not _has_wide_kernel(layer)):
            norm = _reader(layer, (keras.layers.BatchNormalization,), graph)
            highest = norm and _reader(norm, (keras.layers.MaxPooling2D,), graph)
            if highest and layer.activation in WITH_NORM and not _not_fused_by_tensorflow(norm):
                return FusedBlock(layer, norm, highest, "bfloat16" if in_bfloat16 else "float32_fast")
        if layer.activation not in _RISING:
            pool = None
        if in_bfloat16:
            return FusedConv2D(layer, pool, self.precision)
        if pool is None and not sees_one_channel(layer):
            several = (
                "several channels or strides, and no maximum pooling that alone takes its output and may come first"
            )
            return str(unfit) if self.precision == "bfloat16" else several
        return FusedConv2D(layer, pool, "float32_fast" if self.precision == "float32_fast" else "float32")


def _reader(
    layer: keras.layers.Layer, kinds: Sequence[type[keras.layers.Layer]], graph: Graph
) -> keras.layers.Layer | None:
    """The layer of one of these classes that alone takes a layer's output, if there is one."""
    reader, *others = graph.readers[layer.name] or [""]
    found = None if others else graph.layers.get(reader)
    return None if type(found) not in kinds or _not_plain(found, graph) else found


def _not_plain(layer: keras.layers.Layer, graph: Graph) -> str | None:
    """Why no layer could be fused that is so, if it is."""
    if layer.name not in graph.source:
        return "called more than once, or with more than a tensor"
    if layer.dtype_policy.name != "float32":
        return f"computes in {layer.dtype_policy.name}, not in float32"
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "its channels come first"
    if layer.activity_regularizer is not None:
        return "an activity regularizer looks at its output"
    return None


def _unfit(layer: keras.layers.Conv2D | keras.layers.Dense, graph: Graph) -> str | None:
    """The reason why a convolution or dense layer stays in float32 or has no block, if there is one."""
    if type(layer) is keras.layers.Dense:
        is_output = layer.name in graph.outputs
        return "its output is the model's, of which losses and distances are computed" if is_output else None
    if layer.groups != 1 or tuple(layer.dilation_rate) != (1, 1):
        return "grouped or dilated, for which TensorFlow has no bfloat16 gradients"
    return None


def _has_large_map(layer: keras.layers.Conv2D) -> bool:
    """Whether in float32, too, a convolution is cheap and its map too large to be kept for the gradient."""
    shape = layer.output.shape[1:]
    return sees_one_channel(layer) and None not in shape and 4 * math.prod(shape) >= _LARGE_BYTES


def _has_wide_kernel(layer: keras.layers.Conv2D) -> bool:
    """Whether a kernel is almost as wide as its input: `convolution` has a faster gradient for it than a block."""
    return sees_one_channel(layer) and is_wide(layer, layer.input.shape[2])


def _not_fused_by_tensorflow(layer: keras.layers.BatchNormalization) -> str | None:
    """Why TensorFlow's kernels are not for a batch normalisation, if they are not."""
    if sees_gpu():
        return "TensorFlow sees a GPU, whose kernels are others"
    if layer.input_spec.ndim != 4 or layer.axis not in (-1, 3):
        return "not over the last of four axes"
    if not (layer.center and layer.scale) or layer.synchronized or getattr(layer, "renorm", False):
        return "without center or scale, or synchronized, or renormalised"
    if layer.moving_mean.shape[0] == 1:
        return "one channel, over which Keras' own costs little and its mean is more exact"
    return None
