"""The chain of a partition: each claim begins where the one before ended, so no two writers can overlap.

A claim is a promise of exact offsets: whoever finds one without its range lands exactly that range.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from quotaloop import faults
from quotaloop.raw.ranges import Range, claimed, landed
from quotaloop.storage.store import Store


@dataclass(slots=True)
class Chain:
    """What a topic has landed or claimed: ``ends`` of the chains and ends of what has ``landed`` without a hole.

    Both by partition; ``owed`` are ranges that are claimed and have not landed.
    """

    ends: dict[int, int] = field(default_factory=dict)
    landed: dict[int, int] = field(default_factory=dict)
    owed: list[Range] = field(default_factory=list)

    def add(self, item: Range, *, is_landed: bool) -> None:
        """The next range of its partition."""
        if is_landed and self.landed.get(item.partition, item.start) == self.ends.get(item.partition, item.start):
            self.landed[item.partition] = item.end
        self.landed.setdefault(item.partition, item.start)
        self.ends[item.partition] = item.end
        if not is_landed:
            self.owed.append(item)


def chain(store: Store, topic: str) -> Chain:
    """The chains of all partitions, as they are listed."""
    there = {(item.partition, item.start): item for item in landed(store, topic)}
    waiting = {place: path for place, path in claimed(store, topic).items() if place not in there}
    found = Chain()
    for place in sorted({*there, *waiting}):
        item = there.get(place) or Range(topic, *place, json.loads(store.read(waiting[place]))["end"])
        found.add(item, is_landed=place in there)
    return found


def claim(store: Store, wanted: Sequence[Range], source: str, now_ms: int, *, lost_before: int = 0) -> Iterator[Range]:
    """Claim ranges of one partition that follow one another; where somebody else was first, follow theirs.

    Gives the ranges that are claimed now, one after the other. The last may end beyond the last of the wanted ones, or
    before its end, where somebody else claimed it shorter. The source of a claim that ends at ``lost_before`` or before
    it is ``lost``.
    """
    if not wanted:
        return
    start = wanted[0].start
    for item in wanted:
        if start >= item.end:
            continue
        range_ = Range(item.topic, item.partition, start, item.end)
        why = "lost" if range_.end <= lost_before else source
        document = {"end": range_.end, "source": why, "time_ms": now_ms}
        if not store.write_if_absent(range_.claim_path, (json.dumps(document, sort_keys=True) + "\n").encode()):
            end = json.loads(store.read(range_.claim_path))["end"]
            range_ = Range(item.topic, item.partition, start, end)
        faults.reached("kafka:claimed")
        yield range_
        start = range_.end
