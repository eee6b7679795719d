"""CSV files: read back, they are what was written, unless they are made safe for spreadsheets."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loglearn_tf._util.csv import csv_bytes, row_writer, spreadsheet_text

# Python 3.10's reader takes no NUL; surrogates are escaped.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
CELL = st.one_of(TEXT, st.integers(), st.floats(), st.none())


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))


@given(st.lists(st.tuples(CELL, CELL)))
@example([("+dog", "=1+1"), ("two\rlines", "\r"), ("two\nlines", "\r\n"), ('quo"ted, text', -0.5), ("'=1", None)])
def test_what_is_written_is_read_back(rows):
    shown = [["" if value is None else str(value) for value in row] for row in rows]
    assert read(csv_bytes(("a", "b"), [{"a": a, "b": b} for a, b in rows])) == [["a", "b"], *shown]


@given(st.floats())
def test_floats_keep_every_bit(value):
    text = read(csv_bytes(("a",), [{"a": value}]))[1][0]
    assert float(text) == value or (text, value != value) == ("nan", True)


def test_lines_end_as_on_unix_and_other_keys_are_left_out():
    assert csv_bytes(("a", "b"), [{"a": 1, "c": 2}]) == b"a,b\n1,\n"


def test_bytes_that_are_no_text_are_escaped():
    assert csv_bytes(("a",), [{"a": "caf\udce9"}]) == b"a\ncaf\\udce9\n"


def test_rows_can_be_written_one_by_one():
    out = io.StringIO()
    write = row_writer(out, spreadsheet_safe=True)
    write(["=b", "x", -1])
    assert out.getvalue() == "'=b,x,-1\n"
    write(["c", "+1.5", None])
    assert out.getvalue() == "'=b,x,-1\nc,+1.5,\n"


class TestSpreadsheets:
    @pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1-1", "@x", "\tx", "=cmd|' /C calc'!A0", "-", "+inf", "-nan"])
    def test_text_is_no_formula(self, text):
        assert spreadsheet_text(text) == f"'{text}"

    @pytest.mark.parametrize("text", ["vgg", "", "-1", "+1.5", "-1e-7", "'=1", "a=b"])
    def test_other_text_and_numbers_stay(self, text):
        assert spreadsheet_text(text) == text

    def test_rows_are_read_back_as_they_are_but_for_formulas(self):
        rows = [{"a": "=HYPERLINK(x)", "b": -0.5, "c": None}, {"a": 'two\nlines, "quoted"', "b": 1, "c": "-2"}]
        assert read(csv_bytes(("a", "b", "c"), rows, spreadsheet_safe=True))[1:] == [
            ["'=HYPERLINK(x)", "-0.5", ""],
            ['two\nlines, "quoted"', "1", "-2"],
        ]
