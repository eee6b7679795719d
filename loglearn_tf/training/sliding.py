"""Scores all patches of a clip from maps of the whole clip, without cutting patches.

Patches that start one frame apart share almost everything. A convolution or pooling gives the same number for the same
frames, whichever patch they are in, so it is computed once for the clip, and the map of each patch is read from it:

- **Phases.** After pooling by 4, a patch that starts at frame 0 has maxima over frames 0-3, 4-7, ..., one that starts
  at frame 1 over 1-4, 5-8, ...: four interleaved maps, the phases of the clip. All are kept, and the following layers
  treat each as a separate clip. Further pooling multiplies their number. With `stride`, the product of the poolings,
  column t of the patch that starts at frame s is column `s // stride + t` of phase `s % stride`. With patches `hop`
  frames apart, only the phases in which patches start are computed.
- **Borders.** A convolution with zero padding sees zeros next to a patch, but neighbouring frames in the clip. These
  columns depend only on where the patch starts (its left columns) or ends (its right columns): they are computed for
  each patch, from its border columns in the layer before and from the maps.
- **Reading.** If a layer needs the whole patch, like `Flatten`, its columns are assembled from left border, map and
  right border, and the remaining layers work as usual. Global pooling reads only what it needs: it pools over bands
  once for the clip, then over the columns of every patch; maxima of all patches at once, as a sliding maximum.

The layers are the model's own, with their own weights; a wide convolution over one channel is computed as a matrix
product, as in training. Results equal those of cut patches except for the rounding of sums in another order.
"""

import inspect
import logging
import math
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from loglearn_tf.layers import Compression
from loglearn_tf.training.accelerated.convolution import biased_and_activated, convolution
from loglearn_tf.training.graph import NoGraphError, graph_of

_log = logging.getLogger(__name__)

# Pointwise layers: the same in a patch as in a clip. Dropout does nothing when scoring.
_POINTWISE = (
    keras.layers.Activation,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
)
_ACTIVATIONS = (
    keras.activations.elu,
    keras.activations.gelu,
    keras.activations.leaky_relu,
    keras.activations.linear,
    keras.activations.relu,
    keras.activations.selu,
    keras.activations.sigmoid,
    keras.activations.silu,
    keras.activations.softplus,
    keras.activations.tanh,
)
_POOLINGS = {
    keras.layers.MaxPooling2D: ops.max_pool,
    keras.layers.AveragePooling2D: ops.average_pool,
}
_GLOBAL_POOLINGS = {
    keras.layers.GlobalMaxPooling2D: ops.max,
    keras.layers.GlobalAveragePooling2D: ops.mean,
}


@dataclass(frozen=True)
class _Maps:
    """The output of a layer for all patches of some clips of equal length.

    Attributes:
        clips: `(n_clips * n_phases, columns, bands, channels)`, initially without channels. One row per clip and phase;
            row r has the columns of frames `phases[r]`, `phases[r] + stride`, ... Values beyond the end of a clip are
            arbitrary: no patch reads them.
        left: `(n_patches, n_left, bands, channels)`, the first columns of every patch, if they differ from the clip's.
        right: `(n_patches, n_right, bands, channels)`, the last ones.
        n_columns: Number of columns of a patch.
        stride: Frames between the columns of a patch.
        phases: Phases in which patches start, ascending.
    """

    clips: Any
    left: Any
    right: Any
    n_columns: int
    stride: int
    phases: tuple[int, ...]

    @property
    def n_left(self) -> int:
        return 0 if self.left is None else int(self.left.shape[1])

    @property
    def n_right(self) -> int:
        return 0 if self.right is None else int(self.right.shape[1])


class NoMapsError(Exception):
    """The patches of a model must be cut out for scoring; the message gives the reason."""


class _NeedsPatches(Exception):
    """A layer needs the whole patch, or nothing between the borders is left to share."""


