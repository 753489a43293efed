"""What a task does and for which layer, by the name of its group of tasks."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

LAYER = re.compile(r"(?:layer|copy)-?(\d+)")
FORWARD = re.compile(r"block(\d+)-above\d+-tick\d+-\w+-layer(\d+)$")
TRAIN = re.compile(r"state-layer(\d+)-tick(\d+)-")
KINDS = {
    "commit": re.compile(r"^commit\d+-"),
    "images": re.compile(r"^(image|preprocessed|contrast|whitening|patch|fitted)"),
}
OTHER = 0  # in place of a layer's number


class Job(NamedTuple):
    """What a task does: ``train``, ``forward``, ``images``, ``commit``, ``other``.

    ``layer`` counts from 1; 0 stands for no layer. ``tick`` and ``block`` are -1 where the name
    doesn't say.
    """

    kind: str
    layer: int = OTHER
    tick: int = -1
    block: int = -1


@lru_cache(maxsize=4096)
def job_of(name: str) -> Job:
    """What the tasks of a group do.

    Examples
    --------
    >>> job_of("state-layer2-tick17-d3b07384")
    Job(kind='train', layer=2, tick=17, block=-1)
    >>> job_of("normalised-block9-above2-tick17-d3b07384-layer1")
    Job(kind='forward', layer=1, tick=-1, block=9)
    """
    if found := FORWARD.search(name):
        return Job("forward", int(found[2]), block=int(found[1]))
    if found := TRAIN.search(name):
        return Job("train", int(found[1]), tick=int(found[2]))
    found = LAYER.search(name)
    layer = int(found[1]) if found else OTHER
    kind = next((kind for kind, start in KINDS.items() if start.search(name)), "other")
    return Job(kind, layer)
