import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.data.metadata.made_rows import DIRT, ODDITIES, json_lines, made_fields, made_lines
from tests.data.metadata.mutations import mutated
from tests.data.metadata.oracle import as_batch, parsed
from yfccdask.data.metadata.block_parsing import parse_block
from yfccdask.data.metadata.field_tables import LONGEST_LINE
from yfccdask.data.metadata.layouts import JSON_LINES, NUMBERED, WITH_HASH, WITHOUT_HASH
from yfccdask.data.metadata.rejects import WORDS

LAYOUTS = [WITHOUT_HASH, WITH_HASH, NUMBERED]
CLEAN = list(made_fields(5))
FUZZED = settings(max_examples=300, deadline=None)
FIELD = st.lists(
    st.one_of(
        st.sampled_from([b"%", b"+", b"%C3", b"%A9", b"\xc3", b"\xa9", b"%E2%82%AC", b"%zz", b","]),
        st.sampled_from(
            [b" ", b"%20", b"%00", b"%0a", b"\r", b"IMG_", b"0520", b".jpg", b"-", b"e5"]
        ),
        st.binary(max_size=4).map(lambda field: field.replace(b"\t", b"").replace(b"\n", b"")),
        st.text(max_size=4).map(lambda text: text.encode().replace(b"\t", b"").replace(b"\n", b"")),
    ),
    max_size=12,
).map(b"".join)


def same_as_oracle(lines, layout, last_newline=True):
    data = b"\n".join(lines) + (b"\n" if last_newline else b"")
    batch, outcomes = parse_block(data, layout)
    rows, reasons = parsed(lines, layout)
    assert [WORDS[outcome] for outcome in outcomes.tolist()] == reasons
    batch.validate(full=True)
    wanted = as_batch(rows)
    assert batch.schema.equals(wanted.schema, check_metadata=True)
    for name in wanted.schema.names:
        assert batch[name].to_pylist() == wanted[name].to_pylist(), name


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_dirty_lines_become_the_plain_parser_s_rows_and_reasons(layout):
    same_as_oracle(made_lines(400, seed=3, dirt=0.6, layout=layout), layout)


@pytest.mark.parametrize(("name", "value"), DIRT + ODDITIES)
def test_each_kind_of_dirt_is_judged_as_by_the_plain_parser(name, value):
    lines = [b"\t".join(({**row, name: value})[f] for f in NUMBERED.fields) for row in CLEAN]
    same_as_oracle(lines, NUMBERED)
    outcomes = parse_block(b"\n".join(lines), NUMBERED)[1]
    bad = (name, value) in DIRT
    assert {WORDS[outcome] for outcome in outcomes.tolist()} == {name if bad else ""}


@FUZZED
@given(st.sampled_from(NUMBERED.fields), FIELD)
@example("title", b"%E2\x82%AC%F0%9F%98")
@example("title", "KIF_0001 ſ".encode())
@example("longitude", b"-1.0e-99")
@example("id", b"-0")
def test_any_bytes_in_a_field_are_read_as_by_the_plain_parser(name, value):
    row = {**CLEAN[0], name: value}
    same_as_oracle([b"\t".join(row[field] for field in NUMBERED.fields)], NUMBERED)


@FUZZED
@given(st.lists(st.lists(FIELD, max_size=26), min_size=1, max_size=3), st.booleans())
def test_any_lines_become_rows_or_rejects(rows, last_newline):
    lines = [b"\t".join(row) for row in rows]
    if not last_newline and not lines[-1]:
        return
    same_as_oracle(lines, WITHOUT_HASH, last_newline)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_mutated_lines_become_the_plain_parser_s_rows_and_reasons(seed):
    random_ = random.Random(seed)
    lines = mutated(made_lines(20, seed % 100, dirt=0.2), random_)
    same_as_oracle(lines, NUMBERED)


def test_json_lines_become_the_plain_parser_s_rows_and_reasons():
    same_as_oracle(json_lines(300, seed=1, dirt=0.6), JSON_LINES)


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"photoid": 1e999}', b'{"title": "\\ud800"}', b"null", b"NaN", b'""']
)
def test_json_that_is_no_row_is_a_reject(line):
    same_as_oracle([line, *json_lines(1)], JSON_LINES)


@pytest.mark.parametrize("layout", [NUMBERED, JSON_LINES], ids=lambda layout: layout.name)
def test_a_line_that_is_too_long_is_a_reject(layout):
    same_as_oracle([b"x" * (LONGEST_LINE + 1), b"y" * LONGEST_LINE], layout)


def test_no_lines_give_no_rows():
    batch, outcomes = parse_block(b"", NUMBERED)
    assert batch.num_rows == len(outcomes) == 0
