"""House style: phrases that a native reader stumbles over must not come back into texts that users see."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "data/README.md")
# Phrase to avoid -> what to write instead.
AVOID = {
    r"\bone's own\b": "your own",
    r"\brightly\b": "correctly",
    r"\b(?:un)?mend(?:s|ed|ing)?\b": "fix",
    r"\blets? \S+ stand for\b": "allow ... for ...",
    r"\bof late\b": "recently",
    r"\bgoes? by\b": "is based on",
    r"\bhas what\b|\bwhat there is\b": "name the thing",
    r"\b(?:can|cannot) be told\b|\btold apart\b": "is known, is unknown, differ",
    r"\bworth the name\b|\bof no use\b|\bcome by\b": "a plain adjective",
    r"\bat (?:its|the) price of\b": "at the cost of",
    r"\bin so many words\b|\bsome such\b": "explicitly, such a",
    r"\b(?:command|job|work) goes on\b": "rerun the command to resume",
    r"\bone an? (?:core|run|row|band|line|clip)\b": "one per ...",
    r"(?<!there )\bis no (?:file|folder|model|number|name|table|text|clip)\b": "is not a ...",
    r"\bnothing is known of\b": "nothing is known about, unknown",
}


def texts() -> list[tuple[str, str]]:
    """Where it is and the text: string literals and docstrings of the package, lines of documents."""
    found = []
    for path in sorted((ROOT / "loglearn_tf").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node.value))
    pages = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.relative_to(ROOT / "docs").parts[0][0] != "_")
    for path in [*pages, *(ROOT / name for name in DOCUMENTS)]:
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [(f"{path.relative_to(ROOT)}:{number}", line) for number, line in enumerate(lines, start=1)]
    return found


def faults(found: list[tuple[str, str]], phrase: str) -> list[str]:
    # Line breaks in docstrings count as spaces.
    return [f"{where}: {match[0]}" for where, text in found if (match := re.search(phrase, " ".join(text.split())))]


def test_no_phrase_of_the_list() -> None:
    found = texts()
    assert len(found) > 5000
    wrong = {phrase: places for phrase in AVOID if (places := faults(found, phrase))}
    assert not wrong, {f"{phrase}: write {AVOID[phrase]}": places for phrase, places in wrong.items()}


@pytest.mark.parametrize(
    "text",
    ["the data set of one's own", "it cannot be\n    told", "that is no file", "one a run", "the same command goes on"],
)
def test_finds_them(text: str) -> None:
    assert sum(bool(faults([("here", text)], phrase)) for phrase in AVOID) == 1
