"""A build that is not yet a release: what it was made from and the files it made, kept between the stages.

It lies in ``builds/<revision>/``; the revision is a digest of the inputs, so a stage that was cut off finds what it
had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quotaloop.marts.release import Day, FileEntry, Release, canonical, parse_day
from quotaloop.raw.ranges import Range, parse_range
from quotaloop.storage.store import Store

EVENTS = "events"


@dataclass(slots=True)
class Candidate:
    """A build.

    ``emit``: closed hours, to be counted twice; ``read``: those and the hours that have a part in their numbers;
    ``sources``: the ranges that hold them, and new ones without an open hour. ``new``: ranges that the parent does not
    have.
    """

    revision: str
    fingerprint: str
    parent: int | None
    ranges: list[Range]
    new: list[Range]
    emit: list[int]
    read: list[int]
    sources: list[Range]
    days: dict[str, Day]
    ledger: FileEntry

    @property
    def new_files(self) -> dict[str, list[FileEntry]]:
        """The files that this build wrote, by table."""
        files: dict[str, list[FileEntry]] = {}
        for day in self.days.values():
            for table, entries in day.tables.items():
                mine = [entry for entry in entries if f"/{self.revision}/" in entry.path]
                if mine:
                    files.setdefault(table, []).extend(mine)
        return files


def revision_of(
    fingerprint: str,
    parent: Release | None,
    carried: Mapping[str, str],
    ranges: Iterable[Range],
    closed_before: int | None,
) -> str:
    """A digest of everything a build depends on; ``carried`` is date to manifest of days that can be carried over.

    Hours before ``closed_before`` (epoch ms) are closed; None: all are.
    """
    listed = [str(item) for item in sorted(ranges)]
    document = [fingerprint, parent.number if parent else None, carried, listed, closed_before]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def folder(revision: str) -> str:
    """Where a build keeps what its later stages need."""
    return f"builds/{revision}"


def save(store: Store, candidate: Candidate) -> None:
    """Commit the candidate; its days are kept as they would be published."""
    document: dict[str, Any] = {
        "fingerprint": candidate.fingerprint,
        "parent": candidate.parent,
        "ranges": [str(item) for item in candidate.ranges],
        "new": [str(item) for item in candidate.new],
        "emit": candidate.emit,
        "read": candidate.read,
        "sources": [str(item) for item in candidate.sources],
        "days": {date: json.loads(day.render()) for date, day in candidate.days.items()},
        "ledger": [candidate.ledger.path, candidate.ledger.rows, candidate.ledger.bytes, candidate.ledger.sha256],
    }
    store.write_if_absent(f"{folder(candidate.revision)}/candidate.json", canonical(document))


def load(store: Store, revision: str) -> Candidate | None:
    """The candidate of a revision, if its build got to its end."""
    try:
        document = json.loads(store.read(f"{folder(revision)}/candidate.json"))
    except FileNotFoundError:
        return None
    return Candidate(
        revision=revision,
        fingerprint=document["fingerprint"],
        parent=document["parent"],
        ranges=[parse_range(text) for text in document["ranges"]],
        new=[parse_range(text) for text in document["new"]],
        emit=document["emit"],
        read=document["read"],
        sources=[parse_range(text) for text in document["sources"]],
        days={date: parse_day(day) for date, day in document["days"].items()},
        ledger=FileEntry(*document["ledger"]),
    )
