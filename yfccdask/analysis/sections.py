"""What an analysis adds to the report: one section, whose texts are escaped.

Every module of an analysis offers ``section(run, commit) -> Section | None``; `reporting` lists
them in one tuple. It reads the analysis' stored result (`results.read_result`) and computes nothing
that takes long. It gives None where there is no result, and says so in ``note`` where the result
is of another commit than the report's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from yfccdask.analysis.results import Result
from yfccdask.data.commits import Commit


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes
    ----------
    anchor : str
        Its id in the page: the command's name.
    title : str
        Plain text.
    explanation : str
        For a reader who knows nothing of the paper: what was done, how to read what follows, and
        what it doesn't say. Plain text; empty lines part paragraphs.
    body : Markup
        HTML, as `fragment` makes it. Pictures are data URIs; nothing is loaded.
    note : str
        What a reader has to know before trusting it, as plain text: shown as a notice.
    """

    anchor: str
    title: str
    explanation: str
    body: Markup
    note: str = ""

    @property
    def paragraphs(self) -> list[str]:
        """The explanation in parts."""
        return [part for part in self.explanation.split("\n\n") if part.strip()]


def fragment(template: str, **context: Any) -> Markup:
    """HTML out of ``yfccdask/analysis/templates``; all texts in ``context`` are escaped.

    Filters beside Jinja's own: ``percent``, ``significant`` (four digits), ``thousands``
    (separators), ``counted`` (a sequence's length and a noun).
    """
    return Markup(_ENVIRONMENT.get_template(template).render(context))


def other_commit_note(result: Result, commit: Commit) -> str:
    """What to say where a result is of another commit than the report's; else nothing."""
    if result.is_of(commit):
        return ""
    return (
        f"This was made of commit {result.commit.get('number')}, the rest of this page of commit "
        f"{commit.number}. Run `yfccdask {result.command}` again to renew it."
    )


def percent(share: float) -> str:
    """A share in per cent: two digits where it is small, none lost near 100.

    >>> percent(0.873), percent(0.0004)
    ('87 %', '0.04 %')
    """
    if share in (0.0, 1.0) or 0.1 <= share <= 0.99:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.4g} %"


def significant(value: float) -> str:
    """A number in four digits.

    >>> significant(0.123456), significant(123456.7)
    ('0.1235', '123,457')
    """
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def counted(items: Sequence[Any], name: str) -> str:
    """How many there are, with a noun.

    >>> counted([1, 2], "layer"), counted([1], "layer")
    ('2 layers', '1 layer')
    """
    return f"{len(items):,} {name}{'' if len(items) == 1 else 's'}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("yfccdask.analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "significant": significant,
        "counted": counted,
        "thousands": lambda number: f"{number:,}",
    }
    return environment


_ENVIRONMENT = _environment()
