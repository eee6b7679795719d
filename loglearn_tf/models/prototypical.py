"""Prototypical networks: a VGG that embeds patches; a class is the mean of its support's embeddings."""

from typing import Any

import keras
from keras import ops

from loglearn_tf.models.base import N_MELS, PATCH_FRAMES, dense, dropout, normalised_input
from loglearn_tf.models.vgg import vgg_blocks

EMBEDDING_SIZE = 10  # for both data sets, whatever their number of classes
N_FILTERS = 128
DISTANCES = ("mean_squared", "squared_euclidean")


@keras.saving.register_keras_serializable(package="loglearn_tf")
class Prototypes(keras.layers.Layer):  # type: ignore[misc]
    """Logits of embeddings: minus their distance to every class's prototype.

    The prototypes are a weight that no gradient moves: training leaves them in the model, so that a saved one
    classifies new clips.

    Args:
        n_classes: Number of prototypes.
        distance: `"mean_squared"`, the mean squared difference over the embedding, which the reference code calls
            Euclidean; or `"squared_euclidean"`, its sum.
        **kwargs: `name`, `dtype`, for the base layer.

    Input shape:
        `(batch, embedding_size)`.

    Output shape:
        `(batch, n_classes)`, <= 0.

    Attributes:
        prototypes: `(n_classes, embedding_size)` float32, zero until training sets them.

    Raises:
        ValueError: If there is no such distance.

    Reference:
        Snell, Swersky and Zemel, arXiv:1703.05175, 2017; reference code, `src/pn_train.py`.
    """

    def __init__(self, *, n_classes: int, distance: str = "mean_squared", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if distance not in DISTANCES:
            raise ValueError(f"`distance` must be one of {DISTANCES}. Received: distance={distance!r}.")
        self.n_classes = n_classes
        self.distance = distance

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.prototypes = self.add_weight(
            name="prototypes", shape=(self.n_classes, input_shape[-1]), initializer="zeros", trainable=False
        )
        self.built = True

    def call(self, embedding: Any) -> Any:
        return minus_distance(embedding, self.prototypes, self.distance)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.n_classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_classes": self.n_classes, "distance": self.distance}


def minus_distance(embedding: Any, prototypes: Any, distance: str) -> Any:
    """`(batch, size)` embeddings and `(n_classes, size)` prototypes to `(batch, n_classes)` logits."""
    squares = (embedding[:, None, :] - prototypes[None, :, :]) ** 2
    return -(ops.mean(squares, axis=-1) if distance == "mean_squared" else ops.sum(squares, axis=-1))


def build_prototypical(
    *,
    n_classes: int,
    compression: keras.layers.Layer,
    seed: int,
    protocol: str = "pons2018",
    patch_frames: int = PATCH_FRAMES,
    n_mels: int = N_MELS,
    n_filters: int = N_FILTERS,
    l2: float = 0.0,
) -> keras.Model:
    """Prototypical network, 613,642 trainable parameters (+2 with loglearn; a second pair for the support).

    Compression, then `encoder` (VGG with 128 filters to an embedding of 10), then `prototypes`. See `build_model`
    for arguments and shapes; until `episodic` has trained it, all prototypes are zero.

    Args:
        protocol: `"pons2018"`: input batch normalisation over the time axis (256 parameters), mean squared distance;
            `"clean"`: over the one channel, squared Euclidean distance.
        l2: No weight decay in the reference.

    Reference:
        The paper, section 2.2; FIDELITY, "Prototypical training".
    """
    if protocol not in ("pons2018", "clean"):
        raise ValueError(f"`protocol` must be 'pons2018' or 'clean'. Received: protocol={protocol!r}.")
    pons2018 = protocol == "pons2018"
    log_mel = keras.Input((patch_frames, n_mels), name="log_mel")
    x = normalised_input(log_mel, axis=1 if pons2018 else -1)
    x = dropout(
        keras.layers.Flatten(name="flatten")(vgg_blocks(x, n_filters, seed=seed, l2=l2)), name="dropout", seed=seed
    )
    encoder = keras.Model(log_mel, dense(x, EMBEDDING_SIZE, name="embedding", seed=seed, l2=l2), name="encoder")

    mel = keras.Input((patch_frames, n_mels), name="mel")
    distance = "mean_squared" if pons2018 else "squared_euclidean"
    logits = Prototypes(n_classes=n_classes, distance=distance, name="prototypes")(encoder(compression(mel)))
    return keras.Model(mel, logits, name="prototypical")
