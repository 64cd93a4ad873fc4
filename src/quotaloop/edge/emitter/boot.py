"""A boot: one life of a writer in a lane. It numbers its events, and each number is kept before its line is written.

``<boot>.seq`` holds the last number given (8 bytes, little-endian) and is mapped into memory: it outlives a kill, and
counts what was dropped or torn as well, so that the boot after can say up to where there should be lines. It is below
zero until a line is written: a boot without lines is not there for who counts lines, so that the one after it names the
newest that has lines, and goes on from its numbers, which are then missing before the first line.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from quotaloop.edge.emitter.segment import Segment, last_seq

_NAME = re.compile(r"([0-9]{13})-[0-9a-f]{8}")
_COUNTER = struct.Struct("<q")


class Boot:
    """Gives numbers one by one, from 1 or from what boots without a line have used since the last that has lines.

    ``before`` is that last one with its last number, None where there was none.
    """

    def __init__(self, folder: Path, earlier: Iterable[Segment], now_ms: int) -> None:
        last = _last_numbers(folder, list(earlier))
        # A clock that was set back must not make a boot older than the one before.
        start_ms = max([now_ms, *(int(name[:13]) + 1 for name in last)])
        self.name = f"{start_ms:013d}-{secrets.token_hex(4)}"
        self.before = max(((name, seq) for name, seq in last.items() if seq > 0), default=None)
        after = self.before[0] if self.before else ""
        self.seq = self._first = max((-seq for name, seq in last.items() if name > after), default=0)
        self.has_lines = False
        self._path = folder / f"{self.name}.seq"
        self._earlier = sorted(last)
        self._counter = _mapped(self._path)

    def next_seq(self) -> int:
        """The number of the event that is to be written now."""
        self.seq = seq = self.seq + 1
        _COUNTER.pack_into(self._counter, 0, seq if self.has_lines else -seq)
        return seq

    def keep_line(self) -> None:
        """The first line is written: the boot after can name this one."""
        self.has_lines = True
        _COUNTER.pack_into(self._counter, 0, self.seq)

    def skip(self, count: int) -> None:
        """Use so many numbers up for events that were dropped before it began."""
        self.seq += count - 1
        self.next_seq()

    def forget_earlier(self, kept: Iterable[str]) -> None:
        """Remove the counters of boots before but for those ``kept``; for when an event that names the last is out."""
        needed = set(kept)
        for name in self._earlier:
            if name not in needed:
                (self._path.parent / f"{name}.seq").unlink(missing_ok=True)
        self._earlier = [name for name in self._earlier if name in needed]

    def close(self) -> None:
        """Give no more numbers; a boot that gave none leaves no trace."""
        self._counter.close()
        if self.seq == self._first:
            self._path.unlink(missing_ok=True)


def last_number(path: Path) -> int:
    """The last number that the boot of this counter gave."""
    return abs(_counted(path))


def _counted(path: Path) -> int:
    held = path.read_bytes()
    return int(_COUNTER.unpack(held)[0]) if len(held) == _COUNTER.size else 0


def _last_numbers(folder: Path, segments: Sequence[Segment]) -> dict[str, int]:
    """What the counter of each boot of a lane says, or what its lines show where that is more."""
    counters = [path for path in folder.glob("*.seq") if _NAME.fullmatch(path.stem)]
    last = {path.stem: _counted(path) for path in counters}
    for segment in {segment.boot: segment for segment in segments}.values():
        seq = last.get(segment.boot, 0)
        if shown := last_seq(segment):  # a disk may have lost the counter, and a kill come before it told of the line
            seq = max(abs(seq), shown)
        last[segment.boot] = seq
    return last


def _mapped(path: Path) -> mmap.mmap:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, bytes(_COUNTER.size))
        os.fsync(handle)  # has its block now: on a disk that fills up later, the memory can still be written
        return mmap.mmap(handle, _COUNTER.size)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
