"""What an emitter has from taking a lane until it leaves it: a boot, its spool, and the thread that empties it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from quotaloop.edge.emitter.boot import Boot
from quotaloop.edge.emitter.lane import first_free_lane
from quotaloop.edge.emitter.outlet import Outlet
from quotaloop.edge.emitter.segment import Segment
from quotaloop.edge.emitter.sender import Sender
from quotaloop.edge.emitter.spool import Bounds, Spool
from quotaloop.events.parser import MAX_BYTES

_END = b"}\n"


class Life:
    """Raises ``OSError`` where the spool cannot be written. ``lock`` is held by who calls ``write``.

    ``acknowledged`` is told how many lines of this boot have left.
    """

    def __init__(
        self, folder: Path, host: str, outlet: Outlet, bounds: Bounds, lock: Lock, acknowledged: Callable[[int], None]
    ) -> None:
        self._lane = first_free_lane(folder)
        try:
            earlier = self._lane.leftovers(host)
            self._boot = Boot(self._lane.folder, earlier, int(time.time() * 1000))
        except BaseException:
            self._lane.close()
            raise
        self._acknowledged, self._has_begun = acknowledged, False
        self._start, self._end = _stamps(host, self._boot)
        self.spool = Spool(self._lane.folder, host, self._boot.name, earlier, bounds, lock)
        self.sender = Sender(self.spool, outlet, folder, bounds, self._left)

    def write(self, body: bytes) -> str | None:
        """Give an event its number and put it into the spool; why not, where it cannot be. It is one JSON object."""
        seq = self._boot.next_seq()
        if not body:
            return f"event {seq} is no JSON"
        line = b"%b%b%d%b" % (body[:-1], self._start, seq, self._end)
        if len(line) > MAX_BYTES + 1:
            return f"event {seq} is larger than {MAX_BYTES:,} bytes"
        problem = self.spool.append(seq, line)
        if problem is None and not self._boot.has_lines:
            self._boot.keep_line()
        return problem

    def skip(self, count: int) -> None:
        """Let events that were dropped before there was a spool show as missing."""
        if count:
            self._boot.skip(count)

    def close(self, timeout_s: float) -> None:
        """End the thread, and leave the lane to others; the spool is closed already."""
        if self.sender.stop(timeout_s):
            self._lane.close()  # else it is held until the process ends: the thread still reads there
        self._boot.close()

    def abandon(self) -> None:
        """Leave it to the process that this one is a child of."""
        self._lane.abandon()
        self.spool.abandon()
        self.sender.abandon()

    def _left(self, segments: list[Segment]) -> None:
        """Called after each turn; once an event is acknowledged, others need not name the boot before."""
        if not self._has_begun and self._is_acknowledged(segments):
            self._has_begun, self._end = True, _END
            self._boot.forget_earlier(segment.boot for segment in self.spool.waiting())
        if lines := sum(segment.lines for segment in segments):
            self._acknowledged(lines)

    def _is_acknowledged(self, left: list[Segment]) -> bool:
        return any(one.has_begun and one.boot == self._boot.name for one in (*left, *self.spool.waiting()))


def _stamps(host: str, boot: Boot) -> tuple[bytes, bytes]:
    """What stands before and after the number; all of it is of characters that JSON takes as they are."""
    before = f',"prev_boot":"{boot.before[0]}","prev_seq":{boot.before[1]}' if boot.before else ""
    return f',"host":"{host}","boot":"{boot.name}","seq":'.encode(), before.encode() + _END
