"""Escapes names from files and settings for Markdown, LaTeX and file names."""

import re

# Special characters of LaTeX, and the marks of these tables.
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\u2212": "$-$",
    "\u2191": r"$\uparrow$",
    "\u2193": r"$\downarrow$",
    "\u2248": r"$\approx$",
    "\u2020": r"$\dagger$",
}


def markdown_text(text: object) -> str:
    """Escapes text for paragraphs and table cells, so that it adds no emphasis, links, columns or HTML."""
    line = " ".join(str(text).split())
    line = re.sub(r"([\\`*_\[\]|~])", r"\\\1", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # These would start a heading or a list at the start of a line.
    return re.sub(r"^(#{1,6}|[+-]|\d+[.)])(?= |$)", lambda found: found[0][:-1] + "\\" + found[0][-1], line)


def latex_text(text: object) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(str(text).split()))


def file_stem(*parts: str) -> str:
    return "-".join(re.sub(r"[^A-Za-z0-9_]", "-", part) for part in parts)
