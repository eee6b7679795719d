"""Reads YAML files and `key=value` overrides into plain tables of bounded size, each key given once."""

import copy
import difflib
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from loglearn_tf._util.text import printable, shown
from loglearn_tf.errors import ConfigError

# A typing error must not fill the memory: the bounds on size and nesting are far above any practical file.
_MOST_BYTES, _MOST_VALUES, _DEEPEST = 1 << 18, 20_000, 20
# A colon that YAML does not take for the end of a key.
_NO_SPACE = re.compile(r"(?<=\w):(?=\S)")
_LONGEST_NUMBER = 100  # YAML 1.1 reads 1:1:1... as a number, which takes minutes if it is long
_TOO_MANY = (
    f"it may hold at most {_MOST_VALUES:,} values, {_MOST_BYTES:,} characters in total, nested at most {_DEEPEST} deep"
)
_MERGE, _INT, _FLOAT, _TEXT = (f"tag:yaml.org,2002:{name}" for name in ("merge", "int", "float", "str"))


@dataclass(frozen=True)
class Override:
    """A setting from the command line.

    Attributes:
        keys: Names of the sections, then of the key.
        value: Parsed as YAML.
        text: As it was given.
    """

    keys: tuple[str, ...]
    value: Any
    text: str


def read_table(path: Path) -> dict[str, Any]:
    """The table that a YAML file holds.

    Raises:
        ConfigError: If the file cannot be read or holds anything else.
    """
    table = _parse(_read(path), str(path))
    if not isinstance(table, dict):
        raise ConfigError(f"{path} must contain `key: value` lines. Received: {type(table).__name__}.")
    return table


def parse_override(text: str) -> Override:
    """Splits `section.key=value`.

    Raises:
        ConfigError: If it has another form, or the value is not YAML or of a type that no setting accepts.
    """
    key, equals, value = text.partition("=")
    keys = tuple(key.split("."))
    if not equals or not all(keys):
        raise ConfigError(f"An override must have the form key=value, such as n_shot=[1,10]. Received: {shown(text)}.")
    if len(keys) > _DEEPEST:
        raise ConfigError(f"An override must name a setting. Received: {shown(text)}.")
    parsed = _parse(value, f"the override {shown(text)}")
    # Without a space, YAML reads `{1:5}` as a key without a value.
    if isinstance(parsed, dict) and None in parsed.values() and _NO_SPACE.search(value):
        spaced = f"{key}={_NO_SPACE.sub(': ', value)}"
        raise ConfigError(f"A space must follow each colon in a table. Received: {shown(text)}. Write {shown(spaced)}.")
    if not isinstance(parsed, (str, int, float, list, dict, type(None))):
        raise ConfigError(f"Override {shown(text)} is a {type(parsed).__name__}, which no setting accepts. Quote text.")
    return Override(keys, parsed, text)


