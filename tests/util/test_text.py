"""What errors and reports show is short, on one line, and says what it leaves out."""

import pytest

from loglearn_tf._util.text import first_few, printable


@pytest.mark.parametrize(
    ("n", "shown"),
    [
        (0, []),
        (2, ["0", "1"]),
        (3, ["0", "1", "2"]),
        (4, ["0", "1", "2", "and 1 more"]),
        (1_503, ["0", "1", "2", "and 1,500 more"]),
    ],
)
def test_the_first_few(n, shown):
    assert first_few(list(range(n)), most=3) == shown


def test_what_the_others_are():
    assert first_few(["a", "b", "c"], show=str.upper, most=1, noun="reasons") == ["A", "and 2 more reasons"]


def test_what_terminals_obey_is_escaped():
    assert printable("a\x1b[2J\nb") == r"a\x1b[2J\nb"
