"""Text that pages take from the code: the replacement of each `<!-- generated: NAME -->` in their Markdown.

Sphinx is not needed. `conf.py` expands every page when it is read, and the tests check the same text.
"""

import argparse
import inspect
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# Documents elsewhere in the repository, and the page that includes each.
INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "data/README.md": "howto/data.md",
    "experiments/FINDINGS.md": "findings.md",
    "experiments/FINDINGS_WHY.md": "findings-why.md",
    "README.md": "index.md",
}
_MARKER = re.compile(r"^<!-- generated: ([\w-]+)(?: (\S+))? -->$", re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)((?:#[^)\s]*)?)(?=\))")
_FENCED = re.compile(r"^(`{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)
# Citations of a page in docstrings.
CITED = re.compile(r"\bdocs/(fidelity|architecture)\.md\b")
_DIAGRAM = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)


def sources() -> list[Path]:
    """The pages, relative to this folder."""
    found = [path.relative_to(DOCS) for path in DOCS.rglob("*.md")]
    return sorted(path for path in found if not path.parts[0].startswith("_"))


def expand(text: str, page: Path) -> str:
    """A page's Markdown, with the text that is generated or included, and links that lead from page to page.

    Args:
        text: Content of the file.
        page: Relative to this folder, such as `reference/settings.md`.

    Raises:
        KeyError: If a marker names a generator that does not exist.
    """

    def generated(marker: re.Match[str]) -> str:
        name, argument = marker.groups()
        if name == "include":
            path = ROOT / argument
            return linked(path.read_text(encoding="utf-8"), path.parent, page)
        return CITED.sub(r"{doc}`docs/\1.md </\1>`", GENERATORS[name]())

    # Links first: those of an included text are relative to another folder.
    text = _MARKER.sub(generated, linked(text, (DOCS / page).parent, page))
    return _DIAGRAM.sub("![The folders of the package and the arrows between them](/_generated/architecture.svg)", text)


def linked(text: str, folder: Path, page: Path) -> str:
    """Text in which links to files, written as seen from `folder`, work on a page of the site."""

    def target(link: re.Match[str]) -> str:
        path, anchor = link.groups()
        if path.startswith("/"):
            return link[0]
        there = Path(os.path.normpath(folder / path)).relative_to(ROOT).as_posix()
        there = f"docs/{INCLUDED[there]}" if there in INCLUDED else there
        return Path(os.path.relpath(ROOT / there, (DOCS / page).parent)).as_posix() + anchor

    code = [block.span() for block in _FENCED.finditer(text)]
    return _LINK.sub(lambda link: link[0] if any(a <= link.start() < b for a, b in code) else target(link), text)


def links(text: str) -> list[str]:
    """Targets of the links in a text to files, without anchors."""
    return [link[1] for link in _LINK.finditer(_FENCED.sub("", text))]


# ---- Docstrings ----------------------------------------------------------------------------------------------------


def _summary(thing: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _described(thing: Any, section: str) -> dict[str, str]:
    """Name -> description, of a section of a docstring such as `Attributes`; several names may share one."""
    found: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in (inspect.getdoc(thing) or "").splitlines():
        if not line.startswith(" "):
            inside = line == f"{section}:" or (inside and not line)
            continue
        if not inside:
            continue
        start = re.match(r"    ((?:\w+, )*\w+): (.*)", line)
        if start:
            names = start[1].split(", ")
            found |= dict.fromkeys(names, start[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


# ---- Settings ------------------------------------------------------------------------------------------------------


def setting_names() -> list[str]:
    """Every setting by its full name, without sections."""
    return [name for name, *_ in _settings()]


def _settings() -> Iterator[tuple[str, Any, str, dict[str, Any], dict[str, Any]]]:
    """Full name, class, field, its JSON schema and all definitions of each setting, section by section."""
    from loglearn_tf.study.settings import Settings

    schema = Settings.model_json_schema()
    yield from _settings_of(Settings, "", schema, schema.get("$defs", {}))


def _settings_of(model: Any, prefix: str, schema: dict[str, Any], defs: dict[str, Any]) -> Iterator[Any]:
    sections = []
    for field in model.model_fields:
        found = schema["properties"][field]
        inner = _section(found)
        if inner is None:
            yield f"{prefix}{field}", model, field, found, defs
        else:
            name, is_table = inner
            sections.append((f"{prefix}{field}.{'NAME.' if is_table else ''}", name))
    for inner_prefix, name in sections:
        from loglearn_tf.study import settings

        yield from _settings_of(getattr(settings, name), inner_prefix, defs[name], defs)


def _section(schema: Mapping[str, Any]) -> tuple[str, bool] | None:
    """The class of a section, and whether it is one of a table of such sections; `None` for a plain setting."""
    table = _values(schema)
    if table is not None and "$ref" in table:
        return table["$ref"].rpartition("/")[2], True
    choices = [schema, *schema.get("anyOf", ()), *schema.get("allOf", ())]
    refs = [choice["$ref"] for choice in choices if "$ref" in choice]
    return (refs[0].rpartition("/")[2], False) if refs else None


def _values(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema of a table's values; `None` for anything else."""
    found = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    return next((one for one in found if isinstance(one, dict)), None)


def _settings_text() -> str:
    blocks, section = [], None
    for name, model, field, schema, _ in _settings():
        if model is not section:
            section = model
            prefix = name.rpartition(".")[0]
            title = f"`{prefix}`" if prefix else "The study"
            blocks.append(f"## {title}\n\n{_summary(model)}{_optional_section(prefix)}")
        about = _described(model, "Attributes")[field]
        info = model.model_fields[field]
        default = "required" if info.is_required() else f"`{_plain(info.default)}`"
        options = f":type: {json.dumps(_type(schema))}\n:default: {json.dumps(default)}"
        blocks.append(f"```{{confval}} {name}\n{options}\n\n{_followed(about, field)}\n```")
    return "\n\n".join(blocks)


def _optional_section(prefix: str) -> str:
    return {"data.synthetic": " Omitted unless given.", "ray": " Omitted unless given."}.get(prefix, "")


def _followed(text: str, field: str) -> str:
    """A description that only points at a layer's argument, replaced by the description there."""
    layer = re.fullmatch(r"[Ss]ee `(\w+)`\.", text)
    if not layer:
        return text[0].upper() + text[1:]
    import loglearn_tf

    return _described(getattr(loglearn_tf, layer[1]), "Args")[field]


def _plain(value: Any) -> str:
    """A value in YAML."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words, with its range."""
    if "anyOf" in schema:
        return ", or ".join(_type(one) for one in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{one}`" for one in schema["enum"])
    kind = schema["type"]
    if "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])}, each {_type(schema['prefixItems'][0])}"
    if kind == "array":
        return f"one or a list, each {_type(schema['items'])}"
    if kind == "object":
        values = _values(schema)
        return "a table" if values is None else f"a table, each value {_type(values)}"
    words = {"boolean": "`true` or `false`", "null": "`null`", "string": "text", "integer": "an integer"}
    least, most = schema.get("minimum"), schema.get("maximum")
    limits = [text.format(_number(schema[key])) for key, text in _LIMITS.items() if key in schema]
    if least is not None and most is not None:
        limits = [f"from {_number(least)} to {_number(most)}", *limits[2:]]
    return " ".join(filter(None, [words.get(kind, "a number"), " and ".join(limits)]))


_LIMITS = {
    "minimum": "of at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "of at most {}",
    "multipleOf": "divisible by {}",
    "maxLength": "of at most {} characters",
    "pattern": "of the form `{}`",
}


def _number(limit: Any) -> str:
    return limit if isinstance(limit, str) else f"{limit:,.0f}" if float(limit).is_integer() else f"{limit:g}"


# ---- Commands ------------------------------------------------------------------------------------------------------


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command by its full name, such as `loglearn data get`, and its parser."""
    from loglearn_tf.cli import _parser

    return dict(_commands(_parser()))


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    subparsers = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not subparsers:
        yield parser.prog, parser
    for action in subparsers:
        for parser in action.choices.values():
            yield from _commands(parser)


def _commands_text() -> str:
    return "\n\n".join(_command(name, parser) for name, parser in commands().items())


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(name, width=76)  # by default the terminal's
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    usage = formatter.format_help().strip()
    blocks = [f"## `{name}`", parser.description or "", f"```text\n{usage}\n```", f"```{{program}} {name}\n```"]
    for action in parser._actions:
        if argparse.SUPPRESS in (action.help, action.dest) or isinstance(action, argparse._HelpAction):
            continue
        value = _value(action)
        names = [f"{option} {value}".strip() for option in action.option_strings] or [value]
        text = (action.help or "").replace("%(default)s", str(action.default))
        choices = f"One of {', '.join(f'`{one}`' for one in action.choices)}." if action.choices else ""
        default = f"Default: `{action.default}`." if action.choices and action.default else ""
        words = " ".join(filter(None, [f"{text[:1].upper()}{text[1:]}." if text else "", choices, default]))
        blocks.append(f"```{{option}} {', '.join(names)}\n\n{words}\n```")
    if parser.epilog:
        blocks.append(parser.epilog)
    return "\n\n".join(blocks)


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    name = action.metavar or choices or (action.dest.upper() if action.option_strings else action.dest)
    many = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}
    return many.get(str(action.nargs), str(name))


# ---- Lists: compressions, networks, data sets, report tables, export formats, experiments ---------------------------


def _entry(name: str, lines: Mapping[str, Any], text: str = "") -> str:
    known = [f"- **{key}**: {value}" for key, value in lines.items() if value not in ("", None)]
    return "\n\n".join(filter(None, [f"## `{name}`", text, "\n".join(known)]))


def own(registry: Any) -> dict[str, Any]:
    """The entries of the package itself; other installed packages are not included."""
    return {name: record for name in registry if (record := registry.own(name)) is not None}


def _compressions_text() -> str:
    from loglearn_tf.layers import COMPRESSIONS

    entries = []
    for name, record in own(COMPRESSIONS).items():
        layer = record()
        layer.build((None, 128, 128))
        learned = ", ".join(
            f"`{weight.name}`{f' ({weight.shape[0]} values)' if weight.ndim else ''}"
            for weight in layer.trainable_weights
        )
        kind = type(layer)
        lines = {
            "Title": record.title,
            "Layer": f"{{py:class}}`~loglearn_tf.layers.{kind.__name__}`",
            "Arguments": ", ".join(f"`{key}={value}`" for key, value in record.arguments.items()),
            "Learned": learned or "nothing",
        }
        entries.append(_entry(name, lines, _summary(kind)))
    return "\n\n".join(entries)


def _networks_text() -> str:
    from loglearn_tf.models import MODELS, build_model

    def n_weights(name: str, compression: str, n_classes: int) -> int:
        model = build_model(name, n_classes=n_classes, compression=compression)
        return sum(math.prod(weight.shape) for weight in model.trainable_weights)

    entries = []
    for name, record in own(MODELS).items():
        fixed, learned = n_weights(name, "logeps", 10), n_weights(name, "loglearn", 10)
        spacing = f"{record.patch_hop_in}.patch_hop"
        more = f", and {learned - fixed} more with loglearn"
        lines = {
            "Title": record.title,
            "Trainable parameters": f"{fixed:,} for 10 classes, {n_weights(name, 'logeps', 15):,} for 15{more}",
            "Mel bands": f"at least {record.min_n_mels}",
            "Patches of a scored clip": f"{{confval}}`{spacing}` frames apart, {record.mean} mean",
            "Trained by": f"`{record.trainer}`",
            "Source": record.citation,
        }
        entries.append(_entry(name, lines, _summary(record.build)))
    return "\n\n".join(entries)


def _datasets_text() -> str:
    from loglearn_tf.datasets import DATASETS

    entries = []
    for name, record in own(DATASETS).items():
        lines = {
            "Title": record.title,
            "Classes": f"{len(record.classes)}: {', '.join(record.classes)}" if record.classes else "given by the root",
            "Test folds": ", ".join(map(str, record.test_folds)) or "given by the root",
            "Download": f"`loglearn data get {name}`" if record.download else "none",
            "Synthetic form": f"`loglearn data synthetic {name}`" if record.synthetic else "none",
            "Licence": record.licence,
            "Source": record.citation,
        }
        entries.append(_entry(name, lines, _summary(record.load)))
    return "\n\n".join(entries)


def _tables_text() -> str:
    from loglearn_tf.analysis.report.tables import TABLES

    entries = []
    for name, record in own(TABLES).items():
        files = "`DATASET-table-" + name + "`"
        if record.numbered is not None:
            files = f"`tableNUMBER{record.numbered[1]}` if the source numbers it, otherwise {files}"
        compared = f"`{record.baseline}`" if record.baseline else "nothing"
        entries.append(_entry(name, {"Compared with": compared, "Files": files}, _summary(record.build)))
    return "\n\n".join(entries)


def _formats_text() -> str:
    from loglearn_tf.deploy.export import EXPORT_FORMATS

    entries = []
    for name, record in own(EXPORT_FORMATS).items():
        kind = "folder" if record.is_folder else "file"
        lines = {
            "Title": record.title,
            "Writes": f"the {kind} `{record.default_output}`, unless `--output` names another",
        }
        entries.append(_entry(name, lines, inspect.getdoc(record.write) or ""))
    return "\n\n".join(entries)


def _experiments_text() -> str:
    from loglearn_tf.study.yaml_file import experiment_names, settings_file

    texts = {name: Path(settings_file(name)).read_text(encoding="utf-8").strip() for name in experiment_names()}
    return "\n\n".join(f"## `{name}`\n\n```yaml\n{text}\n```" for name, text in texts.items())


# ---- Python --------------------------------------------------------------------------------------------------------


def _public_names_text() -> str:
    import loglearn_tf

    lines = []
    for name in loglearn_tf.__all__:
        thing = getattr(loglearn_tf, name)
        role = "class" if inspect.isclass(thing) else "func" if inspect.isroutine(thing) else "data"
        text = _summary(thing) if role != "data" else _LISTS[name]
        lines.append(f"{{py:{role}}}`~{loglearn_tf._HOMES[name]}.{name}`\n: {text}")
    return "\n\n".join(lines)


_LISTS = {
    "COMPRESSIONS": "Every compression by name: a read-only mapping to records that build the layer when called.",
    "MODELS": "Every network by name: a read-only mapping to records that build the network when called.",
}


def _suffixes_text() -> str:
    from loglearn_tf.audio import PYAV_SUFFIXES, SOUNDFILE_SUFFIXES

    always, extra = (", ".join(f"`{one}`" for one in sorted(group)) for group in (SOUNDFILE_SUFFIXES, PYAV_SUFFIXES))
    return f"In every installation: {always}.\n\nWith the extra `av`: {extra}."


GENERATORS: dict[str, Callable[..., str]] = {
    "settings": _settings_text,
    "commands": _commands_text,
    "compressions": _compressions_text,
    "networks": _networks_text,
    "datasets": _datasets_text,
    "tables": _tables_text,
    "formats": _formats_text,
    "experiments": _experiments_text,
    "public-names": _public_names_text,
    "suffixes": _suffixes_text,
}
