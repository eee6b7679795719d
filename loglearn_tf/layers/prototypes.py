"""Logits of embeddings from their distances to class prototypes."""

from typing import Any

import keras
from keras import ops

from loglearn_tf.layers.keras_2 import refuse_keras_2

DISTANCES = ("mean_squared", "squared_euclidean")


@keras.saving.register_keras_serializable(package="loglearn_tf")
class Prototypes(keras.layers.Layer):  # type: ignore[misc]
    """Logits of embeddings: the negative distance to each class prototype.

    The prototypes are a weight without gradient: training stores them in the model, so that a saved model can classify
    new clips.

    Args:
        n_classes: Number of prototypes.
        distance: `"mean_squared"`, the mean squared difference over the embedding, called Euclidean in the reference
            code; or `"squared_euclidean"`, its sum.
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
        Snell, Swersky and Zemel, arXiv:1703.05175, 2017; reference code, `src/proto.py`.

    Example:
        >>> import numpy as np
        >>> layer = Prototypes(n_classes=2)
        >>> layer.build((None, 2))
        >>> layer.prototypes.assign([[0.0, 0.0], [2.0, 2.0]])  # doctest: +ELLIPSIS
        <...>
        >>> layer(np.array([[0.0, 0.0]], "float32")).numpy().tolist()
        [[-0.0, -4.0]]
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

    def __call__(self, embedding: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_keras_2(self, embedding)
        return super().__call__(embedding, *args, **kwargs)

    def call(self, embedding: Any) -> Any:
        return negative_distance(embedding, self.prototypes, self.distance)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.n_classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n_classes": self.n_classes, "distance": self.distance}


def negative_distance(embedding: Any, prototypes: Any, distance: str) -> Any:
    """Logits `(batch, n_classes)` from embeddings `(batch, size)` and prototypes `(n_classes, size)`.

    Example:
        >>> import numpy as np
        >>> embedding, prototypes = np.zeros((1, 2), "float32"), np.array([[1.0, 1.0]], "float32")
        >>> negative_distance(embedding, prototypes, "squared_euclidean").numpy().tolist()
        [[-2.0]]
    """
    squares = (embedding[:, None, :] - prototypes[None, :, :]) ** 2
    return -(ops.mean(squares, axis=-1) if distance == "mean_squared" else ops.sum(squares, axis=-1))
