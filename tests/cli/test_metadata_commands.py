import json

import pytest
from click.testing import CliRunner

from tests.data.metadata.made_rows import made_lines
from yfccdask.analysis.metadata.hostile_texts import displayable
from yfccdask.cli.group import main


def call(*arguments):
    result = CliRunner().invoke(main, ["metadata", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "rows").write_bytes(b"\n".join(made_lines(300, 1, dirt=0.3)))
    command = ["convert", folder / "rows", folder / "a.parquet", "--workers", 1, "--json"]
    return folder, json.loads(call(*command).stdout)


def test_convert_says_that_rows_in_are_rows_out_and_rejects(converted):
    folder, facts = converted
    assert facts["rows_in"] == facts["rows"] + facts["rejected"] == 300
    assert facts["rejected"] == sum(facts["reasons"].values()) > 0
    again = call("convert", folder / "rows", folder / "a.parquet", "--workers", 1)
    assert f"rows in 300 = rows out {facts['rows']} + rejects {facts['rejected']}" in again.stdout


def test_stats_prints_tables_or_json_and_writes_a_page(converted):
    folder, facts = converted
    found = json.loads(call("stats", folder / "a.parquet", "--json").stdout)
    assert found["photos"] + found["videos"] == facts["rows"]
    assert found["tags"][0]["photos"] > 0
    text = call("stats", folder / "a.parquet", "--html", folder / "a.html").stdout
    assert "99,206,564" in text
    assert (folder / "a.html").stat().st_size > 10_000


def test_wrong_files_are_one_line_and_exit_code_1(tmp_path):
    result = call("stats", tmp_path / "nothing")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: expected Parquet")


def test_control_characters_are_not_printed():
    assert displayable("a\x1b[31m\u202eb") == "a\ufffd[31m\ufffdb"
