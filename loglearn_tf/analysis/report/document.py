"""A report as blocks of content, written once and rendered twice: as one HTML page, and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path

from loglearn_tf.analysis.report.escape import html_text, markdown_text
from loglearn_tf.analysis.report.figures import inline_svg
from loglearn_tf.analysis.report.tables import Table, to_html, to_markdown

_CSS = Path(__file__).with_name("page.css")


@dataclass(frozen=True)
class Paragraph:
    """Plain text; `warning` sets it apart, `link` is an address at its end."""

    text: str
    warning: bool = False
    link: str = ""


@dataclass(frozen=True)
class Heading:
    """Within a section."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Sentences, one below the other."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What things are: name and value."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Grid:
    """A plain table.

    Attributes:
        head: Of all columns.
        body: Rows of text.
        summary: Where given, the table is folded away behind it.
        n_names: Columns that stand to the left; the others are numbers.
    """

    head: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    summary: str = ""
    n_names: int = 1


@dataclass(frozen=True)
class Listing:
    """Text of a file, folded away behind its summary."""

    text: str
    summary: str


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        stem: Of its files in figures/.
        svg: As a file.
        caption: What it shows, and how to read it.
    """

    stem: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Judgement:
    """A statement and its verdict.

    Attributes:
        statement: What is judged.
        label: The verdict in words.
        tone: The verdict, for the page's colours.
        lines: How it was come to.
        evidence: What it rests on, where there is any.
    """

    statement: str
    label: str
    tone: str
    lines: tuple[str, ...]
    evidence: Grid | None = None


Block = Paragraph | Heading | Bullets | Facts | Grid | Listing | Picture | Judgement | Table


@dataclass(frozen=True)
class Section:
    """A titled part; `anchor` is its address in the page."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """All of it.

    Attributes:
        title: Of the page.
        lead: Blocks above the table of contents.
        sections: Below it.
    """

    title: str
    lead: Sequence[Block]
    sections: Sequence[Section]


def page(document: Document) -> str:
    """One HTML file that needs nothing else: no network, no scripts."""
    contents = "".join(
        f'<li><a href="#{html_text(section.anchor)}">{html_text(section.title)}</a></li>'
        for section in document.sections
    )
    sections = "\n".join(
        f'<section id="{html_text(section.anchor)}">\n<h2>{html_text(section.title)}</h2>\n'
        f"{_all_html(section.blocks)}\n</section>"
        for section in document.sections
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Whatever came in with a name, the page runs nothing and fetches nothing.
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        f'img-src data:">\n'
        f"<title>{html_text(document.title)}</title>\n<style>\n{_CSS.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n<header>\n<h1>{html_text(document.title)}</h1>\n{_all_html(document.lead)}\n</header>\n"
        f'<nav aria-label="Contents"><h2>Contents</h2><ol>{contents}</ol></nav>\n'
        f"<main>\n{sections}\n</main>\n</body>\n</html>\n"
    )


def markdown(document: Document) -> str:
    """The same for a terminal, a repository or a pull request; figures are links into figures/."""
    parts = [f"# {markdown_text(document.title)}", *map(to_md, document.lead)]
    for section in document.sections:
        parts += [f"## {markdown_text(section.title)}", *map(to_md, section.blocks)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _all_html(blocks: Sequence[Block]) -> str:
    return "\n".join(map(to_element, blocks))


# ---- Block by block ---------------------------------------------------------------------------------------------


@singledispatch
def to_element(block: object) -> str:
    """A block as HTML."""
    raise TypeError(f"`block` must be one of {Block}. Received: {type(block).__name__}.")


@singledispatch
def to_md(block: object) -> str:
    """A block as Markdown."""
    raise TypeError(f"`block` must be one of {Block}. Received: {type(block).__name__}.")


@to_element.register
def _(block: Paragraph) -> str:
    address = html_text(block.link)
    link = f' <a href="{address}">{address}</a>' if block.link else ""
    return f"<p{' class=warning role=note' if block.warning else ''}>{html_text(block.text)}{link}</p>"


@to_md.register
def _(block: Paragraph) -> str:
    text = f"{markdown_text(block.text)} <{block.link}>" if block.link else markdown_text(block.text)
    return f"> **{text}**" if block.warning else text


@to_element.register
def _(block: Heading) -> str:
    return f"<h3>{html_text(block.text)}</h3>"


@to_md.register
def _(block: Heading) -> str:
    return f"### {markdown_text(block.text)}"


@to_element.register
def _(block: Bullets) -> str:
    return f"<ul>{''.join(f'<li>{html_text(item)}</li>' for item in block.items)}</ul>"


@to_md.register
def _(block: Bullets) -> str:
    return "\n".join(f"- {markdown_text(item)}" for item in block.items)


@to_element.register
def _(block: Facts) -> str:
    items = "".join(f"<dt>{html_text(name)}</dt><dd>{html_text(value)}</dd>" for name, value in block.items)
    return f"<dl>{items}</dl>"


@to_md.register
def _(block: Facts) -> str:
    return "\n".join(f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in block.items)


@to_element.register
def _(block: Grid) -> str:
    kinds = ["" if at < block.n_names else " class=number" for at in range(len(block.head))]
    head = "".join(
        f'<th scope="col"{kind}>{html_text(text)}</th>' for kind, text in zip(kinds, block.head, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{html_text(text)}</td>' for kind, text in zip(kinds, line, strict=True))}</tr>"
        for line in block.body
    )
    table = (
        f'<div class="wide" tabindex="0"><table class="plain"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
    return f"<details><summary>{html_text(block.summary)}</summary>{table}</details>" if block.summary else table


@to_md.register
def _(block: Grid) -> str:
    rule = ["---" if at < block.n_names else "--:" for at in range(len(block.head))]
    lines = [list(map(markdown_text, block.head)), rule, *(list(map(markdown_text, line)) for line in block.body)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{markdown_text(block.summary)}:\n\n{table}" if block.summary else table


@to_element.register
def _(block: Listing) -> str:
    return (
        f"<details><summary>{html_text(block.summary)}</summary>"
        f'<pre tabindex="0">{html_text(block.text)}</pre></details>'
    )


@to_md.register
def _(block: Listing) -> str:
    # Indented, since no text can end that.
    return f"{markdown_text(block.summary)}:\n\n" + "\n".join(f"    {line}" for line in block.text.splitlines())


@to_element.register
def _(block: Picture) -> str:
    svg = inline_svg(block.svg, name=block.stem, label=block.caption)
    return (
        f'<figure id="{html_text(block.stem)}"><div class="wide">{svg}</div>'
        f"<figcaption>{html_text(block.caption)}</figcaption></figure>"
    )


@to_md.register
def _(block: Picture) -> str:
    return f"![{markdown_text(block.caption)}](figures/{block.stem}.svg)\n\n{markdown_text(block.caption)}"


@to_element.register
def _(block: Judgement) -> str:
    lines = "".join(f"<li>{html_text(line)}</li>" for line in block.lines)
    return (
        f'<div class="judgement {html_text(block.tone.replace(" ", "-"))}"><p><strong>{html_text(block.statement)}'
        f'</strong> <span class="badge">{html_text(block.label)}</span></p><ul>{lines}</ul>'
        f"{to_element(block.evidence) if block.evidence else ''}</div>"
    )


@to_md.register
def _(block: Judgement) -> str:
    lines = "\n".join(f"- {markdown_text(line)}" for line in block.lines)
    evidence = f"\n\n{to_md(block.evidence)}" if block.evidence else ""
    return f"{markdown_text(block.statement)} **{markdown_text(block.label)}**\n\n{lines}{evidence}"


@to_element.register
def _(block: Table) -> str:
    return to_html(block)


@to_md.register
def _(block: Table) -> str:
    return to_markdown(block)
