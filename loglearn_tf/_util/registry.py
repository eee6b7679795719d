"""Open lists: names to records, of this package, of installed packages, and of a user's own code.

A record says everything that the package needs to know of one thing (a compression, a network, a data set, a report
table, an export format) and stands in the file of that thing. A registry has one line a thing: its name and where its
record is. Names are known without importing anything; a record is imported when it is asked for.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from loglearn_tf._util.text import printable, shown
from loglearn_tf.errors import ConfigError

Record = TypeVar("Record")
# As `my_lab.nets:build_crnn`, the form of entry points.
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class Registry(Mapping[str, Record], Generic[Record]):
    """Names to records, in the order in which they are listed.

    Three kinds of names: those of the package; those that installed packages add by an entry point of `group`; and, not
    listed but found when asked for, `module:attribute`, for code that is installed nowhere.

    Args:
        kind: What the records are of, for messages: `"compression"`.
        group: Of entry points: `"loglearn_tf.compressions"`.
        own: Name -> the record, or where it is, as `"loglearn_tf.models.vgg:VGG"`.
        adopt: Given a name from outside and what it stands for, returns the record: what stands there if it is one, a
            record made of it if it is, for instance, a bare function.

    Raises:
        ConfigError: When a name is looked up that is not listed, or whose record cannot be imported.
    """

    def __init__(
        self, kind: str, *, group: str, own: Mapping[str, Record | str], adopt: Callable[[str, Any], Record]
    ) -> None:
        self.kind = kind
        self.group = group
        self._own = dict(own)
        self._adopt = adopt
        self._found: dict[str, Record] = {}

    @cached_property
    def _installed(self) -> dict[str, EntryPoint]:
        # A name of the package's own means what it says, whatever else is installed.
        return {entry.name: entry for entry in entry_points(group=self.group) if entry.name not in self._own}

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._installed

    def __len__(self) -> int:
        return len(self._own) + len(self._installed)

    def __contains__(self, name: object) -> bool:
        """Whether the name is listed, or has the form `module:attribute`; imports nothing."""
        return isinstance(name, str) and (name in self._own or name in self._installed or is_place(name))

    def __getitem__(self, name: str) -> Record:
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def own(self, name: str) -> Record | None:
        """The record of a name of the package's own.

        `None` for any other name: its module may be slow to import, or not be installed where results are read.
        """
        return self[name] if name in self._own else None

    def __repr__(self) -> str:
        return f"<Registry of {self.kind}: {', '.join(self)}>"

    def check(self, name: str, *, setting: str) -> None:
        """Raises the error of an unknown name; imports nothing.

        Args:
            name: To look for.
            setting: What names it, for the message: `"models"`.

        Raises:
            ConfigError: If it is not listed, and not of the form `module:attribute`.
        """
        if name in self:
            return
        near = get_close_matches(str(name), list(self), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {printable(', '.join(sorted(self)))}."
        article = "an" if self.kind[0] in "aeiou" else "a"
        raise ConfigError(
            f"`{setting}` must name {article} {self.kind}: one that is listed, or one of yours as `module:attribute`. "
            f"Received: {shown(name)}. {hint}"
        )

    def _find(self, name: str) -> Record:
        self.check(name, setting=self.kind)
        own = self._own.get(name)
        if own is not None and not isinstance(own, str):
            return own
        place = own if own is not None else self._installed[name].value if name in self._installed else name
        return self._adopt(name, load(place, what=f"{self.kind} {name}"))


def accepted(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that a function takes by name."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(arguments)
    by_name = {name for name, parameter in parameters.items() if parameter.kind is not parameter.POSITIONAL_ONLY}
    return {name: value for name, value in arguments.items() if name in by_name}


def is_place(name: str) -> bool:
    """Whether a name has the form `module:attribute`."""
    return _PLACE.fullmatch(name) is not None


def folder_name(name: str) -> str:
    """What a folder of the named thing is called: on Windows, and for some tools, `my_lab.nets:build` is no name."""
    return name.replace(":", "-")


def load(place: str, *, what: str) -> Any:
    """Imports `module:attribute`.

    Args:
        place: Where it is.
        what: It is, for messages.

    Raises:
        ConfigError: If the module cannot be imported, or has no such attribute.
    """
    module_name, _, attribute = place.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the module's own code raises
        raise ConfigError(
            f"The module of {printable(what)} cannot be imported: {type(error).__name__}: {printable(str(error))}. "
            f"Install the package of {module_name}, or put its folder on PYTHONPATH."
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise ConfigError(
            f"Module {module_name} has no `{attribute}`. Received: {printable(what)}. Check the spelling."
        ) from error