@dataclass(frozen=True)
class _Patches:
    """The positions of the clips' patches; reads their columns from maps.

    Attributes:
        clips: `(n_patches,)`, the clip of each patch.
        starts: `(n_patches,)`, its first frame.
        hop: Frames between patches.
    """

    clips: Any
    starts: Any
    hop: int

    def columns(self, maps: _Maps, first: int, n: int) -> Any:
        """Columns `first` to `first + n` of every patch, `(n_patches, n, bands, channels)`, from the clips' maps."""
        if not maps.n_left <= first <= first + n <= maps.n_columns - maps.n_right:
            raise _NeedsPatches
        phase_numbers = np.zeros(maps.stride, np.int32)
        phase_numbers[list(maps.phases)] = range(len(maps.phases))
        phase = ops.take(ops.convert_to_tensor(phase_numbers), self.starts % maps.stride)
        n_columns = ops.shape(maps.clips)[1]
        begin = (self.clips * len(maps.phases) + phase) * n_columns + self.starts // maps.stride + first
        rest = maps.clips.shape[2:]
        return ops.take(ops.reshape(maps.clips, (-1, *rest)), begin[:, None] + ops.arange(n)[None, :], axis=0)

    def whole(self, maps: _Maps) -> Any:
        """`(n_patches, n_columns, bands, channels)`."""
        inside = self.columns(maps, maps.n_left, maps.n_columns - maps.n_left - maps.n_right)
        return _side_by_side(maps.left, inside, maps.right)


