"""Names in any script: drawn by a font that has them, or by their numbers; and no warning in either case."""

import re
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from loglearn_tf.analysis.report import fonts
from loglearn_tf.analysis.report.figures import draw_accuracy, draw_confusion, draw_ranks, to_pdf, to_svg
from loglearn_tf.analysis.report.run_files import Scores
from loglearn_tf.analysis.statistics import Ranking


@pytest.fixture(autouse=True)
def no_other_fonts(monkeypatch):
    """As on a machine that has those of matplotlib alone; every character is looked for again."""
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", [font for font in manager.ttflist if font.name.startswith("DejaVu")])
    forget = (fonts._family_with, fonts._characters, fonts._say_that_fonts_are_missing, manager._findfont_cached)
    for cached in forget:
        cached.cache_clear()
    yield manager
    for cached in forget:
        cached.cache_clear()


def font_of(characters: str, family: str, path) -> str:
    """A font of squares."""
    names = [".notdef", *(f"uni{ord(one):04X}" for one in characters)]
    pen = TTGlyphPen(None)
    for move, point in ((pen.moveTo, (0, 0)), (pen.lineTo, (0, 700)), (pen.lineTo, (700, 700)), (pen.lineTo, (700, 0))):
        move(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(one): f"uni{ord(one):04X}" for one in characters})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular", "psName": family.replace(" ", "")})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(path)
    return str(path)


def confusion(*classes: str, compression: str = "logeps"):
    counts = np.eye(len(classes))
    return draw_confusion({"loglearn": Scores(classes, counts, {}), compression: Scores(classes, counts, {})})


def texts(svg: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("}text")]


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_what_no_font_has_is_said_once_and_stays_text_in_svg(caplog):
    for _ in range(2):
        figure = confusion("犬", "雨_声\x01", "čáp", compression="my_lab:犬")
        svg = to_svg(figure)
        assert {"犬", "雨 声⟨U+0001⟩", "čáp", "my_lab:犬"} <= set(texts(svg))
        to_pdf(figure)
        shown = {text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))}
        assert {"⟨U+72AC⟩", "⟨U+96E8⟩ ⟨U+58F0⟩⟨U+0001⟩", "my_lab:⟨U+72AC⟩"} <= shown
    (message,) = caplog.messages
    assert "Install such a font, for example Noto Sans CJK" in message


def test_a_font_that_has_them_draws_them(no_other_fonts, tmp_path, caplog):
    no_other_fonts.addfont(font_of("犬雨声", "WenQuanYi Micro Hei", tmp_path / "font.ttf"))
    figure = confusion("犬", "雨_声", "čáp", "a")
    svg, pdf = to_svg(figure), to_pdf(figure)
    assert {"犬", "雨 声", "čáp"} <= set(texts(svg)) and not caplog.messages
    assert re.search(rb"/BaseFont /[A-Z+]*WenQuanYiMicroHei", pdf)
    families = {text.get_text(): text.get_fontfamily() for text in figure.axes[0].get_yticklabels()}
    assert families["犬"][-1] == "WenQuanYi Micro Hei" and families["a"] == ["sans-serif"]


def test_two_scripts_two_fonts(no_other_fonts, tmp_path, caplog):
    no_other_fonts.addfont(font_of("犬", "Noto Sans CJK JP", tmp_path / "1.ttf"))
    no_other_fonts.addfont(font_of("ก", "Noto Sans Thai", tmp_path / "2.ttf"))
    pdf = to_pdf(confusion("犬ก", "b"))
    assert b"NotoSansCJKJP" in pdf and b"NotoSansThai" in pdf and not caplog.messages


@pytest.mark.parametrize("kind", ["ranks", "accuracy"])
def test_every_kind_of_figure(kind, caplog):
    from fake_study import accuracy

    if kind == "ranks":
        ranking = Ranking("us8k", ("my_lab:犬", "logeps"), (1.2, 1.8), 10, 0.02, 0.5)
        figure = draw_ranks(ranking)
    else:
        figure = draw_accuracy("us8k", [accuracy(0.3, 0.25, 0.35, model="my_lab:犬", compression="雨")])
    assert "犬" in to_svg(figure) and to_pdf(figure)
    assert len(caplog.messages) == 1


def test_other_figures_stay_as_they_are(monkeypatch):
    names = ("a", "čáp", "Ω − ×10⁻³")
    found = to_svg(confusion(*names)), to_pdf(confusion(*names))
    monkeypatch.setattr("loglearn_tf.analysis.report.figures.make_readable", lambda figure: None)
    assert found == (to_svg(confusion(*names)), to_pdf(confusion(*names)))