def with_overrides(table: dict[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """A copy of a table with the overrides applied in order.

    Raises:
        ConfigError: If one refers to a key inside a value that is not a section.
    """
    table = copy.deepcopy(table)
    for override in overrides:
        section = table
        *parents, last = override.keys
        for parent in parents:
            # Creates a section that is missing, or null, as `synthetic` may be.
            if section.get(parent) is None:
                section[parent] = {}
            section = section[parent]
            if not isinstance(section, dict):
                raise ConfigError(
                    f"Override {shown(override.text)}: `{printable(parent)}` is a value, not a section. Override the "
                    "whole value."
                )
        section[last] = override.value
    return table


def is_quoted(value: Any) -> bool:
    """Whether a value is text that must have been in quotes, since YAML would have read it as a number."""
    try:
        return isinstance(value, str) and type(yaml.load(value, Loader=_StrictLoader)) in (int, float)
    except (yaml.YAMLError, ValueError):
        return False


def merged(common: Any, own: Any) -> Any:
    """Merges tables key by key; anything else is replaced."""
    if not (isinstance(common, dict) and isinstance(own, dict)):
        return own
    return {**common, **{key: merged(common.get(key), value) for key, value in own.items()}}


def _read(path: Path) -> str:
    """Refuses devices and pipes, which may never end or begin, and reads only enough of a large file to refuse it."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError("not a regular file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise OSError(f"it may have at most {_MOST_BYTES:,} bytes")
        return content.decode("utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or NUL in its name
        raise ConfigError(
            f"Cannot read settings file {printable(str(path))}: {error}. Name a YAML file or a "
            f"built-in experiment: {', '.join(experiment_names())}."
        ) from error


def _parse(text: str, where: str) -> Any:
    if len(text) > _MOST_BYTES:
        raise ConfigError(f"{where} may have at most {_MOST_BYTES:,} characters. Received: {len(text):,}.")
    try:
        return yaml.load(text, Loader=_StrictLoader)
    # OverflowError: "\Uffffffff" is not a character.
    except (yaml.YAMLError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid YAML: {printable(' '.join(str(error).split()))}") from error


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses tags, and duplicate keys, of which plain YAML silently drops the first.

    Every node is measured as it is read, and an alias as the node it refers to: aliases can turn a few lines into
    millions of values, or into a value that contains itself.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._sizes: dict[yaml.Node, tuple[int, int, int]] = {}  # values, characters, levels below

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise _fault(f"tags are not supported; put text in quotes. Received: {printable(event.tag)}", event)
        self._depth += 1
        self._limit(len(self._sizes), 0, 0)
        node = super().compose_node(parent, index)
        assert node is not None  # only documents have none
        if node not in self._sizes:
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(_TOO_MANY)  # the alias is inside its own node
            is_key = parent is not None and index is None
            self._sizes[node] = self._measured(node, is_key)
        self._limit(*self._sizes[node])
        self._depth -= 1
        return node

    def _limit(self, n_values: int, n_characters: int, levels: int) -> None:
        if n_values > _MOST_VALUES or n_characters > _MOST_BYTES or self._depth + levels > _DEEPEST + 1:
            raise ValueError(_TOO_MANY)

    def _measured(self, node: yaml.Node, is_key: bool) -> tuple[int, int, int]:
        if isinstance(node, yaml.ScalarNode):
            if node.tag in (_INT, _FLOAT) and len(node.value) > _LONGEST_NUMBER and not is_key:
                raise _fault(
                    f"a number may have at most {_LONGEST_NUMBER} characters. Received: {len(node.value):,}", node
                )
            node.value.encode()  # "\ud800" is not valid text
            return 1, len(node.value), 0
        inside = node.value
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            inside = [one for pair in node.value for one in pair]
        sizes = [self._sizes[one] for one in inside]
        return (
            1 + sum(size[0] for size in sizes),
            sum(size[1] for size in sizes),
            1 + max((size[2] for size in sizes), default=-1),
        )

    def _check_keys(self, table: yaml.MappingNode) -> None:
        """Checks that each key is text or a whole number and given once.

        `<<` merges one table, once: nested lists of them would grow exponentially.
        """
        seen: set[str] = set()
        for key, value in table.value:
            if key.tag == _MERGE:
                if not isinstance(value, yaml.MappingNode):
                    raise _fault("`<<` must merge one table", key)
                name = "<<"
            elif key.tag == _INT and len(key.value) <= _LONGEST_NUMBER:
                # As text, since 1 and "1" become the same key in JSON.
                name = str(self.construct_yaml_int(key))
            elif key.tag == _TEXT:
                name = key.value
            else:
                raise _fault("a key must be text or a whole number; put text in quotes", key)
            if name in seen:
                raise _fault(f"key `{printable(name)}` is given twice", key)
            seen.add(name)


def _fault(problem: str, at: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, at.start_mark)


_EXPERIMENTS = Path(__file__).with_name("experiments")  # package data, one YAML file per experiment


def experiment_names() -> list[str]:
    """The experiments that come with the package: `us8k`, `tut` and others."""
    return sorted(path.stem for path in _EXPERIMENTS.glob("*.yaml"))


def settings_file(name: str | Path) -> Path:
    """The YAML file that `name` refers to.

    Text without a folder or suffix, such as `us8k`, is the name of a built-in experiment, whatever the working
    directory contains. Any other text, and every `Path`, is a file.

    Raises:
        ConfigError: If there is no built-in experiment with this name.
    """
    if isinstance(name, Path) or Path(name).name != name or Path(name).suffix:
        return Path(name)
    names = experiment_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise ConfigError(
            f"Settings must be a YAML file or a built-in experiment: {', '.join(names)}. "
            f"Received: {shown(name)}. {f'Did you mean {near[0]}? ' if near else ''}"
            "Write a file with its folder or suffix, for example ./study or study.yaml."
        )
    return _EXPERIMENTS / f"{name}.yaml"
