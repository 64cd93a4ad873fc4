"""The spool of a boot: lines on disk that have not left yet, in segments, and never more than so many bytes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quotaloop.edge.emitter.segment import Segment, new_segment
from quotaloop.edge.emitter.throttled_warnings import ThrottledWarnings

_WARNINGS = ThrottledWarnings(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a spool and of a segment in it, and how long a lane is left alone."""

    max_bytes: int
    segment_bytes: int
    segment_s: float
    adopt_s: float


class Spool:
    """Appends lines of one boot; ``segments`` are those that have not left, oldest first, the last may be open.

    ``lock`` is held by who calls ``append`` and ``close_open``; ``turned`` is called where a segment opens or closes.
    """

    def __init__(
        self, folder: Path, host: str, boot: str, earlier: list[Segment], bounds: Bounds, lock: threading.Lock
    ) -> None:
        self.host, self.lock, self.segments = host, lock, earlier
        self.size = sum(segment.size for segment in earlier)
        self.turned: Callable[[], None] = lambda: None
        self._folder, self._boot, self._bounds = folder, boot, bounds
        self._open: Segment | None = None
        self._handle = -1
        self._opened_s = 0.0

    def append(self, seq: int, line: bytes) -> str | None:
        """Write a line with its end by one write; why not, where there is no room or the disk says no."""
        if self.size + len(line) > self._bounds.max_bytes:
            return "the spool is full"
        try:
            segment = self._open or self._new(seq)
            self._put(segment, line)
        except OSError as error:
            return f"the spool cannot be written: {error.strerror or error}"
        segment.size += len(line)
        segment.lines += 1
        self.size += len(line)
        if segment.size >= self._bounds.segment_bytes:
            self.close_open()
        return None

    def close_open(self) -> None:
        """See that no line is added to a segment that is there now."""
        if self._open is None:
            return
        segment, self._open = self._open, None
        self._close_handle()
        if segment.lines:
            segment.is_closed = True
        else:
            self._forget_empty(segment)
        self.turned()

    def close_old(self) -> float | None:
        """Close the open segment once it is old enough; the seconds until then, None where none is open."""
        with self.lock:
            if self._open is None:
                return None
            left_s = self._opened_s + self._bounds.segment_s - time.monotonic()
            if left_s <= 0:
                self.close_open()
                return None
            return left_s

    def waiting(self) -> list[Segment]:
        """What has not left, oldest first; a snapshot."""
        with self.lock:
            return list(self.segments)

    def forget_left(self) -> list[Segment]:
        """Make room of what has left; it is returned."""
        with self.lock:
            left = [segment for segment in self.segments if segment.has_left]
            self.segments = [segment for segment in self.segments if not segment.has_left]
            self.size -= sum(segment.size for segment in left)
        return left

    def abandon(self) -> None:
        """Leave the open segment to the process that this one is a child of."""
        if self._open is not None:
            self._close_handle()

    def _close_handle(self) -> None:
        """A handle is closed also where closing it fails, and what was written before is all that there is."""
        try:
            os.close(self._handle)
        except OSError as error:
            _WARNINGS.say(f"a segment was closed, and lines of it may not be on disk: {error.strerror or error}")

    def _new(self, seq: int) -> Segment:
        segment = new_segment(self._folder, self.host, self._boot, seq)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._handle = os.open(segment.path, flags, 0o644)
        self._open, self._opened_s = segment, time.monotonic()
        self.segments.append(segment)
        self.turned()
        return segment

    def _put(self, segment: Segment, line: bytes) -> None:
        """Write all of a line or nothing; where half of it cannot be taken back, the segment ends before it."""
        done = 0
        try:
            while done < len(line):
                done += os.write(self._handle, line[done:] if done else line)
        except OSError:
            try:
                os.ftruncate(self._handle, segment.size)
            except OSError:
                self.close_open()
            raise

    def _forget_empty(self, segment: Segment) -> None:
        self.segments.remove(segment)
        with suppress(OSError):  # it is removed by the next who takes the lane
            segment.path.unlink()
