"""A report's blocks as HTML and as Markdown: readable, and text stays text."""

import pytest

from loglearn_tf.analysis.report.document import (
    Bullets,
    Document,
    Facts,
    Grid,
    Heading,
    Judgement,
    Listing,
    Paragraph,
    Section,
    markdown,
    page,
    to_element,
    to_md,
)
from loglearn_tf.analysis.report.escape import file_stem, latex_text, markdown_text

NASTY = '<script>alert("1")</script> & | *x*'


def test_a_page_has_contents_sections_and_nothing_that_runs():
    document = Document("Title & more", [Paragraph("Lead.")], [Section("one", "First", [Paragraph("Text.")])])
    text = page(document)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "<title>Title &amp; more</title>" in text
    assert '<li><a href="#one">First</a></li>' in text and '<section id="one">' in text
    assert "default-src 'none'" in text
    assert markdown(document) == "# Title &amp; more\n\nLead.\n\n## First\n\nText.\n"


@pytest.mark.parametrize(
    "block",
    [
        Paragraph(NASTY),
        Paragraph(NASTY, warning=True),
        Heading(NASTY),
        Bullets((NASTY,)),
        Facts(((NASTY, NASTY),)),
        Grid((NASTY,), ((NASTY,),), NASTY),
        Listing(NASTY, NASTY),
        Judgement(NASTY, NASTY, "supported", (NASTY,), Grid((NASTY,), ((NASTY,),))),
    ],
    ids=lambda block: type(block).__name__,
)
def test_no_block_lets_markup_through(block):
    assert "<script" not in to_element(block) and "&lt;script&gt;" in to_element(block)
    if not isinstance(block, Listing):  # code, where Markdown takes everything for text
        assert "<script" not in to_md(block)
        assert r"\*x\*" in to_md(block)


def test_blocks_in_markdown():
    assert to_md(Grid(("Network", "n"), (("VGG", "1"),))) == "| Network | n |\n| --- | --: |\n| VGG | 1 |"
    assert to_md(Facts((("Seed", "0"),))) == "- Seed: 0"
    assert to_md(Listing("a: 1\nb: 2", "Settings")) == "Settings:\n\n    a: 1\n    b: 2"
    assert to_md(Judgement("It helps.", "not run", "not run", ("Why.",))) == "It helps. **not run**\n\n- Why."


def test_what_folds_away_needs_no_script():
    assert to_element(Grid(("n",), (("1",),), "All")).startswith("<details><summary>All</summary>")


def test_a_block_of_another_kind_is_refused():
    for written in (to_element, to_md):
        with pytest.raises(TypeError, match="`block` must be one of .*Received: str"):
            written("text")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("<b> & `c`", r"&lt;b&gt; &amp; \`c\`"),
        ("# no heading", r"\# no heading"),
        ("1. no list", r"1\. no list"),
        ("- no list", r"\- no list"),
        ("+5.0", "+5.0"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_text(text, escaped):
    assert markdown_text(text) == escaped


def test_latex_text():
    assert latex_text(r"50% of a_b & \c ↑ −1") == r"50\% of a\_b \& \textbackslash{}c $\uparrow$ $-$1"


def test_file_stem():
    assert file_stem("us8k", "my net/2", "ranks") == "us8k-my-net-2-ranks"
