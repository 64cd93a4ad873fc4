"""Waivers: a refusal answered once, on the record, by somebody who says why."""

from __future__ import annotations

import json
from dataclasses import dataclass

from quotaloop.errors import UsageError
from quotaloop.events import credentials
from quotaloop.marts.release import canonical
from quotaloop.raw.ranges import Range, parse_range
from quotaloop.storage.store import Store, read_files

CHECKS = ("bad_share", "line_identity", "double_entry")


@dataclass(frozen=True, slots=True)
class Waiver:
    """One check waived for one raw range."""

    check: str
    range: Range
    reason: str
    path: str


def waive(store: Store, check: str, where: str, reason: str) -> str:
    """Record a waiver and return its path; raises ``UsageError`` if it cannot be waived, or is already."""
    if check not in CHECKS:
        raise UsageError(f"check {check!r} cannot be waived; these can: {', '.join(CHECKS)}")
    if not reason.strip():
        raise UsageError("a waiver needs a --reason")
    item = parse_range(where)
    if not store.exists(item.path):
        raise UsageError(f"there is no raw range {item}")
    path = f"waivers/{check}/{item.topic}/{item.partition:05d}/{item.start:020d}-{item.end:020d}.json"
    if not store.write_if_absent(
        path, canonical({"check": check, "range": str(item), "reason": credentials.redact_text(reason)})
    ):
        raise UsageError(f"{check} is waived for {item} already")
    return path


def waivers(store: Store) -> list[Waiver]:
    """All waivers, by path."""
    found = []
    paths = [info.path for info in store.files("waivers")]
    for path, data in zip(paths, read_files(store, paths), strict=True):
        document = json.loads(data)
        found.append(Waiver(document["check"], parse_range(document["range"]), document["reason"], path))
    return found
