"""Lanes: a folder of the spool for one process at a time, so that no two share a counter or a file.

``lane-0``, ``lane-1``, ... each hold a ``lock``; who has it (``flock``, gone with the process) may write there.
A spool is of one host.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from quotaloop.edge.emitter.segment import Segment, found_segments, mend
from quotaloop.edge.emitter.throttled_warnings import ThrottledWarnings
from quotaloop.storage.durable import make_folder

_WARNINGS = ThrottledWarnings(__name__)


class Lane:
    """A lane that this process holds, until ``close``."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock

    def leftovers(self, host: str) -> list[Segment]:
        """Segments of those who wrote here before, oldest first, without lines that were torn when they were killed."""
        segments = found_segments(self.folder, host)
        torn = sum(mend(segment) > 0 for segment in segments)
        if torn:
            _WARNINGS.say(
                f"{self.folder.name}: {torn} lines were torn when their writer was killed, and count as missing"
            )
        for segment in segments:
            if not segment.size:
                segment.path.unlink()
        return [segment for segment in segments if segment.size]

    def close(self) -> None:
        """Leave it to others."""
        if self._lock >= 0:
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # also where a child that was just forked has it open
        self.abandon()

    def abandon(self) -> None:
        """In a child of the process that holds it: have no part in that."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def first_free_lane(spool: Path) -> Lane:
    """The first lane that nobody holds, made where there is none; raises ``OSError``."""
    for number in count():
        folder = spool / f"lane-{number}"
        make_folder(folder)
        if lane := _taken(folder):
            return lane
    raise AssertionError


def left_lanes(spool: Path) -> Iterator[Lane]:
    """Takes each lane that nobody holds and in which segments lie."""
    for folder in sorted(spool.glob("lane-*")):
        if any(folder.glob("*.jsonl")) and (lane := _taken(folder)):
            yield lane


def _taken(folder: Path) -> Lane | None:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError:
        os.close(lock)
        raise
    return Lane(folder, lock)
