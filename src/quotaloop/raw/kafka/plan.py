"""Which offsets of a partition to land now: exact ranges, from what has landed and what the broker has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from quotaloop.raw.kafka.broker import Offsets
from quotaloop.raw.kafka.sample import Sample

_MOST_OFFSETS = 1_000_000  # of a range, whatever the sample says
_PLACES = 4  # of a partition, to look at
_APART = 1_000  # offsets


@dataclass(frozen=True, slots=True)
class State:
    """A partition between two landings: ``start`` is the first offset that nobody has claimed.

    ``sample`` is of records from ``start`` on, None where there are none.
    """

    number: int
    start: int
    offsets: Offsets
    sample: Sample | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """How ranges are cut: of about ``range_bytes`` before compression; less only once records are ``after_ms`` old."""

    range_bytes: int
    after_ms: int


def places(begin: int, end: int) -> list[int]:
    """Offsets from which to look at ``[begin, end)``: the first, and some that are spread over what is long.

    >>> places(0, 500), places(0, 400_000)
    ([0], [0, 100000, 200000, 300000])
    """
    count = min(_PLACES, 1 + (end - begin) // _APART)
    return [begin + (end - begin) * part // count for part in range(count)]


def cuts(state: State, sizes: Sizes, now_ms: int) -> list[int]:
    """Ends of the ranges to land from ``max(start, low)`` on, ascending; ranges of one partition are about equal.

    Records whose time is not known or still to come are not waited for.

    >>> state = State(0, 100, Offsets(0, 1_100, 1_100), Sample(1.0, 0))
    >>> cuts(state, Sizes(range_bytes=400, after_ms=0), now_ms=0)
    [600, 1100]
    """
    begin, end = max(state.start, state.offsets.low), state.offsets.stable
    if end <= begin:
        return []
    sample = state.sample or Sample(0.0, -1)
    filled = (end - begin) * max(sample.bytes_an_offset / max(sizes.range_bytes, 1), 1 / _MOST_OFFSETS)
    if filled < 1 and 0 <= now_ms - sample.oldest_ms < sizes.after_ms:
        return []
    return list(_even(begin, end, max(int(filled), math.ceil((end - begin) / _MOST_OFFSETS))))


def _even(begin: int, end: int, count: int) -> Iterator[int]:
    count = min(count, end - begin)
    yield from (begin + (end - begin) * part // count for part in range(1, count + 1))


def watermark(states: list[State], landed: dict[int, int], looked_at_ms: int) -> int | None:
    """Up to when (epoch ms) everything that was written has landed, None if that cannot be said.

    The least over partitions: the time of the look for one whose end has landed (``landed``: partition to the end of
    its ranges), else the least Kafka time among the records that are next. Records without a time, or whose time is
    still to come, say nothing about when their events happened.
    """
    found = []
    for state in states:
        if landed.get(state.number, state.start) >= state.offsets.high:
            found.append(looked_at_ms)
        elif state.sample is not None and 0 <= state.sample.oldest_ms <= looked_at_ms:
            found.append(state.sample.oldest_ms)
        else:
            return None
    return min(found, default=looked_at_ms)
