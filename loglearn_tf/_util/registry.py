"""Open lists: names -> records, from this package, installed packages, and user code.

A record contains everything the package needs to know about a compression, network, data set, report table or export
format, and is in the same file as the thing it describes. A registry has one line per thing: its name and the location
of its record. Names are known without importing anything; a record is imported when it is needed.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Generic, TypeVar

from loglearn_tf._util.text import printable, shown
from loglearn_tf.errors import ConfigError

Record = TypeVar("Record")
# For example `my_lab.nets:build_crnn`, the form of entry points.
_PLACE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class Registry(Mapping[str, Record], Generic[Record]):
    """Names -> records, in the order in which they are listed.

    There are three kinds of names: those of the package; those that installed packages add with an entry point in
    `group`; and, unlisted but valid, `module:attribute`, for code that is not installed.

    Args:
        kind: What the records describe, for messages: `"compression"`.
        group: Group of entry points: `"loglearn_tf.compressions"`.
        own: Name -> the record, or its location: `"loglearn_tf.models.vgg:VGG"`.
        adopt: Function of an outside name and the object behind it that returns the record: the object itself if it is
            a record, or a record made from it if it is, for example, a plain function.

    Raises:
        ConfigError: On access to a name that is not listed or whose record cannot be imported.
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
        # The package's own names take precedence over installed packages.
        return {entry.name: entry for entry in entry_points(group=self.group) if entry.name not in self._own}

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._installed

    def __len__(self) -> int:
        return len(self._own) + len(self._installed)

    def __contains__(self, name: object) -> bool:
        """Whether the name is listed or has the form `module:attribute`; imports nothing."""
        return isinstance(name, str) and (name in self._own or name in self._installed or is_place(name))

    def __getitem__(self, name: str) -> Record:
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def own(self, name: str) -> Record | None:
        """The record of one of the package's own names.

        `None` for any other name: its module may be slow to import, or missing where results are read.
        """
        return self[name] if name in self._own else None

    def __repr__(self) -> str:
        return f"<Registry of {self.kind}: {', '.join(self)}>"

    def check(self, name: str, *, setting: str) -> None:
        """Raises the error of an unknown name; imports nothing.

        Args:
            name: Name to check.
            setting: Setting that contains it, for the message: `"models"`.

        Raises:
            ConfigError: If it is not listed and not of the form `module:attribute`.
        """
        if name in self:
            return
        near = get_close_matches(str(name), list(self), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {printable(', '.join(sorted(self)))}."
        article = "an" if self.kind[0] in "aeiou" else "a"
        raise ConfigError(
            f"`{setting}` must name {article} {self.kind} from the list, or your own as `module:attribute`. "
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
    """The arguments that a function accepts by name."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(arguments)
    by_name = {name for name, parameter in parameters.items() if parameter.kind is not parameter.POSITIONAL_ONLY}
    return {name: value for name, value in arguments.items() if name in by_name}


def is_place(name: str) -> bool:
    """Whether a name has the form `module:attribute`."""
    return _PLACE.fullmatch(name) is not None


def folder_name(name: str) -> str:
    """The folder name for a name: `my_lab.nets:build` is not valid on Windows and for some tools."""
    return name.replace(":", "-")


def import_module(name: str, *, what: str) -> ModuleType:
    """Imports a module from outside.

    Args:
        name: Of the module.
        what: What it is of, for messages.

    Raises:
        ConfigError: If it cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # user code may raise anything
        raise ConfigError(
            f"The module of {printable(what)} cannot be imported: {type(error).__name__}: {printable(str(error))}. "
            f"Install the package with {printable(name)}, or add its folder to PYTHONPATH."
        ) from error


def load(place: str, *, what: str) -> Any:
    """Imports `module:attribute`.

    Args:
        place: Its location.
        what: What it is, for messages.

    Raises:
        ConfigError: If the module cannot be imported or has no such attribute.
    """
    module_name, _, attribute = place.partition(":")
    module = import_module(module_name, what=what)
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise ConfigError(
            f"Module {module_name} has no `{attribute}`. Received: {printable(what)}. Check the spelling."
        ) from error
