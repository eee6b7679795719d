"""loglearn: the logarithmic compression with learned alpha and beta."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from loglearn_tf.layers.compression.base import (
    Compression,
    add_number,
    band_axis,
    finite,
    in_float32,
    log_compress,
    power_at_quantile,
    rate_factor,
    scaled_gradient,
    share,
)


@keras.saving.register_keras_serializable(package="loglearn_tf")
class LearnableLog(Compression):
    """Learnable logarithmic compression (loglearn), `log(alpha * mel + beta)`.

    `alpha = exp(alpha_pre_gate)` and `beta = softplus(beta_pre_gate)` keep both positive; the
    pre-gates are the only weights. Natural logarithm.

    If batch normalisation follows, `log(alpha * mel + beta) = log(alpha) + log(mel + knee)` with
    `knee = beta / alpha`: normalisation removes the constant, and only the knee can matter, in training and, once the
    moving averages have settled, at test (after 200 updates with a momentum of 0.99, 13 % of them is still their
    initial value, and `log(alpha)` shifts the network's input). Mel power well below the knee is flattened to a
    constant; power well above it is compressed by a plain logarithm.

    This determines how fast the knee can be learned. With `g` the gradient of the loss with respect to the knee,
    the gradients of the pre-gates `a` and `b` are `-knee * g` and `knee * g * r`, with
    `r = sigmoid(b) / softplus(b)`, .557 at the start. A step of gradient descent with learning rate `eta` therefore
    changes `ln(knee)`, which falls with `a` and rises by `r` with `b`, by `-eta * knee * g * (1 + r ** 2)`, 1.31 times
    as much as in `LearnableKnee`; `learning_rate_factor` multiplies it. `knee * g` is the sum over all values of
    `dL/du * knee / (mel + knee)`, with `u` the output: values well above the knee do not contribute.

    Weight decay, as in `keras.optimizers.AdamW`, pulls the pre-gates to 0 whatever the loss, and so the knee to 0.69:
    at the start `ln(knee)` grows by `(7 - r) * eta * weight_decay` per step. Exclude them before training:
    `optimizer.exclude_from_weight_decay(var_names=["pre_gate"])`, or, once the layer is built,
    `var_list=layer.trainable_weights`, which works for every compression. For all compressions of a model at once,
    keeping earlier exclusions: `loglearn_tf.training.optimizers.exclude_compressions(optimizer, model)`. Regularisers
    of other layers' kernels do not affect them.

    Works on Keras' TensorFlow, JAX and PyTorch backends.

    Args:
        alpha_pre_gate: Float, initial value, no unit. 7.0 gives alpha = 1096.633.
        beta_pre_gate: Float, initial value, no unit. 1.0 gives beta = 1.31326. To start from out-of-gate
            values, see `from_values`.
        per_band: Whether every mel band has its own pair.
        axis: Axis of the mel bands; -2 if channels follow them. Only used with `per_band`.
        learning_rate_factor: Float >= 0, scales the gradients of the pre-gates, and with plain SGD thereby their
            learning rate. Optimisers that normalise gradients, such as Adam, undo it. If gradients are clipped to a
            global norm, scaled ones are included: a large factor then slows all other weights in clipped steps.
        quantile: Default quantile for `adapt`: the share of the mel power above zero that is below the knee. Setting it
            does not adapt anything by itself, but the experiment's training then adapts the layer to its training
            clips.
        alpha_regularizer: Keras regularizer of alpha's pre-gate, not of alpha itself. `keras.regularizers.L2`
            pulls it to 0, where alpha is 1.
        beta_regularizer: The same for beta's pre-gate; at 0, beta is 0.693.
        alpha_constraint: Keras constraint of alpha's pre-gate, applied after every optimiser step.
        beta_constraint: The same for beta's pre-gate.
        check_input: See `Compression`.
        **kwargs: `name`, `dtype`, `trainable`, for the base layer.

    Input shape:
        `(batch, frames, n_mels)`, or any other with the mel bands on `axis`; mel power, >= 0. Negative values are not
        power: between `-knee` and 0 they give smaller values than silence, below `-knee` NaN, like any logarithm. The
        input must not be logarithmic already. NaN stays NaN, infinity stays infinity.

    Output shape:
        Same as the input, float32; log power. A mask passes unchanged.

    Attributes:
        alpha: Out-of-gate value, float32, shape `()`, or `(n_mels,)` with `per_band`.
        beta: Out-of-gate value, likewise.
        knee: `beta / alpha`, in units of mel power.

    Raises:
        ValueError: If an argument is out of range; when built with `per_band`, if `axis` is not an axis of the input or
            has no fixed size; when called, if the number of bands has changed.

    Reference:
        The post; reference code, `src/models_sl.py`, `log_learn`.

    Example:
        >>> import numpy as np
        >>> layer = LearnableLog()
        >>> tuple(layer(np.zeros((1, 128, 128), "float32")).shape)
        (1, 128, 128)
        >>> round(float(layer.alpha), 3), round(float(layer.beta), 5)
        (1096.633, 1.31326)
        >>> round(float(LearnableLog.from_values(alpha=10000, beta=1).knee), 7)
        0.0001
        >>> layer.adapt(np.logspace(-8, 0, 1001).reshape(-1, 1), quantile=0.25)
        >>> round(float(np.log10(layer.knee)), 2)
        -6.0
    """

    pointwise = True

    def __init__(
        self,
        *,
        alpha_pre_gate: float = 7.0,
        beta_pre_gate: float = 1.0,
        per_band: bool = False,
        axis: int = -1,
        learning_rate_factor: float = 1.0,
        quantile: float | None = None,
        alpha_regularizer: Any = None,
        beta_regularizer: Any = None,
        alpha_constraint: Any = None,
        beta_constraint: Any = None,
        check_input: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(check_input=check_input, **kwargs)
        self._initial_alpha = finite("alpha_pre_gate", alpha_pre_gate)
        self._initial_beta = finite("beta_pre_gate", beta_pre_gate)
        # Until `build` turns them into weights.
        self.alpha_pre_gate: Any = self._initial_alpha
        self.beta_pre_gate: Any = self._initial_beta
        self.per_band = bool(per_band)
        self.axis = band_axis(axis)
        self.learning_rate_factor = rate_factor(learning_rate_factor)
        self.quantile = None if quantile is None else share("quantile", quantile)
        self.alpha_regularizer = keras.regularizers.get(alpha_regularizer)
        self.beta_regularizer = keras.regularizers.get(beta_regularizer)
        self.alpha_constraint = keras.constraints.get(alpha_constraint)
        self.beta_constraint = keras.constraints.get(beta_constraint)

    @classmethod
    def from_values(cls, *, alpha: float, beta: float, **kwargs: Any) -> "LearnableLog":
        """A layer with these initial values of alpha and beta (after the gates).

        Args:
            alpha: Float > 0.
            beta: Float > 0.
            **kwargs: As for the class, without the pre-gates.

        Raises:
            ValueError: If a value is not a number between 1.18e-38 and 3.4e38, float32's range.
        """
        alpha, beta = in_float32("alpha", alpha), in_float32("beta", beta)
        # softplus(b) = beta, solved for b; in this form accurate for small and large beta.
        return cls(alpha_pre_gate=math.log(alpha), beta_pre_gate=beta + math.log(-math.expm1(-beta)), **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.alpha_pre_gate = add_number(
            self,
            "alpha_pre_gate",
            self._initial_alpha,
            input_shape,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        self.beta_pre_gate = add_number(
            self,
            "beta_pre_gate",
            self._initial_beta,
            input_shape,
            regularizer=self.beta_regularizer,
            constraint=self.beta_constraint,
        )
        self.built = True

    @property
    def alpha(self) -> Any:
        return ops.exp(scaled_gradient(self.alpha_pre_gate, self.learning_rate_factor))

    @property
    def beta(self) -> Any:
        return ops.softplus(scaled_gradient(self.beta_pre_gate, self.learning_rate_factor))

    @property
    def knee(self) -> Any:
        return self.beta / self.alpha

    def compress(self, mel: Any) -> Any:
        return log_compress(mel, self.alpha, self.beta, self.axis)

    def adapt(self, data: Any, *, quantile: float | None = None) -> None:
        """Sets the knee to a quantile of the mel power in `data`, of all bands together or, with `per_band`, of each.

        Makes one pass over the data and keeps only counts, at most 256 KiB per band. Accurate to 1 %, the width of the
        counting intervals, with interpolation inside them.

        Args:
            data: An array of mel power with the bands on the layer's `axis`, like its input; or a sequence of arrays: a
                list, a generator, or a `tf.data.Dataset`. Of tuples, such as `(patches, labels)`, the first element is
                used. If `axis` counts from the end, as by default, the batch axis may be omitted.
            quantile: Share of the mel power below the knee, between 0 and 1; by default the layer's own. Zeros, digital
                silence, are not counted.

        Raises:
            ValueError: If there is no data, a value is negative or not finite, all values or all of a band are zero, or
                the number of bands is not the layer's.
        """
        knee = power_at_quantile(self, data, quantile)  # builds the layer
        # Beta stays: alpha alone can set any knee, and beta then learns at its usual rate.
        self.alpha_pre_gate.assign(np.log(ops.convert_to_numpy(self.beta)) - np.log(knee))

    def folded(self) -> Compression:
        """The same compression with constant alpha and beta, without gates or weights; used for export."""
        from loglearn_tf.layers.compression.log import Log

        return Log.as_it_is(self)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha_pre_gate": self._initial_alpha,
            "beta_pre_gate": self._initial_beta,
            "per_band": self.per_band,
            "axis": self.axis,
            "learning_rate_factor": self.learning_rate_factor,
            "quantile": self.quantile,
            "alpha_regularizer": keras.regularizers.serialize(self.alpha_regularizer),
            "beta_regularizer": keras.regularizers.serialize(self.beta_regularizer),
            "alpha_constraint": keras.constraints.serialize(self.alpha_constraint),
            "beta_constraint": keras.constraints.serialize(self.beta_constraint),
        }
