"""One raw file in a mapper: its coordinates from its name, its events in pieces, its line of the ledger."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from jobs.mapreduce.plan import Plan
from jobs.mapreduce.schemas import LINES
from jobs.mapreduce.splitting import split
from quotaloop.errors import InputUnreadable, UsageError
from quotaloop.parsed.block import parse_block
from quotaloop.parsed.blocks import blocks
from quotaloop.parsed.parse import most_frequent
from quotaloop.raw.ranges import Range

_NAME = re.compile(r"raw/([^/]+)/p=([0-9]{5})/([0-9]{20})-([0-9]{20})\.jsonl\.gz$")


def range_of(uri: str) -> Range:
    """The range whose raw file this path or URI names."""
    match = _NAME.search(uri)
    if match is None:
        raise UsageError(f"{uri} is no raw file; they are named raw/TOPIC/p=00000/START-END.jsonl.gz")
    return Range(match[1], int(match[2]), int(match[3]), int(match[4]))


class RawFile:
    """A raw file that is read once; its counts are whole when ``pieces`` has come to its end."""

    def __init__(self, path: str, uri: str, plan: Plan) -> None:
        """``path``: a local copy; ``uri``: where it lies in the store."""
        self.range = range_of(uri)
        self.lines = 0
        self._path, self._plan = path, plan
        self._reasons, self._unknown = Counter[str](), Counter[str]()

    def pieces(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Key, packed events and their number."""
        with Path(self._path).open("rb") as raw:
            try:
                for block in blocks(raw):
                    outcome = parse_block(block, self.range, late_bound_ms=self._plan.late_bound_ms, parser="")
                    self.lines += outcome.lines
                    self._reasons.update(outcome.reasons)
                    self._unknown.update(outcome.unknown_fields)
                    yield from split(outcome.events, self.range, self._plan)
            except (OSError, EOFError) as error:
                raise InputUnreadable(f"raw file {self.range.path} cannot be read as gzip: {error}") from error

    def ledger(self) -> pa.Table:
        """Its row of ``lines``."""
        late = self._reasons.pop("late", 0)
        item = self.range
        row = {
            "topic": item.topic,
            "partition": item.partition,
            "start_offset": item.start,
            "end_offset": item.end,
            "lines": self.lines,
            "late": late,
            "reasons": sorted(self._reasons.items()),
            "unknown_fields": sorted(most_frequent(self._unknown).items()),
        }
        return pa.Table.from_pylist([row], schema=LINES)
