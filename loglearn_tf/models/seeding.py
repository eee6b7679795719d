"""One seed to all initialisers and dropouts of a network that was built without."""

from typing import TYPE_CHECKING, Any

from loglearn_tf.models.base import layer_seed

if TYPE_CHECKING:
    import keras


def seeded(model: "keras.Model", seed: int) -> "keras.Model":
    """Gives a network the weights and dropout masks that follow from a seed, in place.

    For networks whose layers take no seed, as those of `keras.applications`. Whatever draws random numbers and was
    given no seed of its own, an initialiser or a dropout, gets one, derived from `seed` and the layer's place in the
    network. Weights that need no random number, and those of layers with a seed, begin as ever. No random state
    outside the network is used or changed, as `keras.utils.set_random_seed` would.

    Call it on what has been built, before the compression's layer is part of it or after: a compression draws nothing.

    Args:
        model: Functional or sequential, built; may hold other models.
        seed: Any integer.

    Returns:
        `model`.

    Raises:
        ValueError: If the model cannot be built a second time from its layers' configurations: it is a class of its
            own, or one of its layers has no complete `get_config`.

    Example:
        >>> import keras
        >>> def build():
        ...     return seeded(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), seed=7)
        >>> bool((build().get_weights()[0] == build().get_weights()[0]).all())
        True
    """
    import keras

    from loglearn_tf.layers import Compression

    place = iter(range(1_000_000))

    def copied(layer: "keras.layers.Layer") -> "keras.layers.Layer":
        return type(layer).from_config(_with_seeds(layer.get_config(), seed, str(next(place))))

    try:
        clone = keras.models.clone_model(model, clone_function=copied)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            "`seeded` needs a functional or sequential model whose layers can be built again from `get_config()`. "
            f"Received: {type(model).__name__} {model.name!r}: {error}. Give `seed` to its initialisers and dropouts "
            "instead."
        ) from error
    given = {id(weight) for layer in model.layers if isinstance(layer, Compression) for weight in layer.variables}
    for variable, drawn in zip(model.variables, clone.variables, strict=True):
        if id(variable) not in given:  # a compression may have been adapted
            variable.assign(drawn)
    return model


def _with_seeds(config: Any, seed: int, place: str) -> Any:
    """A configuration in which every `seed` that is `None` is a number that follows from its place."""
    if isinstance(config, dict):
        return {
            key: layer_seed(seed, place)
            if key == "seed" and value is None
            else _with_seeds(value, seed, f"{place}/{at}")
            for at, (key, value) in enumerate(config.items())
        }
    if isinstance(config, list | tuple):
        return type(config)(_with_seeds(one, seed, f"{place}/{at}") for at, one in enumerate(config))
    return config
