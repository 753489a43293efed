"""Full garbage collections come where they are asked for, and then find everything."""

import asyncio
import gc
import weakref

from yfccdask.training.control.garbage import collect_in_turns, full_collections_held


class Ring:
    """Garbage that only a collection finds."""

    def __init__(self):
        self.itself = self


def old_ring():
    """A ring that has outlived the young collections, and is garbage now."""
    ring = Ring()
    gc.collect(1)
    return weakref.ref(ring)


def fill_memory():
    """As many objects as make Python collect the oldest generation by itself."""
    return [[[] for _ in range(1000)] for _ in range(1500)]


def test_python_collects_the_oldest_by_itself_but_not_while_they_are_held():
    seen = []

    def note(phase, info):
        seen.append(info["generation"])

    gc.callbacks.append(note)
    try:
        with full_collections_held():
            seen.clear()
            fill_memory()
            assert 1 in seen
            assert 2 not in seen
        fill_memory()
        assert 2 in seen
    finally:
        gc.callbacks.remove(note)


def test_what_is_asked_for_finds_old_garbage():
    with full_collections_held():
        ring = old_ring()
        fill_memory()
        assert ring() is not None
        asyncio.run(collect_in_turns())
        assert ring() is None


def test_afterwards_python_does_as_before():
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    with full_collections_held():
        assert gc.get_freeze_count() > frozen
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == 0
