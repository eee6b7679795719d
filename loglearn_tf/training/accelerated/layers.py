"""Fused layers: each does the work of a layer of Keras, and of the pooling after it, with that layer's own weights."""

from typing import Any

import keras
from keras import ops

from loglearn_tf.training.accelerated import bfloat16
from loglearn_tf.training.accelerated.block import normalised_convolution, pooled_convolution
from loglearn_tf.training.accelerated.convolution import (
    biased_and_activated,
    convolution,
    is_wide,
    sees_one_channel,
)
from loglearn_tf.training.accelerated.normalization import normalise
from loglearn_tf.training.accelerated.pooling import pooled
from loglearn_tf.training.accelerated.precision import Precision


class Fused(keras.layers.Layer):  # type: ignore[misc]
    """Stands for a layer, and for the maximum pooling after it, in the twin that `accelerate` makes.

    The maximum of `f(x)` over a window is `f` of the maximum of `x`, if `f` rises: a bias, a rectifier, or batch
    normalisation, which is a line for each channel. Done after the pooling, `f` has a fraction of the values to go
    through.

    Args:
        plain: Keras' layer, built; its variables are used, and no others are made.
        pool: Keras' `MaxPooling2D` or `GlobalMaxPooling2D` that alone takes its output, or `None`.
        precision: Of training steps. In `bfloat16`, layers take and return bfloat16 maps. Inference is float32.
    """

    def __init__(
        self, plain: keras.layers.Layer, pool: keras.layers.Layer | None = None, precision: Precision = "float32"
    ) -> None:
        name = f"{plain.name}_fused" if pool is None else f"{plain.name}_fused_with_{pool.name}"
        # Under a policy of half precision, too, the layers' own. Autocasting would convert bfloat16 inputs to float32.
        super().__init__(name=name, dtype=plain.dtype_policy, autocast=precision != "bfloat16")
        self.plain = plain
        self.pool = pool
        self.precision = precision

    @property
    def absorbed(self) -> list[keras.layers.Layer]:
        """The layers after `plain` that are fused into this one."""
        return [] if self.pool is None else [self.pool]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        shape = tuple(self.plain.compute_output_shape(input_shape))
        return shape if self.pool is None else tuple(self.pool.compute_output_shape(shape))

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError(_NOT_SAVED)

    def save_own_variables(self, store: Any) -> None:
        raise NotImplementedError(_NOT_SAVED)


