import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yfccdask.data.metadata.field_tables import LONGEST_LINE
from yfccdask.data.metadata.owned_lines import owned_blocks


def chunks_of(data, start, stop, chunk):
    for at in range(start, len(data), chunk):
        end = min(at + chunk, stop) if at < stop else at + chunk
        yield data[at:end], at < stop
        if at < stop < at + chunk:
            yield data[stop : at + chunk], False


@settings(max_examples=400, deadline=None)
@given(
    st.text("ab\n", max_size=60).map(str.encode),
    st.lists(st.integers(1, 59), unique=True, max_size=6),
    st.integers(1, 20),
    st.integers(1, 30),
)
def test_pieces_hold_every_line_once_and_in_order(data, cuts, chunk, block):
    cuts = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    found = []
    for start, stop in itertools.pairwise(cuts):
        for piece in owned_blocks(chunks_of(data, start, stop, chunk), start == 0, block):
            assert data[start + piece.offset :][: piece.size] == piece.data
            found.append(piece.data)
    assert b"".join(found) == data
    assert all(block.endswith(b"\n") for block in found[:-1])


@pytest.mark.parametrize("position", [0, 7])
def test_an_endless_line_is_given_with_its_beginning_and_true_size(position):
    data = b"x\n" * position + b"y" * (5 * LONGEST_LINE) + b"\nlast\n"
    chunks = chunks_of(data, 0, len(data), LONGEST_LINE // 3)
    blocks = list(owned_blocks(chunks, True, 1000))
    assert sum(block.size for block in blocks) == len(data)
    endless = next(block for block in blocks if block.size > len(block.data))
    assert endless.offset == 2 * position
    assert endless.size == 5 * LONGEST_LINE + 1
    assert len(endless.data) < 2 * LONGEST_LINE
    assert blocks[-1].data == b"last\n"
