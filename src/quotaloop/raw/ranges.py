"""The raw zone's files by their names: ``raw/<topic>/p=<5 digits>/<20-digit start>-<20-digit end>.jsonl.gz``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.storage.store import Store

_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}(?:@[0-9]+)?")
_RANGE = re.compile(r"raw/([^/]+)/p=([0-9]{5})/([0-9]{20})-([0-9]{20})\.jsonl\.gz")
_CLAIM = re.compile(r"raw/([^/]+)/p=([0-9]{5})/([0-9]{20})\.claim")


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Offsets [start, end) of one partition, landed as one file."""

    topic: str
    partition: int
    start: int
    end: int

    @property
    def path(self) -> str:
        """The file's path in the store."""
        return f"{folder(self.topic, self.partition)}/{self.start:020d}-{self.end:020d}.jsonl.gz"

    @property
    def claim_path(self) -> str:
        """The path of the claim that comes before the file."""
        return f"{folder(self.topic, self.partition)}/{self.start:020d}.claim"

    @property
    def lost_path(self) -> str:
        """The path of the note that these offsets were gone before they could be landed."""
        return f"{folder(self.topic, self.partition)}/{self.start:020d}-{self.end:020d}.lost"

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.start}-{self.end}"


def folder(topic: str, partition: int) -> str:
    """The folder of a partition."""
    return f"raw/{topic}/p={partition:05d}"


def check_topic(topic: str) -> str:
    """The topic's name, if it is one; raises ``UsageError``."""
    if _TOPIC.fullmatch(topic) is None:
        raise UsageError(f"topic {topic!r}: use letters, digits, '.', '_' and '-', first a letter or digit")
    return topic


def parse_range(text: str) -> Range:
    """``TOPIC/P/START-END`` as a range; raises ``UsageError``."""
    match = re.fullmatch(r"([^/]+)/([0-9]+)/([0-9]+)-([0-9]+)", text)
    if match is None:
        raise UsageError(f"{text!r} is not a raw range: write TOPIC/PARTITION/START-END")
    return Range(check_topic(match[1]), int(match[2]), int(match[3]), int(match[4]))


def landed(store: Store, topic: str = "") -> list[Range]:
    """All ranges of the raw zone, or of one topic, by topic, partition and start."""
    found = (_RANGE.fullmatch(info.path) for info in store.files(f"raw/{topic}" if topic else "raw"))
    return sorted(Range(match[1], int(match[2]), int(match[3]), int(match[4])) for match in found if match)


def claimed(store: Store, topic: str) -> dict[tuple[int, int], str]:
    """Claims of a topic: (partition, start) to the claim's path."""
    found = (_CLAIM.fullmatch(info.path) for info in store.files(f"raw/{topic}"))
    return {(int(match[2]), int(match[3])): match[0] for match in found if match}


def check_tiling(ranges: Iterable[Range]) -> None:
    """Each range of a partition begins where the one before ended; ``CheckRefused`` at the first that does not."""
    before: Range | None = None
    for current in sorted(ranges):
        same = before is not None and (before.topic, before.partition) == (current.topic, current.partition)
        if same and before is not None and before.end != current.start:
            kind = "a gap" if before.end < current.start else "an overlap"
            raise CheckRefused(f"raw ranges do not tile: {kind} between {before} and {current}; nothing was released")
        before = current


def digest(ranges: Iterable[Range]) -> str:
    """SHA-256 of a listing: one ``start-end`` a line, in order."""
    listing = "".join(f"{item.start:020d}-{item.end:020d}\n" for item in sorted(ranges))
    return hashlib.sha256(listing.encode()).hexdigest()
