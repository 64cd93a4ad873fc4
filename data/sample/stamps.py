"""The gateways' stamps: ``seq`` in the order of writing, one restart, and one hole that was planted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from sample.population import GATEWAYS, UNSTAMPED
from sample.traffic import START, Row

RESTARTED = GATEWAYS.index("gw-b")
RESTART_AT = timedelta(hours=15, minutes=20)  # after the start
UNACKNOWLEDGED = 5  # events of the new boot that still name the last stamp of the old one
HOLED = GATEWAYS.index("gw-c")
HOLE_AT = timedelta(hours=10, minutes=40)  # on the last day
HOLE_SIZE = 7


def stamped(rows: Iterable[Row], days: int) -> Iterator[tuple[str, bool]]:
    """Each row's whole JSON text, and whether it carries a stamp."""
    seq = [0] * len(GATEWAYS)
    stamp = [f',"host":"{name}","boot":"{name}.1","seq":' for name in GATEWAYS]
    restart_us, hole_us = _micros(RESTART_AT), _micros(HOLE_AT + timedelta(days=days - 1))
    naming = 0
    previous = ""
    for end_us, _, gateway, body in rows:
        if gateway == UNSTAMPED:
            yield body + "}", False
            continue
        if end_us >= hole_us and gateway == HOLED:
            seq[HOLED] += HOLE_SIZE if seq[HOLED] else 0
            hole_us = 1 << 62
        if end_us >= restart_us and gateway == RESTARTED and seq[RESTARTED]:
            name = GATEWAYS[RESTARTED]
            previous = f',"prev_boot":"{name}.1","prev_seq":{seq[RESTARTED]}'
            stamp[RESTARTED], seq[RESTARTED] = f',"host":"{name}","boot":"{name}.2","seq":', 0
            restart_us, naming = 1 << 62, UNACKNOWLEDGED
        seq[gateway] += 1
        named = ""
        if naming and gateway == RESTARTED:
            named, naming = previous, naming - 1
        yield f"{body}{stamp[gateway]}{seq[gateway]}{named}}}", True


def _micros(after_start: timedelta) -> int:
    return int((START + after_start).timestamp()) * 1_000_000
