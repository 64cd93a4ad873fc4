"""The checks that a release needs, over exactly the files that would be published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from jobs.audit.double_entry import double_entry
from jobs.audit.expectations import check_files
from jobs.audit.waivers import Waiver
from quotaloop.errors import CheckRefused
from quotaloop.marts.candidate import Candidate
from quotaloop.marts.internal import INTERNAL_SCHEMAS
from quotaloop.marts.release import Verdict
from quotaloop.marts.tables import INGEST_LEDGER
from quotaloop.parsed.unit import Note
from quotaloop.raw.ranges import Range, check_tiling
from quotaloop.settings import Settings
from quotaloop.storage.parquet import read_table
from quotaloop.storage.store import Store

_FEW = 100  # so many bad lines are no reason to stop


def audit(
    store: Store,
    candidate: Candidate,
    recounted: Mapping[str, pa.Table],
    notes: Mapping[Range, Note],
    waivers: list[Waiver],
    settings: Settings,
) -> list[Verdict]:
    """The verdict of every check, in the order of the release contract; failures that a waiver answers say so."""
    ledger: list[dict[str, Any]] = read_table(store, candidate.ledger.path).to_pylist()
    waived = {(waiver.check, waiver.range) for waiver in waivers}
    return [
        *_line_identity(ledger, recounted["lines"], candidate, notes, waived),
        _tiling(candidate.ranges),
        *_double_entry(store, candidate, recounted, notes, waived),
        *_expectations(store, candidate),
        *_bad_share(ledger, settings.max_bad_share, waived),
    ]


def _line_identity(
    ledger: list[dict[str, Any]],
    recounted: pa.Table,
    candidate: Candidate,
    notes: Mapping[Range, Note],
    waived: set[tuple[str, Range]],
) -> list[Verdict]:
    lines = {(row["topic"], row["partition"], row["start_offset"]): row for row in recounted.to_pylist()}
    sources = set(candidate.sources)
    frozen = {hour for day in candidate.days.values() if day.frozen for hour in day.hours}
    failures = []
    for row in ledger:
        item = _range(row)
        known = row["accepted"] + row["duplicate"] + row["late"] + row["quarantined"]
        again = lines.get((item.topic, item.partition, item.start))
        if row["lines"] != known:
            failures.append(_refusal("line_identity", row, f"{row['lines']} lines, {known} with an outcome", waived))
        elif again is not None:
            late_by_freezing = not frozen.isdisjoint(notes[item].hours)
            said = _differences(row, again, ("lines", "reasons") if late_by_freezing else ("lines", "late", "reasons"))
            failures.extend(_refusal("line_identity", row, text, waived) for text in said)
        elif item in sources:
            failures.append(_refusal("line_identity", row, "MapReduce has not counted it", waived))
    return failures or [Verdict("line_identity", True, f"{len(ledger)} raw files")]


def _differences(row: Mapping[str, Any], again: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Where the engines differ about a raw file; lines in conflict are compared by the hour, among the outcomes."""
    for name in names:
        ours, theirs = row[name], again[name]
        if name == "reasons":
            ours, theirs = dict(ours), dict(theirs)
            ours.pop("conflicting_duplicate", None)
        if ours != theirs:
            yield f"{name}: Spark has {ours}, MapReduce {theirs}"


def _tiling(ranges: list[Range]) -> Verdict:
    try:
        check_tiling(ranges)
    except CheckRefused as refusal:
        return Verdict("tiling", False, str(refusal))
    return Verdict("tiling", True, f"{len(ranges)} ranges")


def _double_entry(
    store: Store,
    candidate: Candidate,
    recounted: Mapping[str, pa.Table],
    notes: Mapping[Range, Note],
    waived: set[tuple[str, Range]],
) -> list[Verdict]:
    """A waiver answers for a run whose recounted hours all lie in ranges that it names."""
    verdicts = double_entry(store, candidate, recounted)
    ranges = [item for item in candidate.sources if not set(candidate.emit).isdisjoint(notes[item].hours)]
    answered = bool(ranges) and all(("double_entry", item) in waived for item in ranges)
    return [
        Verdict(verdict.check, verdict.ok, verdict.detail, waived=not verdict.ok and answered) for verdict in verdicts
    ]


def _expectations(store: Store, candidate: Candidate) -> list[Verdict]:
    files = {table: [entry.path for entry in entries] for table, entries in candidate.new_files.items()}
    published = {table: paths for table, paths in files.items() if table not in INTERNAL_SCHEMAS}
    published[INGEST_LEDGER.name] = [candidate.ledger.path]
    return [
        Verdict(
            "expectations",
            found.success,
            "; ".join(found.failures) or f"{found.table}: {found.evaluated} expectations",
        )
        for found in check_files(store, published)
    ]


def _bad_share(ledger: list[dict[str, Any]], most: float, waived: set[tuple[str, Range]]) -> list[Verdict]:
    failures = []
    for row in ledger:
        bad = row["quarantined"] - dict(row["reasons"]).get("erased", 0)
        if bad > _FEW and bad > most * row["lines"]:
            reasons = sorted(dict(row["reasons"]).items(), key=lambda pair: (-pair[1], pair[0]))[:3]
            common = ", ".join(f"{reason} {count}" for reason, count in reasons)
            text = f"{bad} of {row['lines']} lines are in quarantine ({common}), more than max_bad_share = {most}"
            failures.append(_refusal("bad_share", row, text, waived))
    return failures or [Verdict("bad_share", True, f"{len(ledger)} raw files")]


def _refusal(check: str, row: Mapping[str, Any], text: str, waived: set[tuple[str, Range]]) -> Verdict:
    item = _range(row)
    return Verdict(check, False, f"{item}: {text}", waived=(check, item) in waived)


def _range(row: Mapping[str, Any]) -> Range:
    return Range(row["topic"], row["partition"], row["start_offset"], row["end_offset"])
