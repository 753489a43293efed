"""The documents: no dead link, no placeholder, no host of a package registry."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / "docs").rglob("*.md")]
PLACE_HOLDER = "[A-Z]+_TABLE"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_and_nothing_is_left_open(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), link
    assert not re.search(rf"\b({PLACE_HOLDER}|TODO|FIXME)\b", text)


def test_no_file_names_a_registry_s_host():
    names = ("pypi" + ".org", "pythonhosted" + ".org", "anaconda" + ".org")
    files = [*PAGES, *ROOT.glob("*.txt"), *ROOT.glob("*.toml"), *ROOT.glob("*.yml")]
    files += [*(ROOT / "yfccdask").rglob("*.yaml"), *(ROOT / "yfccdask").rglob("*.py")]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not [name for name in names if name in text], file
