"""Offsets that never landed, as notes say: ``raw/<topic>/p=<5 digits>/<20-digit start>-<20-digit end>.lost``.

A note begins where its range begins and is written before the range. Of several with one start, which landings leave
that found more and more gone, the longest counts: it may say more than was lost, never less.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from quotaloop.raw.compression import compressor
from quotaloop.raw.ranges import Range
from quotaloop.storage.store import Store

_NOTE = re.compile(r"raw/([^/]+)/p=([0-9]{5})/([0-9]{20})-([0-9]{20})\.lost")


@dataclass(frozen=True, slots=True)
class Lost:
    """Offsets of a partition that never landed, as a landing found at ``found_at_ms`` (epoch ms).

    ``reason``: ``lost`` (deleted before they could be landed), ``recreated`` (the topic was made again) or ``ended``
    (it was ended without an answer from Kafka). ``next_ms``: the greatest Kafka time (epoch ms) of the records that the
    broker had behind them, None where it had none.
    """

    range: Range
    reason: str
    found_at_ms: int
    next_ms: int | None = None


def note(store: Store, lost: Lost) -> None:
    """Write it down."""
    document = {
        "start": lost.range.start,
        "end": lost.range.end,
        "reason": lost.reason,
        "found_at_ms": lost.found_at_ms,
        "next_ms": lost.next_ms,
    }
    store.write_if_absent(lost.range.lost_path, (json.dumps(document, sort_keys=True) + "\n").encode())


def give_up(store: Store, item: Range, reason: str, now_ms: int) -> None:
    """Land a range that was claimed and cannot come any more: without lines, and noted as lost."""
    note(store, Lost(item, reason, now_ms))
    store.write_if_absent(item.path, compressor().flush())


def losses(store: Store, topic: str) -> list[Lost]:
    """What a topic lost, by partition and start."""
    found = (_NOTE.fullmatch(info.path) for info in store.files(f"raw/{topic}"))
    ranges = sorted(Range(match[1], int(match[2]), int(match[3]), int(match[4])) for match in found if match)
    longest = {(item.partition, item.start): item for item in ranges}
    return [_read(store, item) for item in longest.values()]


def _read(store: Store, item: Range) -> Lost:
    document = json.loads(store.read(item.lost_path))
    return Lost(item, document["reason"], document["found_at_ms"], document["next_ms"])
