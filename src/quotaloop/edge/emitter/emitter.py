"""The emitter: exactly one line an event, with a stamp that shows whether one was lost."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from quotaloop.edge.emitter.life import Life
from quotaloop.edge.emitter.outlet import Outlet
from quotaloop.edge.emitter.spool import Bounds
from quotaloop.edge.emitter.throttled_warnings import ThrottledWarnings
from quotaloop.edge.forks import begins_anew
from quotaloop.errors import UsageError
from quotaloop.events.fields import ID_FORM

_STAMP = frozenset({"host", "boot", "seq", "prev_boot", "prev_seq"})
_AGAIN_S = 2.0  # between two tries to open the spool
_MANY = 3  # segments that wait: one is open, one is being sent


class Counts(msgspec.Struct):
    """Of this process: lines put into the spool, events dropped, and lines put there that have left."""

    written: int = 0
    dropped: int = 0
    acknowledged: int = 0


class Emitter:
    """Writes events to the spool in ``folder``, from where a thread brings them to the outlet, in order.

    What is in the spool outlives the process, and is sent by the next; processes of one host may share a folder.
    An event that cannot be written (a full spool or disk, larger than an event may be, no JSON) is counted and logged,
    and its number is used: completeness shows it as missing. A child of a fork goes on in a lane of its own.

    ``max_bytes`` bounds what has not left. A segment is closed at ``segment_bytes``, or ``segment_ms`` after its first
    line. After ``adopt_ms``, and as often, what others left in lanes of their own is sent. Raises ``UsageError`` for a
    host that no event may have, and ``OSError`` where the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str,
        outlet: Outlet,
        max_bytes: int = 256 << 20,
        segment_bytes: int = 1 << 20,
        segment_ms: int = 1000,
        adopt_ms: int = 5000,
    ) -> None:
        if not re.fullmatch(ID_FORM, host):
            raise UsageError(f"host is 1-128 of A-Z a-z 0-9 . _ : -, not {host!r}")
        self._folder, self._host, self._outlet = folder, host, outlet
        self._bounds = Bounds(max_bytes, segment_bytes, segment_ms / 1000, adopt_ms / 1000)
        self._follows = outlet.follows
        self._warnings = ThrottledWarnings(__name__)
        self.counts = Counts()
        self._lock = threading.Lock()
        self._is_closed = False
        self._begin_at_s, self._problem, self._unnumbered = 0.0, "", 0
        self._life: Life | None = None
        self._begin()
        begins_anew(self)

    def write(self, event: dict[str, Any]) -> None:
        """Put an event into the spool with the next number; stamps that it has already are replaced."""
        body = _body(event)
        with self._lock:
            life = self._life or self._begun_again()
            if life is None:
                return
            if life.sender.is_down:
                self._start(life)
            if problem := life.write(body):
                self._drop(problem)
                return
            self.counts.written += 1
        if self._follows and life.sender.is_idle:
            life.sender.wake()

    @property
    def is_behind(self) -> bool:
        """Do several segments wait? Then the outlet does not take what is written."""
        life = self._life
        return life is not None and len(life.spool.segments) >= _MANY

    @property
    def waiting_bytes(self) -> int:
        """What is in the spool of this process and has not left."""
        life = self._life
        return life.spool.size if life else 0

    def flush(self, timeout_s: float) -> bool:
        """Has everything written so far left: is it acknowledged by Kafka, or in the outbox?"""
        with self._lock:
            life = self._life
            if life is None:
                return True
            if life.sender.is_down:
                self._start(life)
            life.spool.close_open()
            segments = list(life.spool.segments)
        return life.sender.wait_until_left(segments, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Let leave what can in time; the rest, and what is written from now on, is sent by the next process."""
        end_s = time.monotonic() + timeout_s
        if not self._is_closed:
            self.flush(timeout_s)
        with self._lock:
            life, self._life, self._is_closed = self._life, None, True
            if life is None:
                return
            life.spool.close_open()
        life.close(max(1.0, end_s - time.monotonic()))

    def _begin(self) -> Life:
        """Also in a child of a fork, and after ``close``: what is written then is sent by the next process."""
        life = Life(self._folder, self._host, self._outlet, self._bounds, self._lock, self._acknowledge)
        self._start(life)
        self._life = life
        return life

    def _begun_again(self) -> Life | None:
        """Where the spool cannot be opened, the event is dropped, and the next try is a while later."""
        now_s = time.monotonic()
        if now_s >= self._begin_at_s:
            try:
                life = self._begin()
            except OSError as error:
                self._begin_at_s, self._problem = now_s + _AGAIN_S, f"the spool cannot be opened: {error}"
            else:
                life.skip(self._unnumbered)
                self._unnumbered = 0
                return life
        self._unnumbered += 1
        self._drop(self._problem)
        return None

    def _start(self, life: Life) -> None:
        if not self._is_closed:
            life.sender.start()

    def _acknowledge(self, lines: int) -> None:
        self.counts.acknowledged += lines

    def _drop(self, problem: str) -> None:
        self.counts.dropped += 1
        self._warnings.say(f"an event was dropped: {problem}")

    def forked(self) -> None:
        """This is a child: what the parent has stays the parent's."""
        self._lock, self.counts = threading.Lock(), Counts()
        self._begin_at_s, self._unnumbered = 0.0, 0
        life, self._life = self._life, None
        self._outlet.forked()
        if life is not None:
            life.abandon()


def _body(event: dict[str, Any]) -> bytes:
    """An event as JSON without a stamp, nothing where it is none."""
    if not _STAMP.isdisjoint(event):
        event = {name: value for name, value in event.items() if name not in _STAMP}
    try:
        return msgspec.json.encode(event) if event else b""
    except (TypeError, ValueError, OverflowError, RecursionError):  # a line less is counted, and no request fails
        return b""
