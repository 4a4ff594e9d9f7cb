"""What is typed reaches the terminal as text."""

from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from ablate.runs.screen import plain


@given(st.text() | st.sampled_from(["\x1b[31mred", "[red]a[/]", "\u202edlrow", "a\0b", "\x9b31m", "\\\\"]))
def test_no_text_is_markup_or_an_order_to_the_terminal(text: str) -> None:
    shown = Text.from_markup(plain(text))
    assert shown.plain.isprintable()
    assert not shown.spans
    words = "".join(sign if sign.isprintable() else " " for sign in text).split()
    assert shown.plain.split() == words
