"""People's own words where others look at them: names, paths, errors; and facts as HTML tables."""

from __future__ import annotations

import html
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

LONGEST_LABEL = 40


@lru_cache(maxsize=4096)
def plain_label(text: str, longest: int = LONGEST_LABEL) -> str:
    """A text that no renderer takes for maths, in one line of at most ``longest`` letters.

    Control, format and surrogate characters become U+FFFD. It still has to be escaped for HTML.

    Examples
    --------
    >>> plain_label("a$b$\\x07")
    'a＄b＄�'
    """
    odd = "\N{REPLACEMENT CHARACTER}"
    clean = "".join(letter if letter.isprintable() else odd for letter in text)
    clean = clean.replace("$", "\N{FULLWIDTH DOLLAR SIGN}")
    clean = clean.replace("\\", "\N{REVERSE SOLIDUS OPERATOR}")
    return clean if len(clean) <= longest else f"{clean[: longest - 1]}…"


def escaped(text: Any, longest: int = 400) -> str:
    """A text for HTML, whoever wrote it.

    Examples
    --------
    >>> escaped("<b>")
    '&lt;b&gt;'
    """
    return html.escape(plain_label(str(text), longest))


def facts_html(caption: str, facts: Iterable[tuple[str, Any]]) -> str:
    """Names and values as a table for a notebook; both are escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escaped(name)}</th>"
        f"<td style='text-align:left'>{escaped(value)}</td></tr>"
        for name, value in facts
    )
    title = f"<caption style='text-align:left'><b>{escaped(caption)}</b></caption>"
    return f"<table>{title}{rows}</table>"
