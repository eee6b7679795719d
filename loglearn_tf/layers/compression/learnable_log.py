"""loglearn: the logarithmic compression whose alpha and beta are learned."""

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

    Where batch normalisation follows, `log(alpha * mel + beta) = log(alpha) + log(mel + knee)` with
    `knee = beta / alpha`: the constant is normalised away, and only the knee can matter in training, and at test once
    the moving averages have settled (after 200 updates with a momentum of 0.99, 13 % of them is what they began with,
    and `log(alpha)` shifts what the network sees). Mel power well below the knee is flattened to a constant, power well
    above it is compressed as by a plain logarithm.

    How fast the knee can be learned follows from that. With `g` the gradient of the loss with respect to the knee,
    the gradients of the pre-gates `a` and `b` are `-knee * g` and `knee * g * r`, with
    `r = sigmoid(b) / softplus(b)`, .557 at the start. A step of gradient descent with learning rate `eta` so changes
    `ln(knee)`, which falls with `a` and rises by `r` with `b`, by `-eta * knee * g * (1 + r ** 2)`, 1.31 times what
    `LearnableKnee` moves; `learning_rate_factor` multiplies it. `knee * g` is the sum over all values of
    `dL/du * knee / (mel + knee)`, with `u` the output: values well above the knee have no say in it.

    Weight decay, as of `keras.optimizers.AdamW`, pulls the pre-gates to 0 whatever the loss, and so the knee to 0.69:
    at the start `ln(knee)` grows by `(7 - r) * eta * weight_decay` a step. Leave them out, before training begins:
    `optimizer.exclude_from_weight_decay(var_names=["pre_gate"])`, or, once the layer is built,
    `var_list=layer.trainable_weights`, which works for every compression. For all compressions of a model at once, and
    without forgetting what was left out before: `loglearn_tf.training.optimizers.exclude_compressions(optimizer,
    model)`. Regularisers of other layers' kernels do not reach them.

    Works on Keras' TensorFlow, JAX and PyTorch backends.

    Args:
        alpha_pre_gate: Float, initial value, no unit. 7.0 gives alpha = 1096.633.
        beta_pre_gate: Float, initial value, no unit. 1.0 gives beta = 1.31326. To begin from out-of-gate
            values, see `from_values`.
        per_band: Whether every mel band has its own pair.
        axis: Axis of the mel bands; -2 where channels follow them. Only matters with `per_band`.
        learning_rate_factor: Float >= 0, scales the gradients of the pre-gates, and with plain SGD so their
            learning rate. Optimisers that normalise gradients, such as Adam, undo it. Where gradients are clipped to a
            global norm, scaled ones count in it: a large factor then slows all other weights in steps that are clipped.
        quantile: Where `adapt` puts the knee: the share of the mel power below it. Setting it adapts nothing by
            itself; the experiment's training does, to its training clips, where it is set.
        alpha_regularizer: Keras regularizer of the pre-gate of alpha, not of alpha itself. `keras.regularizers.L2`
            pulls it to 0, where alpha is 1.
        beta_regularizer: Likewise of the pre-gate of beta; at 0, beta is 0.693.
        alpha_constraint: Keras constraint of the pre-gate of alpha, applied after every step of an optimiser.
        beta_constraint: Likewise of the pre-gate of beta.
        check_input: See `Compression`.
        **kwargs: `name`, `dtype`, `trainable`, for the base layer.

    Input shape:
        `(batch, frames, n_mels)`, or any other with the mel bands on `axis`; mel power, >= 0. Negative values are
        no power: from 0 down to `-knee` they give smaller values than silence, below it NaN, as the logarithm does.
        The input must not be logarithmic already. NaN stays NaN, infinity stays infinity.

    Output shape:
        As the input, float32; log power. A mask passes unchanged.

    Attributes:
        alpha: Out-of-gate value, float32, shape `()`, or `(n_mels,)` with `per_band`.
        beta: Likewise.
        knee: `beta / alpha`, in units of mel power.

    Raises:
        ValueError: If an argument is out of its range; when built with `per_band`, if `axis` is not an
            axis of the input or has no fixed size; when called, if the number of bands is another.

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
        # Until `build` makes weights of them.
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
        """A layer that begins with these values of alpha and beta, those after the gates.

        Args:
            alpha: Float > 0.
            beta: Float > 0.
            **kwargs: As for the class, without the pre-gates.

        Raises:
            ValueError: If a value is no number from 1.18e-38 to 3.4e38, float32's range.
        """
        alpha, beta = in_float32("alpha", alpha), in_float32("beta", beta)
        # softplus(b) = beta, solved for b; in this form exact to rounding for small and for large beta.
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
        """Puts the knee at a quantile of the mel power in `data`: of all of it, or with `per_band` of each band.

        Goes through the data once and keeps counts only, 256 KiB a band at most. To 1 %, the width of a count's
        interval; inside it values are taken to lie evenly.

        Args:
            data: An array of mel power with the bands on the layer's `axis`, as its input; or arrays one after another:
                a list, a generator, or a `tf.data.Dataset`. Of tuples, such as `(patches, labels)`, the first is taken.
                Where `axis` counts from the end, as by default, the batch may be left out.
            quantile: Share of the mel power that is to lie below the knee, above 0 and below 1; by default the
                layer's own.

        Raises:
            ValueError: If there is no data, or a value is negative or not finite; if so much of it, or of a band, is
                zero that the quantile is; if the bands are not as many as the layer was built for.
        """
        knee = power_at_quantile(self, data, quantile)  # builds the layer
        # Beta stays: alpha alone can put the knee anywhere, and beta then learns at its usual pace.
        self.alpha_pre_gate.assign(np.log(ops.convert_to_numpy(self.beta)) - np.log(knee))

    def folded(self) -> Compression:
        """The same compression with alpha and beta as constants, without gates or weights; what export uses."""
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
