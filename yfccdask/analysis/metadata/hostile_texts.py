"""Users' texts for a reader's eyes: escaping for HTML and JSON is the view's own."""

from __future__ import annotations


def displayable(text: str) -> str:
    """A text whose control, format and surrogate characters are U+FFFD.

    Examples
    --------
    >>> displayable("a\\x1b[31m b")
    'a\ufffd[31m b'
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
