"""A raw range, parsed: one Parquet file of events, one of rejects, and a note that says what is in them.

The note is written last: a unit is there when its note is. Units are made anew for every version of the code and of the
settings that touch rows; ``folder`` carries their fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from quotaloop.raw.ranges import Range
from quotaloop.storage.store import Store


@dataclass(slots=True)
class Note:
    """What a unit holds, in whole numbers; hours are epoch ms.

    ``hours``: events of the hour, and the last hour that one of them is still in flight in. ``stamps``: host, boot,
    hour, least and greatest seq. ``prior``: host, boot, hour, prev_boot, prev_seq. ``greatest_sum``: the largest sum of
    one counted column, for the check of overflow. ``unknown_fields``: the 100 most frequent.
    """

    lines: int = 0
    events: int = 0
    late: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    unknown_fields: dict[str, int] = field(default_factory=dict)
    hours: dict[int, tuple[int, int]] = field(default_factory=dict)
    stamps: list[tuple[str, str, int, int, int]] = field(default_factory=list)
    prior: list[tuple[str, str, int, str, int]] = field(default_factory=list)
    greatest_sum: int = 0
    events_sha256: str = ""
    events_bytes: int = 0

    def render(self) -> bytes:
        """The note as JSON."""
        document = {name: getattr(self, name) for name in self.__slots__}
        document["hours"] = sorted((hour, count, reach) for hour, (count, reach) in self.hours.items())
        return (json.dumps(document, sort_keys=True) + "\n").encode()


def parse_note(data: bytes) -> Note:
    """The note from its JSON."""
    document: dict[str, Any] = json.loads(data)
    document["hours"] = {hour: (count, reach) for hour, count, reach in document["hours"]}
    document["stamps"] = [tuple(row) for row in document["stamps"]]
    document["prior"] = [tuple(row) for row in document["prior"]]
    return Note(**document)


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """Where the parsed form of a range lies."""

    range: Range
    fingerprint: str

    def _path(self, ending: str) -> str:
        item = self.range
        folder = f"parsed/{self.fingerprint}/{item.topic}/p={item.partition:05d}"
        return f"{folder}/{item.start:020d}-{item.end:020d}{ending}"

    @property
    def events_path(self) -> str:
        """Its events, as ``EVENTS_SCHEMA``."""
        return self._path(".events.parquet")

    @property
    def rejects_path(self) -> str:
        """Its late and quarantined lines, as ``REJECTS_SCHEMA``."""
        return self._path(".rejects.parquet")

    @property
    def note_path(self) -> str:
        """Its note."""
        return self._path(".json")


def units(ranges: Iterable[Range], fingerprint: str) -> list[Unit]:
    """The units of ranges, in order."""
    return [Unit(item, fingerprint) for item in sorted(ranges)]


def missing(store: Store, wanted: Iterable[Unit], fingerprint: str) -> list[Unit]:
    """Units that are not yet there."""
    there = {info.path for info in store.files(f"parsed/{fingerprint}")}
    return [unit for unit in wanted if unit.note_path not in there]