class FusedConv2D(Fused):
    """A convolution of Keras, on one channel with the faster gradients of `convolution`; its bias and activation come
    after the pooling.

    Args:
        plain: `keras.layers.Conv2D`. With a pooling, its activation must rise: linear, relu or elu.
        pool: See `Fused`.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        # Places of a gradient that is not zero, and parts of a batch, are as many as there are: XLA's shapes are fixed.
        self.supports_jit = not (self._is_wide(input_shape) or self._is_in_parts(input_shape))

    def _is_wide(self, input_shape: tuple[int | None, ...]) -> bool:
        return sees_one_channel(self.plain) and is_wide(self.plain, input_shape[2])

    def _is_in_parts(self, input_shape: tuple[int | None, ...]) -> bool:
        in_windows = self.precision == "float32_fast" and type(self.pool) is keras.layers.MaxPooling2D
        return in_windows and sees_one_channel(self.plain) and not self._is_wide(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        precision = self.precision if training else "float32"
        if precision == "bfloat16":
            if not self._is_wide(inputs.shape):
                return bfloat16.convolution(self.plain, inputs, self.pool)
            inputs = ops.cast(inputs, self.compute_dtype)
        if training and self._is_in_parts(inputs.shape):
            x = pooled_convolution(self.plain, self.pool, inputs)
        else:
            x = convolution(self.plain, inputs, precision)
            if self.pool is not None:
                x = pooled(self.pool, x)
        return biased_and_activated(self.plain, x)


class FusedBatchNormalization(Fused):
    """A batch normalisation of Keras, trained by TensorFlow's fused kernels, with fewer passes and a more exact mean;
    only maxima are normalised.

    At inference, frozen, and of masked inputs, Keras' layers run themselves.

    Args:
        plain: `keras.layers.BatchNormalization` over the last of four axes, float32, with center and scale.
        pool: See `Fused`.
    """

    def __init__(
        self, plain: keras.layers.Layer, pool: keras.layers.Layer | None = None, precision: Precision = "float32"
    ) -> None:
        super().__init__(plain, pool, precision)
        self.supports_masking = True
        self.supports_jit = False  # XLA has no kernel of the Euclidean norm on CPUs

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        pass  # `plain` is

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return previous_mask if self.pool is None else None

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        plain, pool = self.plain, self.pool
        if not (training and plain.trainable) or mask is not None:
            # bfloat16 inputs, which a frozen layer may get, are converted to float32 by Keras.
            x = plain(inputs, training=training, mask=mask)
            return x if pool is None else pooled(pool, x)
        normalised, mean, variance = normalise(inputs, plain.gamma, plain.beta, plain.epsilon)
        self.move_averages(mean, variance)
        return normalised(None if pool is None else lambda x: pooled(pool, x))

    def move_averages(self, mean: Any, variance: Any) -> None:
        """By the statistics of a batch, `(channels,)` each."""
        plain = self.plain
        for moving, value in ((plain.moving_mean, mean), (plain.moving_variance, variance)):
            moving.assign(moving * plain.momentum + value * (1.0 - plain.momentum))


class FusedBlock(Fused):
    """A convolution, a batch normalisation and a maximum pooling, trained as one.

    At inference, or if the normalisation is frozen, `FusedConv2D` and `FusedBatchNormalization` run instead.

    Args:
        plain: `keras.layers.Conv2D`, in one group and not dilated; its activation one of `block.WITH_NORM`.
        norm: `keras.layers.BatchNormalization`, of the kind that `FusedBatchNormalization` takes; the only reader of
            the convolution's output.
        pool: `keras.layers.MaxPooling2D`; the only reader of the normalisation's output.
        precision: `float32_fast` or `bfloat16`.
    """

    def __init__(
        self,
        plain: keras.layers.Conv2D,
        norm: keras.layers.BatchNormalization,
        pool: keras.layers.MaxPooling2D,
        precision: Precision,
    ) -> None:
        super().__init__(plain, pool, precision)
        self.convolution = FusedConv2D(plain, None, precision)
        self.normalization = FusedBatchNormalization(norm, pool, precision)
        self.supports_jit = False

    @property
    def absorbed(self) -> list[keras.layers.Layer]:
        return [self.normalization.plain, self.pool]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        pass  # `plain` and `norm` are

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        norm = self.normalization.plain
        if not (training and norm.trainable):
            return self.normalization(self.convolution(inputs, training=training), training=training)
        y, mean, variance = normalised_convolution(self.plain, norm, self.pool, inputs, self.precision)
        self.normalization.move_averages(mean, variance)
        return y


class FusedDense(Fused):
    """A dense layer of Keras that trains in bfloat16. In float32, Keras' own layer is as fast.

    Args:
        plain: `keras.layers.Dense`.
        pool: None.
        precision: See `Fused`.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        pass  # `plain` is

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if training and self.precision == "bfloat16":
            return bfloat16.dense(self.plain, inputs)
        return self.plain(inputs)


class Absorbed(keras.layers.Identity):  # type: ignore[misc]
    """Stands for a layer that is fused into an earlier one. Takes a mask, with which batch normalisation is called."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return inputs

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:
        return super().compute_output_spec(inputs)


_NOT_SAVED = (
    "This network is the accelerated twin of another, made for training only: it cannot be saved, copied or cloned. "
    "Save the plain network that was given to `accelerate`; its variables are the same."
)
