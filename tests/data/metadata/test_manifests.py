import pytest

from tests.data.metadata.made_rows import made_lines
from tests.data.metadata.oracle import parsed
from yfccdask.data.metadata.conversion import convert_metadata
from yfccdask.data.metadata.layouts import NUMBERED
from yfccdask.data.metadata.manifests import manifest_batches, manifest_of
from yfccdask.errors import ConfigError, DataError

LINES = made_lines(600, 4)
ROWS = [row for row in parsed(LINES, NUMBERED)[0] if row["kind"] == "photo"]


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "rows").write_bytes(b"\n".join(LINES))
    return convert_metadata([folder / "rows"], folder / "a.parquet").parquet


def test_a_manifest_has_all_photos_in_order(parquet):
    manifest = manifest_of(parquet)
    assert manifest["id"].tolist() == [str(row["id"]) for row in ROWS]
    assert manifest["source"].tolist() == [row["image_path"] for row in ROWS]
    assert manifest["licence"].tolist() == [row["licence"] for row in ROWS]
    assert manifest["credit"][0] == f"{ROWS[0]['nickname']}, {ROWS[0]['page_url']}"


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("licence = 'CC BY 2.0'", lambda row: row["licence"] == "CC BY 2.0"),
        ("list_contains(tags, 'new york')", lambda row: "new york" in row["tags"]),
        ("year BETWEEN 2000 AND 2005", lambda row: 2000 <= row["date_taken"].year <= 2005),
        ("geotagged AND latitude > 40 -- north", lambda row: (row["latitude"] or 0) > 40),
        ("id = 1", lambda row: False),
    ],
)
def test_a_condition_chooses_photos(parquet, where, chosen):
    wanted = [str(row["id"]) for row in ROWS if chosen(row)]
    manifest = manifest_of(parquet, where)
    assert manifest["id"].tolist() == wanted
    assert list(manifest.columns) == ["id", "source", "credit", "licence"]


@pytest.mark.parametrize(
    "where",
    [
        *("", "1 =", "nosuch = 1", "true) UNION SELECT 1, 2, 3, 4 WHERE (true", "count(*) > 1"),
        *("id IN (SELECT 1)", "true) GROUP BY (id", "true); DROP VIEW metadata; SELECT (1"),
        *("EXISTS (FROM read_csv('/etc/passwd'))", "true) LIMIT (1", "nosuch(id)", "id = ?"),
        *("row_number() OVER () = 1", "title::INT = 1"),
    ],
)
def test_what_is_no_condition_is_refused(parquet, where):
    with pytest.raises(ConfigError, match="--where"):
        manifest_of(parquet, where)


def test_batches_are_small(parquet):
    batches = list(manifest_batches(parquet, rows=100))
    assert sum(map(len, batches)) == len(ROWS)


def test_what_is_no_converted_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="metadata convert"):
        manifest_of(tmp_path / "nothing")
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="expected Parquet"):
        manifest_of(tmp_path / "x.parquet")
