"""Fixtures of commits that several files share."""

from tests.data.damaged_commits import commit
from tests.data.made_commits import run

__all__ = ["commit", "run"]
