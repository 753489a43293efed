"""The statistics against a plain count of the same rows, and the page with hostile texts."""

import html
import re
from collections import Counter

import pytest
from bokeh.resources import Resources

from tests.data.metadata.made_rows import made_lines
from tests.data.metadata.oracle import parsed
from yfccdask.analysis.metadata.figures import metadata_figures
from yfccdask.analysis.metadata.page import write_page
from yfccdask.data.metadata.conversion import convert_metadata
from yfccdask.data.metadata.layouts import NUMBERED
from yfccdask.data.metadata.pieces import Cuts
from yfccdask.errors import DataError

HOSTILE = b"%3C%2Fscript%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E%1b%5B31m%24%24x%24%24"
SMALL = Cuts(plain=100_000, bzip2=9_000, sqlite=40_000, block=30_000, part_blocks=2)


def hostile(lines):
    for line in lines:
        fields = line.split(b"\t")
        if len(fields) == 25:
            fields[4], fields[7], fields[8], fields[10] = [HOSTILE] * 4
            fields[17], fields[18] = HOSTILE, b"x"
        yield b"\t".join(fields)


def converted(folder, lines):
    (folder / "rows").write_bytes(b"\n".join(lines))
    return convert_metadata([folder / "rows"], folder / "a.parquet", cuts=SMALL).parquet


@pytest.fixture(scope="module")
def lines():
    return made_lines(1500, 6, dirt=0.2)


@pytest.fixture(scope="module")
def figures(tmp_path_factory, lines):
    return metadata_figures(converted(tmp_path_factory.mktemp("figures"), lines))


@pytest.fixture(scope="module")
def rows(lines):
    return parsed(lines, NUMBERED)[0]


def test_counts_and_averages_are_those_of_a_plain_count(figures, rows):
    photos = [row for row in rows if row["kind"] == "photo"]
    tagged = [row for row in photos if row["tags"]]
    titled = [row for row in photos if row["title"]]
    described = [row for row in photos if row["description"]]
    automatic = sum(row["title_automatic"] for row in photos)
    wanted = {
        "items": len(rows),
        "photos": len(photos),
        "videos": len(rows) - len(photos),
        "users": len({row["user"] for row in rows}),
        "users_among_photos": len({row["user"] for row in photos}),
        "geotagged": sum(None not in (row["longitude"], row["latitude"]) for row in rows),
        "with_title": len(titled),
        "share_own_title": (len(titled) - automatic) / len(photos),
        "share_automatic_title": automatic / len(photos),
        "share_no_title": 1 - len(titled) / len(photos),
        "words_per_title": sum(row["title_words"] for row in titled) / len(titled),
        "described": len(described),
        "words_per_description": sum(r["description_words"] for r in described) / len(described),
        "tagged": len(tagged),
        "tags_per_tagged_photo": sum(len(row["tags"]) for row in tagged) / len(tagged),
        "with_device": sum(row["device"] is not None for row in photos),
        "dated": sum(row["date_taken"] is not None for row in rows),
    }
    assert {name: figures.summary[name] for name in wanted} == pytest.approx(wanted)


def test_top_tags_licences_and_years_are_those_of_a_plain_count(figures, rows):
    photos = [row for row in rows if row["kind"] == "photo"]
    tags = Counter(tag for row in photos for tag in row["tags"])
    found = list(figures.tables["tags"][["tag", "photos"]].itertuples(index=False, name=None))
    assert found == sorted(tags.items(), key=lambda pair: (-pair[1], pair[0].encode()))[:60]
    assert figures.summary["different_tags"] == len(tags)
    licences = Counter(row["licence"] or row["licence_name"] for row in photos)
    table = figures.tables["licences"]
    assert dict(zip(table["licence"], table["photos"], strict=True)) == licences | {
        name: 0 for name in table["licence"] if name not in licences
    }
    years = Counter(row["date_taken"].year for row in photos if row["date_taken"])
    table = figures.tables["years_taken"]
    assert {y: n for y, n in zip(table["year"], table["photos"], strict=True) if n} == years
    cells = figures.tables["positions"]
    placed = [r for r in rows if None not in (r["longitude"], r["latitude"])]
    assert cells["items"].sum() == len(placed)


def test_hostile_texts_are_escaped_in_the_page(tmp_path, lines):
    figures = metadata_figures(converted(tmp_path, list(hostile(lines))))
    text = write_page(figures, tmp_path / "a.html", "<script>alert(2)</script>").read_text()
    assert "<script>alert(" not in text
    assert html.escape("</script><script>alert(1)</script>") in text
    own = text.replace(Resources(mode="inline", components=["bokeh"]).render(), "")
    assert len(own) < len(text)
    assert not re.search(r"(?:src|href)=", own)
    assert "\x1b" not in text


def test_a_set_without_rows_has_figures_and_a_page(tmp_path):
    figures = metadata_figures(converted(tmp_path, [b"\t" * 24]))
    assert figures.summary["items"] == 0
    assert figures.summary["share_tagged"] is None
    assert write_page(figures, tmp_path / "a.html", "empty").exists()


def test_what_is_no_converted_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="metadata convert"):
        metadata_figures(tmp_path)
