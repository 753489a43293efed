"""Broken JPEGs give pixels or a reason, and a fuzzer that was stopped goes on."""

import json
import time

import pytest

from benchmarks import fuzz_images
from benchmarks.image_mutations import mutated, seeds
from benchmarks.watched_decoding import WatchedDecoder, judge
from yfccdask.data.decoding import Cut

CUT = Cut(32)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", range(0, 800, 100))
def test_mutated_jpegs_give_pixels_or_a_reason(first):
    for number in range(first, first + 100):
        done, content = mutated(number)
        outcome, detail, bad = judge(content, CUT)
        assert not bad, f"mutation {number} ({done}): {outcome}: {detail}"


def test_mutations_follow_from_their_number_and_differ():
    assert mutated(17) == mutated(17)
    assert len({mutated(number)[1] for number in range(200)}) > 190
    assert all(judge(content, CUT)[0] == "decoded" for content in seeds())


def hang_or_die(item):
    """A file that can't even be made."""
    if item == "hang":
        time.sleep(600)
    if item == "die":
        raise SystemExit(3)
    return seeds()[0]


@pytest.mark.slow
def test_a_process_that_hangs_or_dies_is_noticed_and_replaced():
    decoder = WatchedDecoder(hang_or_die, CUT, 2)
    try:
        outcomes = [decoder.ask(item).outcome for item in ("fine", "hang", "die", "fine")]
    finally:
        decoder.close()
    assert outcomes == ["decoded", "hung", "crashed", "decoded"]


@pytest.mark.slow
def test_a_fuzzer_that_was_stopped_goes_on(tmp_path):
    path = tmp_path / "state.json"
    fuzz_images.fuzz(40, path)
    assert json.loads(path.read_text())["next"] == 40
    state = fuzz_images.fuzz(70, path)
    assert state["next"] == sum(state["outcomes"].values()) == 70
    assert not state["bad"]
    whole = fuzz_images.fuzz(70, tmp_path / "other.json")
    assert whole["outcomes"] == state["outcomes"]
