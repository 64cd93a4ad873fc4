"""Releases: which files count. A numbered manifest is renamed in if absent; ``CURRENT`` names the newest for readers.

``releases/<10-digit number>.json`` names the parent, code and settings, the verdict of every check, the raw spans, and
for every date the SHA-256 of its day manifest, ``releases/days/<sha256>.json``, which lists the files of that date.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from quotaloop import faults
from quotaloop.errors import UsageError
from quotaloop.raw.ranges import Range
from quotaloop.storage.store import Store, read_files

FORMAT = "quotaloop/release@1"
POINTER = "CURRENT"
_NUMBERED = re.compile(r"releases/([0-9]{10})\.json")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One published file; ``hours`` are the epoch-ms hours in it (a daily file: none)."""

    path: str
    rows: int
    bytes: int
    sha256: str
    hours: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """The raw of one partition in a release: from the first range to the last, and the digest of their listing."""

    topic: str
    partition: int
    start: int
    end: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check said: ``ok``, or what it found; ``waived`` where a waiver answers it."""

    check: str
    ok: bool
    detail: str
    waived: bool = False


@dataclass(slots=True)
class Day:
    """The files of one date by table, and per hour how often it was counted and what became of each raw file's events.

    ``outcomes``: hour to rows of topic, partition, first offset of the raw file, accepted, duplicate, conflicting.
    """

    date: str
    fingerprint: str
    tables: dict[str, list[FileEntry]] = field(default_factory=dict)
    counted: dict[int, str] = field(default_factory=dict)
    outcomes: dict[int, list[list[Any]]] = field(default_factory=dict)
    frozen: bool = False

    @property
    def hours(self) -> frozenset[int]:
        """Every hour of the date (epoch ms), whether something happened in it or not."""
        start = hour_ms(f"{self.date}T00:00:00Z")
        return frozenset(range(start, start + 24 * 3_600_000, 3_600_000))

    def render(self) -> bytes:
        """Canonical JSON; its SHA-256 is the manifest's name."""
        return canonical(
            {
                "date": self.date,
                "fingerprint": self.fingerprint,
                "frozen": self.frozen,
                "tables": {
                    table: [_plain(entry) for entry in sorted(entries, key=lambda entry: entry.path)]
                    for table, entries in self.tables.items()
                },
                "counted": {rfc3339(hour): word for hour, word in self.counted.items()},
                "outcomes": {rfc3339(hour): sorted(rows) for hour, rows in self.outcomes.items()},
            }
        )


@dataclass(slots=True)
class Release:
    """The content of a numbered manifest."""

    number: int
    parent: int | None
    code: str
    settings: dict[str, Any]
    fingerprint: str
    checks: list[Verdict]
    raw: list[Span]
    days: dict[str, str]
    ledger: FileEntry | None
    waivers: list[str]
    open_hours: list[int] = field(default_factory=list)  # epoch ms; not closed when this was released
    pinned: bool = False
    rolled_back_to: int | None = None

    @property
    def path(self) -> str:
        """Where it lies in the store."""
        return release_path(self.number)

    def has(self, item: Range) -> bool:
        """Is this raw file a part of the release?"""
        return any(
            (span.topic, span.partition) == (item.topic, item.partition)
            and span.start <= item.start
            and item.end <= span.end
            for span in self.raw
        )

    def render(self) -> bytes:
        """Canonical JSON."""
        return canonical(
            asdict(self)
            | {
                "format": FORMAT,
                "ledger": _plain(self.ledger) if self.ledger else None,
                "open_hours": [rfc3339(hour) for hour in self.open_hours],
            }
        )


def release_path(number: int) -> str:
    """``releases/<10-digit number>.json``."""
    return f"releases/{number:010d}.json"


