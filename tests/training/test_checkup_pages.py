"""Every line of the doctor's is explained in docs/troubleshooting.md, and nothing else is."""

import ast
import functools
import re
from collections import Counter
from pathlib import Path

import pytest

import yfccdask
from yfccdask.training.checkup import FAILURE, WARNING

PACKAGE = Path(yfccdask.__file__).parent
SOURCES = [*(PACKAGE / "training" / "checkup").glob("*.py")]
OTHERS = ["compatibility.py", "clusters/connections.py", "planning/limits.py"]  # say some of it
TEXT = (PACKAGE.parent / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SHARED_TITLES = {"disk": "disk, scratch", "scratch": "disk, scratch"}
LEVELS = {"WARNING": WARNING, "FAILURE": FAILURE}


@functools.cache
def parsed_file(file):
    return [*ast.walk(ast.parse(file.read_text()))]


def parsed(files):
    return [node for file in files for node in parsed_file(file)]


@functools.cache
def sites():
    """How many findings of each check and level the code has that are not ok."""
    found = Counter()
    for node in parsed(SOURCES):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
            name, level = node.args[:2]
            if isinstance(name, ast.Constant) and getattr(level, "id", "") in LEVELS:
                found[name.value, LEVELS[level.id]] += 1
    return found


def names():
    """Every check's name."""
    return {
        node.args[0].value
        for node in parsed(SOURCES)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ("Finding", "limited", "disk_finding")
        and isinstance(node.args[0], ast.Constant)
    }


def sections():
    """Level and quoted words of each entry, by the check's title."""
    parts = re.split(r"^## (.+)$", TEXT, flags=re.MULTILINE)
    return {
        title: re.findall(r"^- \*\*(\w+)\*\*((?:.|\n(?!-|\n))*)", body, flags=re.MULTILINE)
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_check_has_a_section_and_every_section_is_a_check():
    titles = {SHARED_TITLES.get(name, name) for name in names()}
    assert sections().keys() - {"When it is none of these"} == titles


@pytest.mark.parametrize(("name", "level"), sorted(sites()))
def test_every_finding_that_is_not_ok_has_an_entry(name, level):
    entries = [entry for entry, _ in sections()[SHARED_TITLES.get(name, name)]]
    assert entries.count(level) >= sites()[name, level]


def test_what_is_quoted_is_what_the_code_says():
    files = [*SOURCES, *(PACKAGE / "training" / file for file in OTHERS)]
    said = [node.value for node in parsed(files) if isinstance(node, ast.Constant)]
    said = [text for text in said if isinstance(text, str)]
    quoted = [
        phrase
        for entries in sections().values()
        for _, text in entries
        for phrase in re.findall(r"\*([^*]+)\*", text.replace("\n ", ""))
    ]
    assert len(quoted) > 40
    missing = [phrase for phrase in quoted if not any(phrase in text for text in said)]
    assert missing == []
