"""How far a segment has come with one producer: what was read, handed over, and acknowledged."""

from __future__ import annotations

from typing import Any

import msgspec
from confluent_kafka import KafkaError, Producer

from quotaloop.edge.emitter.segment import Segment
from quotaloop.edge.emitter.throttled_warnings import ThrottledWarnings

_CHUNK = 256 * 1024
_WARNINGS = ThrottledWarnings(__name__)


class _Owned(msgspec.Struct):
    tenant: str | None = None


_OWNED = msgspec.json.Decoder(_Owned)


class Journey:
    """Hands lines to the producer in order; ``error`` is why one of them was not taken."""

    def __init__(self, segment: Segment, topic: str) -> None:
        self.segment, self.error = segment, ""
        self._topic = topic
        self._read = self._handed = self._acknowledged = 0  # bytes, lines, lines

    @property
    def is_under_way(self) -> bool:
        """Are lines handed over that are not acknowledged?"""
        return self._acknowledged < self._handed

    @property
    def is_over(self) -> bool:
        """Is the segment closed, and all of it acknowledged?"""
        whole = self.segment.is_closed and self._read == self.segment.size
        return whole and not self.is_under_way

    def hand_over(self, producer: Producer) -> bool:
        """Give what is new to the producer; False where it has no room for all of it."""
        while chunk := self._next_lines():
            for line in chunk.splitlines(keepends=True):
                try:
                    producer.produce(self._topic, line.removesuffix(b"\n"), _key(line), on_delivery=self._heard)
                except BufferError:
                    return False
                self._read += len(line)
                self._handed += 1
            producer.poll(0)
        return True

    def _next_lines(self) -> bytes:
        """Whole lines from where it is; a chunk without a line end, which nobody writes, goes as one line."""
        wanted = min(_CHUNK, self.segment.size - self._read)
        if wanted <= 0:
            return b""
        with open(self.segment.path, "rb") as file:
            file.seek(self._read)
            chunk = file.read(wanted)
        if lines := chunk[: chunk.rfind(b"\n") + 1]:
            return lines
        if len(chunk) < wanted:
            return b""
        _WARNINGS.say(f"{self.segment.path.name}: {wanted:,} bytes without a line end are sent as one line")
        return chunk

    def _heard(self, error: KafkaError | None, _: Any) -> None:
        if error is not None:
            self.error = self.error or error.str()
            return
        self._acknowledged += 1
        self.segment.has_begun = True


def _key(line: bytes) -> bytes | None:
    """The tenant, so that a tenant's events stay in order; none where the line says none."""
    try:
        tenant = _OWNED.decode(line).tenant
    except ValueError:  # msgspec's errors are ValueErrors
        return None
    return tenant.encode() if tenant else None