def canonical(document: Any) -> bytes:
    """JSON with sorted keys and one newline at the end."""
    return (json.dumps(document, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()


def rfc3339(epoch_ms: int) -> str:
    """A whole hour as ``2026-03-02T00:00:00Z``."""
    return datetime.fromtimestamp(epoch_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def hour_ms(text: str) -> int:
    """The inverse of ``rfc3339``."""
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def numbers(store: Store) -> list[int]:
    """All release numbers, ascending."""
    found = (_NUMBERED.fullmatch(info.path) for info in store.files("releases"))
    return sorted(int(match[1]) for match in found if match)


def read_release(store: Store, number: int) -> Release:
    """Release ``number``; raises ``UsageError`` if there is none."""
    try:
        document = json.loads(store.read(release_path(number)))
    except FileNotFoundError as error:
        raise UsageError(f"there is no release {number}; see `quotaloop release list`") from error
    document.pop("format")
    document["checks"] = [Verdict(**row) for row in document["checks"]]
    document["raw"] = [Span(**row) for row in document["raw"]]
    document["ledger"] = _entry(document["ledger"]) if document["ledger"] else None
    document["open_hours"] = [hour_ms(hour) for hour in document.get("open_hours", ())]
    return Release(**document)


def newest(store: Store) -> Release | None:
    """The release with the greatest number."""
    known = numbers(store)
    return read_release(store, known[-1]) if known else None


def current(store: Store) -> Release | None:
    """The release that ``CURRENT`` names, for readers: resolve it once and keep to it."""
    named = _named(store)
    return read_release(store, named) if named else None


def parse_day(document: Mapping[str, Any]) -> Day:
    """A day from the JSON of its manifest."""
    return Day(
        date=document["date"],
        fingerprint=document["fingerprint"],
        frozen=document["frozen"],
        tables={table: [_entry(row) for row in rows] for table, rows in document["tables"].items()},
        counted={hour_ms(hour): word for hour, word in document["counted"].items()},
        outcomes={hour_ms(hour): rows for hour, rows in document["outcomes"].items()},
    )


def _day_path(digest: str) -> str:
    return f"releases/days/{digest}.json"


def read_days(store: Store, release: Release | None) -> dict[str, Day]:
    """All day manifests of a release by date."""
    if release is None:
        return {}
    dates = sorted(release.days)
    manifests = read_files(store, [_day_path(release.days[date]) for date in dates])
    return {date: parse_day(json.loads(data)) for date, data in zip(dates, manifests, strict=True)}


def published_files(store: Store, release: Release) -> list[FileEntry]:
    """All files that a release lists, parsed events and internal tables too."""
    days = read_days(store, release).values()
    entries = [entry for day in days for listed in day.tables.values() for entry in listed]
    return [*entries, release.ledger] if release.ledger else entries


def store_days(store: Store, days: Iterable[Day]) -> dict[str, str]:
    """Commit day manifests; date to SHA-256."""
    digests = {}
    for day in days:
        data = day.render()
        digests[day.date] = hashlib.sha256(data).hexdigest()
        store.write_if_absent(_day_path(digests[day.date]), data)
    faults.reached("release:days")
    return digests


def publish(store: Store, release: Release) -> bool:
    """Rename the manifest in if absent, then move ``CURRENT``; False if another run took the number."""
    if not store.write_if_absent(release.path, release.render()):
        return False
    faults.reached("release:numbered")
    mend_pointer(store)
    faults.reached("release:current")
    return True


def mend_pointer(store: Store) -> None:
    """Let ``CURRENT`` name the newest release, as it does unless a run was cut off before that rename."""
    named = _named(store)
    known = numbers(store)  # listed after the pointer was read: a release that it named then is among them
    if known and named != known[-1] and (named < known[-1] or named not in known):
        store.replace(POINTER, f"{known[-1]:010d}".encode())


def _named(store: Store) -> int:
    """What ``CURRENT`` says; 0 where it is not there or damaged."""
    try:
        return int(store.read(POINTER))
    except (FileNotFoundError, ValueError):
        return 0


def _entry(row: Mapping[str, Any]) -> FileEntry:
    return FileEntry(row["path"], row["rows"], row["bytes"], row["sha256"], tuple(map(hour_ms, row["hours"])))


def _plain(entry: FileEntry) -> dict[str, Any]:
    return asdict(entry) | {"hours": [rfc3339(hour) for hour in entry.hours]}
