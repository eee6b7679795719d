"""Fonts for names in any script: matplotlib's own font lacks Chinese, Japanese, Korean, Indian, Thai and others."""

import functools
import logging
import re

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

_log = logging.getLogger(__name__)

OWN = "DejaVu Sans"  # which comes with matplotlib
# Fonts of common systems and packages; installed ones are tried in this order.
_OTHERS = (
    *("Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK JP", "Noto Sans CJK KR"),
    *("Noto Sans SC", "Noto Sans TC", "Noto Sans JP", "Noto Sans KR"),
    *("Source Han Sans SC", "Source Han Sans CN", "Source Han Sans TC", "Source Han Sans", "Source Han Sans K"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "IPAGothic", "IPAexGothic", "TakaoGothic"),
    *("VL Gothic", "NanumGothic", "Baekmuk Gulim"),
    *("Microsoft YaHei", "SimHei", "SimSun", "Microsoft JhengHei", "MS Gothic", "Yu Gothic", "Meiryo", "Malgun Gothic"),
    *("PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Heiti TC", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Noto Sans", "Noto Sans Devanagari", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu"),
    *("Noto Sans Thai", "Noto Sans Hebrew", "Noto Sans Arabic", "Noto Sans Ethiopic", "Lohit Devanagari", "Nirmala UI"),
    *(
        "Leelawadee UI",
        "Segoe UI",
        "Ebrima",
        "Noto Sans Symbols",
        "Noto Sans Symbols2",
        "Segoe UI Symbol",
        "Noto Emoji",
    ),
    *("Noto Emoji", "FreeSans", "Unifont"),
)
_NUMBER = re.compile(r"⟨U\+([0-9A-F]{4,6})⟩")


def make_readable(figure: Figure) -> None:
    """Gives texts a font for characters that matplotlib's own font lacks.

    A character that no font has is replaced by its number, such as ⟨U+72AC⟩. Other texts are not changed.
    """
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            if (shown := [_drawable(label) for label in labels]) != labels:
                axis.set_ticks(axis.get_ticklocs(), shown)
                axis.get_ticklabels()  # creates the tick labels that will be drawn
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(_drawable(text.get_text()))
        families = {_family_with(character) for character in text.get_text()} - {None, OWN}
        if families:
            text.set_fontfamily([*text.get_fontfamily(), *sorted(filter(None, families))])


def with_characters(svg: str) -> str:
    """An SVG with the characters restored from their numbers: its text stays text, and viewers may have the fonts."""

    def character(found: re.Match[str]) -> str:
        one = chr(int(found[1], 16))
        return one if one.isprintable() else found[0]  # XML forbids most unprintable ones

    return _NUMBER.sub(character, svg)


def _drawable(text: str) -> str:
    return "".join(one if one == "\n" or _family_with(one) else f"⟨U+{ord(one):04X}⟩" for one in text)


@functools.cache
def _family_with(character: str) -> str | None:
    """The first font that has a character."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    for family in (OWN, *(name for name in _OTHERS if name in installed)):
        if ord(character) in _characters(family):
            return family
    _say_that_fonts_are_missing()
    return None


@functools.cache
def _characters(family: str) -> frozenset[int]:
    font = font_manager.get_font(font_manager.findfont(family))
    return frozenset(font.get_charmap())


@functools.cache
def _say_that_fonts_are_missing() -> None:
    _log.warning(
        "No installed font has all characters of the names in figures: PDF files show their numbers instead, such as "
        "⟨U+72AC⟩. Install such a font, for example Noto Sans CJK, and write the report again."
    )
