"""Lines damaged at random: bytes changed, lost, doubled; fields moved; escapes broken."""

from __future__ import annotations

import random
from itertools import pairwise

PIECES = [
    *(b"\t", b"\t\t", b"\r", b"\0", b"\xff", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0b", b'"', b"'"),
    *(b"%", b"%%", b"%E2%82", b"%ED%A0%80", b"%F4%90%80%80", b"%c3%A9", b"+", b",", b",,", b"<b>"),
    *(b"-", b"1e9", b"99999999999999999999", b"nan", b"null", b"0000-00-00 00:00:00", b"{", b"\\"),
]


def mutated(lines: list[bytes], random_: random.Random) -> list[bytes]:
    """As many lines, each with up to four mutations; none holds a newline."""
    return [_mutated(line, random_) for line in lines]


def _mutated(line: bytes, random_: random.Random) -> bytes:
    for _ in range(random_.randrange(5)):
        line = random_.choice(MUTATIONS)(line, random_)
    return line.replace(b"\n", b"")


def _flip(line: bytes, random_: random.Random) -> bytes:
    at = random_.randrange(len(line) + 1)
    return line[:at] + bytes([random_.randrange(256)]) + line[at + 1 :]


def _lose(line: bytes, random_: random.Random) -> bytes:
    at = random_.randrange(len(line) + 1)
    return line[:at] + line[at + random_.randrange(1, 30) :]


def _insert(line: bytes, random_: random.Random) -> bytes:
    at = random_.randrange(len(line) + 1)
    return line[:at] + random_.choice(PIECES) + line[at:]


def _swap_fields(line: bytes, random_: random.Random) -> bytes:
    fields = line.split(b"\t")
    a, b = random_.randrange(len(fields)), random_.randrange(len(fields))
    fields[a], fields[b] = fields[b], fields[a]
    return b"\t".join(fields)


def _replace_field(line: bytes, random_: random.Random) -> bytes:
    fields = line.split(b"\t")
    fields[random_.randrange(len(fields))] = random_.choice([b"", *PIECES]).replace(b"\t", b"")
    return b"\t".join(fields)


def _double(line: bytes, random_: random.Random) -> bytes:
    cuts = sorted(random_.randrange(len(line) + 1) for _ in range(2))
    return b"".join(line[a:b] for a, b in pairwise([0, cuts[1], *cuts, len(line)]) if a <= b)


MUTATIONS = [_flip, _lose, _insert, _swap_fields, _replace_field, _double]