class SlidingScorer:
    """Computes the logits of all patches of clips. Compiled once for all lengths; uses the model's current weights.

    Args:
        model: From `(batch, patch_frames, n_mels)` mel power to `(batch, n_classes)` logits, with layers in a chain. Up
            to the first that needs a whole patch they must be of known types, including a convolution.
        hop: Frames between patches.

    Raises:
        NoMapsError: If the model is not of this kind; `sliding_scorer` returns `None` instead.
    """

    def __init__(self, model: keras.Model, *, hop: int) -> None:
        import tensorflow as tf

        try:
            self._layers = _chain(model)
        except NoGraphError as reason:
            raise NoMapsError(str(reason)) from reason
        for layer in self._layers:
            if layer.compute_dtype != "float32":
                raise NoMapsError(f"{layer.name} computes in {layer.compute_dtype}, not in float32")
        if len(model.input_shape) != 3 or None in model.input_shape[1:]:
            raise NoMapsError(f"its input is {model.input_shape}, not patches of fixed size")
        self._hop = hop
        self._patch_frames, n_mels = model.input_shape[1:]
        signature = [tf.TensorSpec((None, None, n_mels), tf.float32)]
        # autograph=False: the loops and conditions are in Python, over layers.
        self._logits = tf.function(self._trace, input_signature=signature, autograph=False)
        self._logits.get_concrete_function()  # raises if it cannot be done

    def logits(self, mels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """From `(n_clips, frames, n_mels)` mel power, at least a patch long, to `(n_clips, n_patches, n_classes)`."""
        logits = np.asarray(self._logits(mels))
        return logits.reshape(len(mels), -1, logits.shape[-1])

    def _trace(self, mels: Any) -> Any:
        n_clips, n_frames, _ = ops.shape(mels)
        n_patches = (n_frames - self._patch_frames) // self._hop + 1
        patches = _Patches(
            clips=ops.repeat(ops.arange(n_clips), n_patches),
            starts=ops.tile(ops.arange(n_patches) * self._hop, (n_clips,)),
            hop=self._hop,
        )
        maps = _Maps(mels, None, None, self._patch_frames, 1, (0,))
        shares = False
        left, x = list(self._layers), None
        while left and x is None:
            try:
                if type(left[0]) in _GLOBAL_POOLINGS:
                    x = _pool_globally(left[0], maps, patches)
                else:
                    maps = _step(left[0], maps, patches)
                    shares = shares or type(left[0]) is keras.layers.Conv2D
                left.pop(0)
            except _NeedsPatches:
                x = patches.whole(maps)
        if not shares:
            raise NoMapsError("no convolution can be computed for all patches at once")
        x = patches.whole(maps) if x is None else x
        for layer in left:
            x = layer(x, training=False) if "training" in inspect.signature(layer.call).parameters else layer(x)
        return x


def sliding_scorer(model: keras.Model, *, hop: int) -> SlidingScorer | None:
    """The scorer of a model, or `None` if its patches must be cut out; the reason is logged."""
    try:
        scorer = SlidingScorer(model, hop=hop)
    except NoMapsError as reason:
        _log.debug("%s at hop %d: patches are cut out: %s", model.name, hop, reason)
        return None
    _log.debug("%s at hop %d: scored from maps of whole clips", model.name, hop)
    return scorer


def _chain(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers from input to output, including those of nested models.

    Raises:
        NoGraphError: If they do not form a chain.
    """
    chain: list[keras.layers.Layer] = []
    for layer in graph_of(model).chain():
        chain += _chain(layer) if isinstance(layer, keras.Model) else [layer]
    return chain


def _step(layer: Any, maps: _Maps, patches: _Patches) -> _Maps:
    """Applies `layer` to the maps.

    Raises:
        _NeedsPatches: If it cannot be computed on them.
    """
    kind, rank = type(layer), len(maps.clips.shape)
    if getattr(layer, "activation", None) not in (None, *_ACTIVATIONS):
        raise _NeedsPatches  # an arbitrary function may mix columns
    if kind in _POINTWISE or (_has_axis(layer) and not _is_over_time(layer, rank)):
        return replace(maps, **{name: _maybe(layer, getattr(maps, name)) for name in ("clips", "left", "right")})
    if kind is keras.layers.Reshape and rank == 3 and layer.target_shape == (maps.n_columns, maps.clips.shape[2], 1):
        return replace(maps, clips=maps.clips[..., None])
    if rank == 4 and getattr(layer, "data_format", None) == "channels_last":
        if kind is keras.layers.Conv2D and layer.strides[0] == layer.dilation_rate[0] == layer.groups == 1:
            if layer.padding == "valid":
                return _convolve(layer, maps, patches, 0, 0)
            if layer.padding == "same" and layer.strides[1] == layer.dilation_rate[1] == 1:
                before, after = _padding(layer.kernel_size[0])
                return _convolve(layer, maps, patches, before, after)
        if kind in _POOLINGS and layer.padding == "valid" and tuple(layer.strides) == tuple(layer.pool_size):
            return _pool(layer, maps, patches)
    raise _NeedsPatches


def _has_axis(layer: Any) -> bool:
    """Whether a layer is pointwise, possibly with separate parameters along its axis."""
    # The class itself must declare it: a derived class may do anything.
    own = isinstance(layer, Compression) and "pointwise" in vars(type(layer))
    return own or type(layer) is keras.layers.BatchNormalization


def _is_over_time(layer: Any, rank: int) -> bool:
    """Whether a layer treats columns differently."""
    if isinstance(layer, Compression):
        return not layer.pointwise or (getattr(layer, "per_band", False) and layer.axis in (1, 1 - rank))
    return layer.axis in (1, 1 - rank)


def _convolve(layer: Any, maps: _Maps, patches: _Patches, before: int, after: int) -> _Maps:
    """A convolution over `before` zeros, a patch, and `after` zeros."""
    overlap = layer.kernel_size[0] - 1
    left, right, n_columns = maps.left, maps.right, maps.n_columns
    # A border grows by the columns that see zeros; its last one sees this many columns inside.
    if before or left is not None:
        inside = patches.columns(maps, maps.n_left, overlap)
        left = _over_columns(layer, _side_by_side(_zeros(inside, before), left, inside))
    if after or right is not None:
        inside = patches.columns(maps, n_columns - maps.n_right - overlap, overlap)
        right = _over_columns(layer, _side_by_side(inside, right, _zeros(inside, after)))
    clips = biased_and_activated(layer, convolution(layer, maps.clips))
    return replace(maps, clips=clips, left=left, right=right, n_columns=n_columns - overlap + before + after)


def _pool(layer: Any, maps: _Maps, patches: _Patches) -> _Maps:
    size, n_bands = layer.pool_size
    pool = _POOLINGS[type(layer)]
    n_columns = maps.n_columns // size
    n_left, n_right = -(-maps.n_left // size), n_columns - (maps.n_columns - maps.n_right) // size
    left = right = None
    if n_left:
        inside = patches.columns(maps, maps.n_left, n_left * size - maps.n_left)
        left = layer(_side_by_side(maps.left, inside))
    if n_right:
        first = (n_columns - n_right) * size
        inside = patches.columns(maps, first, maps.n_columns - maps.n_right - first)
        # Columns that do not fill a window are dropped, as in the patch.
        right = layer(_side_by_side(inside, maps.right[:, : n_columns * size - (maps.n_columns - maps.n_right)]))

    stride = maps.stride * size
    # (phase, row of the old phase, offset in columns)
    new = sorted(
        (phase + late * maps.stride, row, late) for row, phase in enumerate(maps.phases) for late in range(size)
    )
    new = [one for one in new if one[0] % math.gcd(patches.hop, stride) == 0]
    lates = sorted({late for _, _, late in new})
    clips = ops.pad(maps.clips, [[0, 0], [0, 2 * size], [0, 0], [0, 0]])
    length = (ops.shape(maps.clips)[1] + size) // size * size
    pooled = ops.stack(
        [pool(clips[:, late : late + length], (size, n_bands), strides=(size, n_bands)) for late in lates], axis=1
    )
    rest = pooled.shape[3:]
    rows = len(maps.phases) * len(lates)
    by_clip = ops.reshape(pooled, (-1, rows, length // size, *rest))
    order = [row * len(lates) + lates.index(late) for _, row, late in new]
    if order != list(range(rows)):
        by_clip = ops.take(by_clip, order, axis=1)
    clips = ops.reshape(by_clip, (-1, length // size, *rest))
    return _Maps(clips, left, right, n_columns, stride, tuple(phase for phase, _, _ in new))


def _pool_globally(layer: Any, maps: _Maps, patches: _Patches) -> Any:
    if layer.data_format != "channels_last" or layer.keepdims or maps.left is not None or maps.right is not None:
        raise _NeedsPatches
    over = _GLOBAL_POOLINGS[type(layer)]
    without_bands = replace(maps, clips=over(maps.clips, axis=2))
    if over is ops.max:
        maxima = _sliding_max(without_bands.clips, maps.n_columns)
        return patches.columns(replace(without_bands, clips=maxima, n_columns=1), 0, 1)[:, 0]
    return over(patches.columns(without_bands, 0, maps.n_columns), axis=1)


def _sliding_max(x: Any, n: int) -> Any:
    """From `(rows, columns, channels)` to sliding maxima over `n` columns, `(rows, columns - n + 1, channels)`.

    Maxima over twice as many columns are the larger of two adjacent ones, so log2(n) steps are enough, and nothing is
    copied for each patch.
    """
    width = 1
    while 2 * width <= n:
        x = ops.maximum(x[:, :-width], x[:, width:])
        width *= 2
    rest = n - width  # the last two overlap
    return ops.maximum(x[:, :-rest], x[:, rest:]) if rest else x


def _over_columns(layer: Any, x: Any) -> Any:
    """A convolution whose zero padding in time is already in the columns; in bands it pads as usual."""
    if layer.padding == "same":
        before, after = _padding(layer.kernel_size[1])
        x = ops.pad(x, [[0, 0], [0, 0], [before, after], [0, 0]])
    y = ops.conv(x, layer.kernel, strides=layer.strides, padding="valid", dilation_rate=layer.dilation_rate)
    if layer.use_bias:
        y = y + layer.bias
    return y if layer.activation is None else layer.activation(y)


def _padding(size: int) -> tuple[int, int]:
    """Number of zeros before and after, for padding "same" with stride 1."""
    return (size - 1) // 2, size // 2


def _zeros(like: Any, n: int) -> Any:
    return ops.repeat(ops.zeros_like(like[:, :1]), n, axis=1)


def _side_by_side(*parts: Any) -> Any:
    present = [part for part in parts if part is not None and part.shape[1] != 0]
    return present[0] if len(present) == 1 else ops.concatenate(present, axis=1)


def _maybe(layer: Any, x: Any) -> Any:
    return None if x is None else layer(x)
