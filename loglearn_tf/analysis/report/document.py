"""A report as blocks of content, which are rendered as one HTML page and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import get_args

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loglearn_tf.analysis.report.escape import markdown_text
from loglearn_tf.analysis.report.figures import inline_svg
from loglearn_tf.analysis.report.table import Table, markdown_table, to_markdown


@dataclass(frozen=True)
class Paragraph:
    """Plain text; `warning` highlights it, `link` is an address at its end."""

    text: str
    warning: bool = False
    link: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Names with their values."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Grid:
    """A plain table, collapsed behind `summary` if given; the columns after the first `n_names` hold numbers."""

    head: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    summary: str = ""
    n_names: int = 1


@dataclass(frozen=True)
class Listing:
    """Text of a file, collapsed behind its summary."""

    text: str
    summary: str


@dataclass(frozen=True)
class Picture:
    """A figure: the stem of its files in figures/, the figure, and its caption."""

    stem: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Judgement:
    """A statement, its verdict as a label and as a colour, its reasons, and its evidence."""

    statement: str
    label: str
    tone: str
    lines: tuple[str, ...]
    evidence: Grid | None = None


Block = Paragraph | Heading | Bullets | Facts | Grid | Listing | Picture | Judgement | Table


@dataclass(frozen=True)
class Section:
    """A section with a title; `anchor` is its address in the page."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """The whole report; the lead is above the table of contents."""

    title: str
    lead: Sequence[Block]
    sections: Sequence[Section]


def page(document: Document) -> str:
    """The report as one self-contained HTML file without scripts."""
    return str(_templates().get_template("page.html").render(document=document))


def to_element(block: Block) -> str:
    """A block as HTML."""
    if not isinstance(block, get_args(Block)):
        raise TypeError(f"`block` must be one of {Block}. Received: {type(block).__name__}.")
    return str(_templates().get_template("blocks.html").module.element(block)).strip()  # type: ignore[attr-defined]


@cache
def _templates() -> Environment:
    # Autoescaped: names come from files and settings and must be treated as text.
    environment = Environment(
        loader=PackageLoader("loglearn_tf.analysis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["networks"] = lambda body: [
        (name, list(of)) for name, of in groupby(body, lambda row: row[0][0])
    ]
    environment.filters["svg"] = lambda one: Markup(inline_svg(one.svg, name=one.stem, label=one.caption))
    environment.tests["of_kind"] = lambda block, name: type(block).__name__ == name
    return environment


def markdown(document: Document) -> str:
    """The report as Markdown, for a terminal, repository or pull request; figures are links into figures/."""
    parts = [f"# {markdown_text(document.title)}", *map(to_md, document.lead)]
    for section in document.sections:
        parts += [f"## {markdown_text(section.title)}", *map(to_md, section.blocks)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def to_md(block: Block) -> str:
    """A block as Markdown."""
    match block:
        case Paragraph(text, warning, link):
            line = f"{markdown_text(text)} <{link}>" if link else markdown_text(text)
            return f"> **{line}**" if warning else line
        case Heading(text):
            return f"### {markdown_text(text)}"
        case Bullets(items):
            return "\n".join(f"- {markdown_text(item)}" for item in items)
        case Facts(facts):
            return "\n".join(f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in facts)
        case Grid(head, body, summary, n_names):
            table = markdown_table(head, body, n_names)
            return f"{markdown_text(summary)}:\n\n{table}" if summary else table
        case Listing(text, summary):
            # Indented, since no text can end an indented block.
            return f"{markdown_text(summary)}:\n\n" + "\n".join(f"    {line}" for line in text.splitlines())
        case Picture(stem, _, caption):
            return f"![{markdown_text(caption)}](figures/{stem}.svg)\n\n{markdown_text(caption)}"
        case Judgement(statement, label, _, lines, evidence):
            said = "\n".join(f"- {markdown_text(line)}" for line in lines)
            rests_on = f"\n\n{to_md(evidence)}" if evidence else ""
            return f"{markdown_text(statement)} **{markdown_text(label)}**\n\n{said}{rests_on}"
        case Table():
            return to_markdown(block)
    raise TypeError(f"`block` must be one of {Block}. Received: {type(block).__name__}.")
