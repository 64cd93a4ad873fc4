"""Files into the raw zone, byte for byte, once: prepare, claim, record, rename.

The lines of a file are written under unnamed files first, so that a damaged file leaves nothing behind. Then all its
ranges are claimed, the import is recorded with the ranges it will have, and the ranges are renamed in. A restart with
the same file finds the record or the claim and completes exactly those ranges.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from quotaloop import faults
from quotaloop.errors import UsageError
from quotaloop.events import credentials
from quotaloop.raw import topics
from quotaloop.raw.compression import compressor
from quotaloop.raw.formats import FORMATS, Converter
from quotaloop.raw.ranges import Range, check_topic, claimed, folder, landed
from quotaloop.raw.record import NO_TIME, encode_all
from quotaloop.raw.source import open_source, sha256
from quotaloop.settings import Settings
from quotaloop.storage.store import Pending, Store

_CHUNK_LINES, _CHUNK_BYTES = 4096, 8 << 20

Progress = Callable[[int], None]  # called with bytes of payload copied


@dataclass(frozen=True, slots=True)
class Import:
    """What became of one file: its ranges, its lines, and whether its bytes were landed here before."""

    path: Path
    sha256: str
    ranges: tuple[Range, ...]
    lines: int
    skipped: bool


def land_file(
    store: Store,
    path: Path,
    *,
    topic: str,
    file_format: str,
    settings: Settings,
    partition: int = 0,
    landed_at_ms: int = NO_TIME,
    now_ms: int,
    progress: Progress = lambda _: None,
) -> Import:
    """Land one file as ``topic``; ``now_ms`` is only noted in the claim.

    Raises ``UsageError`` for a wrong call and ``InputUnreadable`` for a bad file.
    """
    check_topic(topic)
    converter = FORMATS.get(file_format)
    if converter is None:
        raise UsageError(f"format {file_format!r} is not known; there are: {', '.join(FORMATS)}")
    digest = sha256(path)
    record_path = f"raw/{topic}/_imports/{digest}.json"
    declaration = {"source": "files", "format": file_format, "derived": list(converter.DERIVED)}
    topics.check(store, topic, declaration)
    record = json.loads(store.read(record_path)) if store.exists(record_path) else None
    if record is not None and all(store.exists(item.path) for item in _ranges(record, topic)):
        return Import(path, digest, tuple(_ranges(record, topic)), record["lines"], skipped=True)
    if record is not None:
        partition, start, range_bytes = record["partition"], record["start"], record["range_bytes"]
        landed_at_ms = record["kafka_time_ms"]
    else:
        partition, start, range_bytes = _plan(store, topic, partition, digest, settings.range_bytes)
    with ExitStack() as stack:
        writer = _Writer(store, stack, range_bytes, start, landed_at_ms)
        for chunk in _chunks(path, converter, settings):
            progress(writer.add(chunk))
        parts = writer.finish()
        faults.reached("import:prepared")
        topics.declare(store, topic, declaration)
        ranges = [Range(topic, partition, first, last) for _, first, last in parts]
        for item in ranges:
            _claim(store, item, digest, path, range_bytes, now_ms)
        faults.reached("import:claimed")
        if record is None:
            record = {
                "file": credentials.redact_text(path.name),
                "partition": partition,
                "start": start,
                "kafka_time_ms": landed_at_ms,
                "range_bytes": range_bytes,
                "lines": writer.offset - start,
                "ranges": [[item.start, item.end] for item in ranges],
            }
            store.write_if_absent(record_path, (json.dumps(record, sort_keys=True) + "\n").encode())
        faults.reached("import:recorded")
        for (pending, _, _), item in zip(parts, ranges, strict=True):
            pending.commit(item.path)
            faults.reached("import:range")
    return Import(path, digest, tuple(ranges), writer.offset - start, skipped=False)


class _Writer:
    """Cuts lines into compressed files of about ``range_bytes`` of payload, not yet named."""

    def __init__(self, store: Store, stack: ExitStack, range_bytes: int, start: int, kafka_time_ms: int) -> None:
        self._store, self._stack, self._range_bytes = store, stack, range_bytes
        self._time = kafka_time_ms
        self._parts: list[tuple[Pending, int, int]] = []
        self._first = self.offset = start
        self._size = 0
        self._pending: Pending | None = None

    def add(self, lines: list[bytes]) -> int:
        """Append lines and say how many bytes they have."""
        if self._pending is None:
            self._pending = self._stack.enter_context(self._store.create())
            self._gzip = compressor()
        data = encode_all(lines, first_offset=self.offset, kafka_time_ms=self._time)
        self._pending.write(self._gzip.compress(data))
        self.offset += len(lines)
        self._size += len(data)
        if self._size >= self._range_bytes:
            self._cut()
        return len(data)

    def finish(self) -> list[tuple[Pending, int, int]]:
        """The files in order, each with its first offset and the one after its last."""
        if self._pending is not None:
            self._cut()
        return self._parts

    def _cut(self) -> None:
        assert self._pending is not None
        self._pending.write(self._gzip.flush())
        self._parts.append((self._pending, self._first, self.offset))
        self._first, self._size, self._pending = self.offset, 0, None


def _chunks(path: Path, converter: Converter, settings: Settings) -> Iterator[list[bytes]]:
    with open_source(path, max_bytes=settings.max_inflated_bytes, max_inflation=settings.max_inflation) as stream:
        lines = converter.lines(stream, path.name)
        chunk: list[bytes] = []
        size = 0
        for line in lines:
            chunk.append(line)
            size += len(line)
            if len(chunk) == _CHUNK_LINES or size >= _CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk


def _plan(store: Store, topic: str, partition: int, digest: str, range_bytes: int) -> tuple[int, int, int]:
    """Partition, first offset and size of the ranges: those an earlier, unfinished try of this file claimed, or new."""
    ends: dict[int, int] = {}
    for item in landed(store):
        if item.topic == topic:
            ends[item.partition] = max(item.end, ends.get(item.partition, 0))
    waiting = {
        (number, start): json.loads(store.read(path))
        for (number, start), path in sorted(claimed(store, topic).items())
        if start >= ends.get(number, 0)
    }
    for (number, start), claim in waiting.items():
        if claim["sha256"] == digest:
            return number, start, claim["range_bytes"]
    for (number, _), claim in waiting.items():
        if number == partition:
            where = folder(topic, partition)
            raise UsageError(f"{where}: the import of {claim['source']} is not complete; land that file first")
    return partition, ends.get(partition, 0), range_bytes


def _claim(store: Store, item: Range, digest: str, path: Path, range_bytes: int, now_ms: int) -> None:
    source = credentials.redact_text(path.name)
    claim = {"end": item.end, "source": source, "sha256": digest, "range_bytes": range_bytes, "time_ms": now_ms}
    if store.write_if_absent(item.claim_path, (json.dumps(claim, sort_keys=True) + "\n").encode()):
        return
    there = json.loads(store.read(item.claim_path))
    if (there["end"], there["sha256"]) != (item.end, digest):
        raise UsageError(f"{item}: another import claimed these offsets meanwhile; land the file again")


def _ranges(record: dict[str, object], topic: str) -> list[Range]:
    pairs = record["ranges"]
    assert isinstance(pairs, list)
    return [Range(topic, int(str(record["partition"])), start, end) for start, end in pairs]


def unfinished(store: Store, there: Sequence[Range]) -> dict[str, frozenset[Range]]:
    """What was begun and is not complete: ``topic: source`` to the ranges it will have.

    ``there``: a listing of all that had landed before this call.
    """
    listed = frozenset(there)
    starts = {(item.topic, item.partition, item.start) for item in there}
    found: dict[str, frozenset[Range]] = {}
    for info in store.files("raw"):
        topic, folder_, name = [*info.path.split("/"), "", ""][1:4]
        if folder_ == "_imports":
            record = json.loads(store.read(info.path))
            source, ranges = record["file"], frozenset(_ranges(record, topic))
            if ranges <= listed:
                continue
        elif name.endswith(".claim"):
            partition, start = int(folder_.removeprefix("p=")), int(name.removesuffix(".claim"))
            if (topic, partition, start) in starts:
                continue
            claim = json.loads(store.read(info.path))
            source, ranges = claim["source"], frozenset({Range(topic, partition, start, claim["end"])})
        else:
            continue
        key = f"{topic}: {source}"
        found[key] = found.get(key, frozenset()) | ranges
    return found
