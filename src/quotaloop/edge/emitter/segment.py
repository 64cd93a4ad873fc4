"""A segment: the lines of one boot from one number on, in a file of the spool."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from quotaloop.events.parser import MAX_BYTES

_NAME = re.compile(r"([0-9]{13}-[0-9a-f]{8})\.([0-9]{20})\.jsonl")
_LINE_BYTES = MAX_BYTES + 1  # with its line end


class _Numbered(msgspec.Struct):
    seq: int = 0


_NUMBERED = msgspec.json.Decoder(_Numbered)


@dataclass(eq=False, slots=True)
class Segment:
    """``size`` bytes of whole lines; ``is_closed`` once no line is added any more.

    An outlet says ``has_begun`` when a line of it is acknowledged, and ``has_left`` when all are and its file is gone.
    """

    path: Path
    host: str
    boot: str
    size: int = 0
    lines: int = 0  # as far as this process wrote them
    is_closed: bool = False
    has_begun: bool = False
    has_left: bool = False


def new_segment(folder: Path, host: str, boot: str, first: int) -> Segment:
    """The segment whose first line has this number; its file is not made yet."""
    return Segment(folder / f"{boot}.{first:020d}.jsonl", host, boot)


def found_segments(folder: Path, host: str) -> list[Segment]:
    """What lies in a lane, by boot and number, sizes as they are on disk."""
    found = [(path, match) for path in sorted(folder.iterdir()) if (match := _NAME.fullmatch(path.name))]
    return [Segment(path, host, match[1], path.stat().st_size, is_closed=True) for path, match in found]


def mend(segment: Segment) -> int:
    """Cut off a last line without its end, which its writer was killed in; the bytes that were."""
    with open(segment.path, "r+b") as file:
        whole = _end_of_lines(file, segment.size)
        torn = segment.size - whole
        if torn:
            file.truncate(whole)
            os.fsync(file.fileno())
    segment.size = whole
    return torn


def _end_of_lines(file: BinaryIO, end: int) -> int:
    """Where the last whole line ends, however much follows it: a power cut may leave a long tail of NULs."""
    while end:
        start = max(0, end - _LINE_BYTES)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def last_seq(segment: Segment) -> int:
    """The number that its last line bears, 0 where it has none."""
    with open(segment.path, "rb") as file:
        file.seek(max(0, segment.size - _LINE_BYTES))
        lines = file.read().splitlines()
    try:
        return _NUMBERED.decode(lines[-1]).seq if lines else 0
    except ValueError:  # msgspec's errors are ValueErrors; somebody else wrote here
        return 0
