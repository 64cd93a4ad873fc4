"""Two releases side by side: what their manifests say, and what tenants used according to each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group

from quotaloop.cli.mcp.desk import Answer, line
from quotaloop.cli.mcp.opened import MOST_ROWS, opened
from quotaloop.errors import InputUnreadable
from quotaloop.marts.release import FileEntry, Release, Verdict, read_days, read_release
from quotaloop.marts.tables import PUBLISHED, USAGE_HOURLY
from quotaloop.terminal.output import plain, table

if TYPE_CHECKING:
    from jobs.work import Work

_LEDGER = "ingest_ledger"
_TOTALS = "SELECT tenant, sum(requests)::BIGINT, sum(total_tokens)::BIGINT FROM usage_hourly GROUP BY tenant"

Row = dict[str, Any]


def compare_releases(work: Work, first: int, second: int) -> Answer:
    """What differs; what is the same is left out.

    Of published files by date and table, of checks, of raw spans, and of each tenant's requests and tokens.
    ``truncated`` where there are more than 1,000 tables or tenants.
    ``usage`` is null, and ``unread`` says why, where a release's files are gone, as those of an old one may be.
    Raises ``UsageError`` where there is no such release.
    """
    one, other = read_release(work.store, first), read_release(work.store, second)
    tables = _tables(work, one, other)
    document: Row = {
        "first": one.number,
        "second": other.number,
        "checks": _checks(one, other),
        "raw": _raw(one, other),
        "tables": tables[:MOST_ROWS],
        "truncated": len(tables) > MOST_ROWS,
        "usage": None,
        "unread": None,
    }
    try:
        usage = _usage(_totals(work, one), _totals(work, other))
        document |= {"usage": usage[:MOST_ROWS], "truncated": document["truncated"] or len(usage) > MOST_ROWS}
    except InputUnreadable as error:
        document["unread"] = line(str(error))
    return Answer(document, _text(document))


def _tables(work: Work, one: Release, other: Release) -> list[Row]:
    """A row for each date and table whose files are others; the ledger has no date."""
    first, second = _files(work, one), _files(work, other)
    found = []
    for date, name in sorted(first.keys() | second.keys()):
        entries = first.get((date, name), []), second.get((date, name), [])
        before, after = ({entry.sha256 for entry in side} for side in entries)
        if before != after:
            rows = [sum(entry.rows for entry in side) for side in entries]
            found.append(
                {
                    "date": date or None,
                    "table": name,
                    "rows_first": rows[0],
                    "rows_second": rows[1],
                    "files_same": len(before & after),
                    "files_first": len(before - after),
                    "files_second": len(after - before),
                }
            )
    return found


def _files(work: Work, release: Release) -> dict[tuple[str, str], list[FileEntry]]:
    """Published files by date and table."""
    days = read_days(work.store, release).items()
    found = {(date, name): files for date, day in days for name, files in day.tables.items() if name in PUBLISHED}
    return found | ({("", _LEDGER): [release.ledger]} if release.ledger else {})


def _checks(one: Release, other: Release) -> list[Row]:
    """Verdicts that differ: ``ok``, ``waived`` or ``refused``, null where the check was not made; and what they say."""
    first, second = ({item.check: item for item in release.checks} for release in (one, other))
    found = []
    for name in sorted(first.keys() | second.keys()):
        sides = first.get(name), second.get(name)
        if sides[0] != sides[1]:
            words = {side: _word(item) for side, item in zip(("first", "second"), sides, strict=True)}
            said = {f"said_{side}": item.detail if item else None for side, item in zip(words, sides, strict=True)}
            found.append({"check": name, **words, **said})
    return found


def _word(item: Verdict | None) -> str | None:
    return None if item is None else "ok" if item.ok else "waived" if item.waived else "refused"


def _raw(one: Release, other: Release) -> list[Row]:
    """Raw spans that differ, in their offsets (half-open) or in their files alone."""
    first, second = ({(span.topic, span.partition): span for span in release.raw} for release in (one, other))
    found = []
    for topic, partition in sorted(first.keys() | second.keys()):
        before, after = first.get((topic, partition)), second.get((topic, partition))
        if before != after:
            spans = {
                side: f"[{span.start}, {span.end})" if span else None
                for side, span in (("first", before), ("second", after))
            }
            found.append({"topic": topic, "partition": partition, **spans})
    return found


def _totals(work: Work, release: Release) -> dict[str, tuple[int, int]]:
    """Requests and tokens by tenant."""
    with opened(work, release, [USAGE_HOURLY.name]) as connection:
        return {row[0]: (row[1], row[2]) for row in connection.execute(_TOTALS).fetchall()}


def _usage(first: dict[str, tuple[int, int]], second: dict[str, tuple[int, int]]) -> list[Row]:
    """A row for each tenant whose requests or tokens are others."""
    found = []
    for tenant in sorted(first.keys() | second.keys()):
        before, after = first.get(tenant, (0, 0)), second.get(tenant, (0, 0))
        if before != after:
            requests = {"requests_first": before[0], "requests_second": after[0]}
            found.append({"tenant": tenant, **requests, "tokens_first": before[1], "tokens_second": after[1]})
    return found


def _text(document: Row) -> Group:
    parts: list[Any] = [plain(f"release {document['first']} and release {document['second']}")]
    for name in ("checks", "raw", "tables", "usage"):
        rows = document[name]
        if rows:
            parts += [plain(f"{name} that differ"), table(rows)]
        else:
            parts.append(plain(f"{name}: {'the same' if rows is not None else document['unread']}"))
    if document["truncated"]:
        parts.append(plain(f"there are more tables or tenants than these {MOST_ROWS}"))
    return Group(*parts)
