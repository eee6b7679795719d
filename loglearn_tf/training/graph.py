"""The connections between layers, read from the configuration that Keras saves."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras


class NoGraphError(Exception):
    """The connections of a model are unknown; the message gives the reason."""


@dataclass(frozen=True)
class Graph:
    """The layers of a functional or sequential model and their connections.

    Attributes:
        layers: Name -> layer, in order. Operations between layers (`x + 1`) have a name but no entry.
        source: Name -> its only input layer; only for layers called once, with a single tensor.
        readers: Name -> the users of its output, one name per use. The model's outputs are read by `""`.
        outputs: Names of the layers whose outputs are the model's.
    """

    layers: dict[str, keras.layers.Layer]
    source: dict[str, str]
    readers: dict[str, list[str]]
    outputs: list[str]

    def chain(self) -> list[keras.layers.Layer]:
        """The layers from the single input to the single output, without the input layer.

        Raises:
            NoGraphError: If they do not form a chain.
        """
        if len(self.outputs) != 1:
            raise NoGraphError(f"the model has {len(self.outputs)} outputs")
        found: list[keras.layers.Layer] = []
        (name,) = self.outputs
        while name and not isinstance(self.layers.get(name), keras.layers.InputLayer):
            if name not in self.layers or name not in self.source:
                raise NoGraphError(f"{name} is not a layer called once with a single tensor")
            found.append(self.layers[name])
            name = self.source[name]
        return found[::-1]


def graph_of(model: Any) -> Graph:
    """The graph of a functional or sequential model.

    Args:
        model: Nested models are single layers of the graph, with their own graphs.

    Raises:
        NoGraphError: If it is neither (derived classes may do other things), has not been built, or has a layer that
            cannot be saved.
    """
    if not isinstance(model, keras.Model) or not type(model).__module__.startswith("keras."):
        raise NoGraphError(f"{type(model).__name__} is a custom class, whose `call` may do anything")
    layers = {layer.name: layer for layer in model.layers}
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise NoGraphError("the model is not built: start it with an `Input` or call it")
        names = list(layers)
        # "" stands for the input and the output of the model.
        before, after = dict(zip(names, ["", *names], strict=False)), [[name] for name in [*names[1:], ""]]
        return Graph(layers, before, dict(zip(names, after, strict=True)), names[-1:])
    try:
        with warnings.catch_warnings():
            # Only relevant for saving the model.
            warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
            config = model.get_config()
    except NotImplementedError as error:  # from a layer
        raise NoGraphError(str(error)) from error
    source: dict[str, str] = {}
    readers: dict[str, list[str]] = {name: [] for name in layers}
    for written in config["layers"]:
        name, calls = written["name"], written["inbound_nodes"]
        taken = [taken for call in calls for taken in _tensors(call)]
        for one in taken:
            readers.setdefault(one, []).append(name)
        if len(calls) == len(taken) == 1 and _is_alone(calls[0]):
            source[name] = taken[0]
    outputs = list(_names(config["output_layers"]))
    for name in outputs:
        readers.setdefault(name, []).append("")
    return Graph(layers, source, readers, outputs)


def _tensors(written: Any) -> Iterator[str]:
    """The names of the layers whose outputs are arguments of a call, from its configuration."""
    if isinstance(written, dict) and written.get("class_name") == "__keras_tensor__":
        yield written["config"]["keras_history"][0]
    elif isinstance(written, (dict, list, tuple)):
        for part in written.values() if isinstance(written, dict) else written:
            yield from _tensors(part)


def _is_alone(call: dict[str, Any]) -> bool:
    """Whether a call has a single tensor as its only argument; `training` is ignored, since it is set per call."""
    others = [value for name, value in call["kwargs"].items() if name != "training" and value is not None]
    return len(call["args"]) + len(others) == 1


def _names(written: Any) -> Iterator[str]:
    """Layers of the model's outputs, each written as `[layer, call, tensor]`, in any structure."""
    if isinstance(written, dict):
        written = list(written.values())
    if written and isinstance(written[0], str):
        yield written[0]
    else:
        for part in written:
            yield from _names(part)
