"""Seeds all initialisers and dropouts of a network that was built without seeds."""

from typing import TYPE_CHECKING, Any

from loglearn_tf.models.base import layer_seed

if TYPE_CHECKING:
    import keras


def seeded(model: "keras.Model", seed: int) -> "keras.Model":
    """Redraws the weights and dropout seeds of a network from a seed, in place.

    For networks whose layers take no seed, such as those of `keras.applications`. Every initialiser and dropout without
    its own seed gets one, derived from `seed` and the layer's position in the network. Weights that need no random
    numbers, and those of layers with a seed, keep their initial values. Unlike `keras.utils.set_random_seed`, no random
    state outside the network is used or changed.

    It can be called before or after the compression layer is added, since compressions draw no random numbers.

    Args:
        model: Functional or sequential, built; may contain other models.
        seed: Any integer.

    Returns:
        `model`.

    Raises:
        ValueError: If the model cannot be rebuilt from its layers' configurations: it is a custom class, or a layer has
            no complete `get_config`.

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
            "`seeded` needs a functional or sequential model whose layers can be rebuilt from `get_config()`. "
            f"Received: {type(model).__name__} {model.name!r}: {error}. Pass `seed` to its initialisers and dropouts "
            "instead."
        ) from error
    given = {id(weight) for layer in model.layers if isinstance(layer, Compression) for weight in layer.variables}
    for variable, drawn in zip(model.variables, clone.variables, strict=True):
        if id(variable) not in given:  # a compression may have been adapted
            variable.assign(drawn)
    return model


def _with_seeds(config: Any, seed: int, place: str) -> Any:
    """A configuration in which every missing `seed` is derived from its position."""
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
