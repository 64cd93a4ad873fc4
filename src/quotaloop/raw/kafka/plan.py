"""Which offsets of a partition to land now: exact ranges, from what has landed and what the broker has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quotaloop.raw.kafka.broker import Offsets
from quotaloop.raw.kafka.sample import Sample


@dataclass(frozen=True, slots=True)
class State:
    """A partition between two landings: ``start`` is the first offset that nobody has claimed.

    ``sample`` is of the records from ``start`` on, None where there are none.
    """

    number: int
    start: int
    offsets: Offsets
    sample: Sample | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """How ranges are cut: of about ``range_bytes`` of payload; less only once records are ``after_ms`` old."""

    range_bytes: int
    after_ms: int


def cuts(state: State, sizes: Sizes, now_ms: int) -> list[int]:
    """Ends of the ranges to land from ``max(start, low)`` on, ascending; ranges of one partition are about equal.

    >>> state = State(0, 100, Offsets(0, 1_100, 1_100), Sample(1.0, 0))
    >>> cuts(state, Sizes(range_bytes=400, after_ms=0), now_ms=0)
    [600, 1100]
    """
    begin, end = max(state.start, state.offsets.low), state.offsets.stable
    if end <= begin:
        return []
    sample = state.sample or Sample(0.0, -1)
    filled = (end - begin) * sample.bytes_an_offset / max(sizes.range_bytes, 1)
    if filled < 1 and now_ms - sample.oldest_ms < sizes.after_ms:
        return []
    return list(_even(begin, end, max(1, int(filled))))


def _even(begin: int, end: int, count: int) -> Iterator[int]:
    count = min(count, end - begin)
    yield from (begin + (end - begin) * part // count for part in range(1, count + 1))


def watermark(states: list[State], landed: dict[int, int], looked_at_ms: int) -> int | None:
    """Up to when (epoch ms) everything that was written has landed, None if that cannot be said.

    The least over partitions: the time of the look for one whose end has landed (``landed``: partition to the end of
    its ranges), else the least Kafka time among the records that are next.
    """
    found = []
    for state in states:
        if landed.get(state.number, state.start) >= state.offsets.high:
            found.append(looked_at_ms)
        elif state.sample is not None and state.sample.oldest_ms >= 0:
            found.append(min(state.sample.oldest_ms, looked_at_ms))
        else:
            return None
    return min(found, default=looked_at_ms)
