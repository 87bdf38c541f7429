from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubernaut_runtime.text import cut, encodable, one_line

any_text = st.text(alphabet=st.characters(exclude_categories=()))


def test_a_cut_text_shows_that_it_was_cut() -> None:
    assert (cut("abcdef", 6), cut("abcdef", 5), cut("abcdef", 1), cut("abcdef", 0)) == ("abcdef", "abcd…", "…", "")


@given(any_text, st.integers(min_value=0, max_value=20))
def test_a_cut_text_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    assert len(cut(text, limit)) <= limit


@given(any_text)
def test_every_text_can_be_encoded(text: str) -> None:
    encodable(text).encode()


@given(any_text)
def test_one_line_is_one_line_without_control_characters(text: str) -> None:
    line = one_line(text)
    line.encode()
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 or ord(character) == 127 for character in line)


def test_a_run_of_line_ends_becomes_one_blank() -> None:
    assert one_line(" a\r\n\tb\x00c \u2028") == "a b c"
