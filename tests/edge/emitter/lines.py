"""Events as these tests write them, and what came of them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from quotaloop.events.event import Event, Parsed
from quotaloop.events.parser import parse_line


def event(number: int = 1, tenant: str = "acme", **more: Any) -> dict[str, Any]:
    """An event that holds no stamp."""
    return {
        "event_id": f"e-{number}",
        "ts": 1_772_442_366_894,
        "tenant": tenant,
        "route": "/api/v1/conversation",
        "api_version": "v1",
        "status": 200,
        "duration_ms": 12.5,
        **more,
    }


def parsed(lines: Iterable[bytes]) -> list[Event]:
    """The events of lines; each must be one."""
    found = [parse_line(line) for line in lines]
    assert [one for one in found if not isinstance(one, Parsed)] == []
    return [one.event for one in found if isinstance(one, Parsed)]


def landed(folder: Path) -> list[Event]:
    """What stands in an outbox, by file and line."""
    files = sorted(folder.glob("*.jsonl"))
    return parsed(line for file in files for line in file.read_bytes().split(b"\n")[:-1])


def spooled(folder: Path) -> list[Event]:
    """What stands in a spool, by lane, file and line."""
    files = sorted(folder.glob("lane-*/*.jsonl"))
    return parsed(line for file in files for line in file.read_bytes().split(b"\n")[:-1])


def missing(events: Iterable[Event]) -> dict[str, list[int]]:
    """By boot, the numbers that are shown to be missing: below its greatest, and up to what later boots say of it."""
    seen: dict[str, set[int]] = defaultdict(set)
    end: dict[str, int] = defaultdict(int)
    for one in events:
        assert one.boot is not None
        assert one.seq is not None
        seen[one.boot].add(one.seq)
        end[one.boot] = max(end[one.boot], one.seq)
        if one.prev_boot is not None:
            end[one.prev_boot] = max(end[one.prev_boot], one.prev_seq or 0)
    holes = {boot: sorted(set(range(1, last + 1)) - seen[boot]) for boot, last in end.items()}
    return {boot: found for boot, found in holes.items() if found}


def stamps(events: Iterable[Event]) -> list[int]:
    """The numbers of events."""
    return [one.seq or 0 for one in events]


def before(one: Event) -> tuple[str | None, int | None]:
    """What an event says of the boot before."""
    return one.prev_boot, one.prev_seq


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Fail where it does not become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def sized(size: int) -> dict[str, Any]:
    """An event whose JSON, without a stamp, has so many bytes."""
    short = len(msgspec.json.encode(event(note="")))
    return event(note="x" * (size - short))
