"""How results are shown: as JSON documents and as tables, with nothing in them that a terminal would obey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from quotaloop.marts.release import Release, Verdict, numbers, read_release, release_path
from quotaloop.marts.rollback import is_pinned
from quotaloop.marts.values import json_value
from quotaloop.quotas.policy import rfc3339
from quotaloop.storage.store import Store

if TYPE_CHECKING:
    import duckdb

    from quotaloop.raw.kafka.landing import Landed


def plain(value: object) -> Text:
    """A value as text; control and format characters are spelled out, markup is not obeyed."""
    text = (
        "" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )
    return Text(spelled_out(text))


def spelled_out(text: str) -> str:
    """Text with everything in it that a terminal would obey written as an escape."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def table(rows: Sequence[Mapping[str, Any]]) -> Table | Text:
    """Rows with the same keys as a table."""
    if not rows:
        return Text("nothing")
    return grid({"columns": list(rows[0]), "rows": [list(row.values()) for row in rows]})


def grid(document: Mapping[str, Any]) -> Table:
    """``{"columns": [...], "rows": [[...]]}`` as a table."""
    shown = Table(show_edge=False, pad_edge=False)
    for place, name in enumerate(document["columns"]):
        numeric = any(isinstance(row[place], int | float) for row in document["rows"][:20])
        shown.add_column(plain(name), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    for row in document["rows"]:
        shown.add_row(*map(plain, row))
    return shown


def rows(relation: duckdb.DuckDBPyRelation) -> dict[str, Any]:
    """A query's result: times as RFC 3339, integers as integers, bytes as base64."""
    return {"columns": relation.columns, "rows": [[json_value(value) for value in row] for row in relation.fetchall()]}


def landed_topic(done: Landed) -> dict[str, Any]:
    """What a landing from Kafka did."""
    return {
        "topic": done.topic,
        "lines": sum(item.lines for item in done.copied),
        "bytes": sum(item.bytes for item in done.copied),
        "lost": sum(item.lost for item in done.copied),
        "ranges": [str(item.range) for item in sorted(done.copied, key=lambda item: item.range)],
        "waiting": {str(number): left for number, left in sorted(done.waiting.items())},
        "watermark": rfc3339(done.watermark_ms) if done.watermark_ms is not None else None,
        "notes": done.said,
    }


def landed_topic_text(document: Mapping[str, Any]) -> Group:
    """The same for people."""
    ranges, waiting = len(document["ranges"]), sum(document["waiting"].values())
    head = f"{document['topic']}: {document['lines']:,} lines in {ranges} ranges" if ranges else "nothing new to land"
    lines = [plain(head), *map(plain, document["notes"])]
    if waiting:
        lines.append(plain(f"{waiting:,} offsets wait: they are younger than land_after, or in open transactions"))
    return Group(*lines)


def landed(files: Sequence[Mapping[str, Any]], derived: Sequence[str]) -> Group:
    """What was landed, and what of it is derived."""
    lines = [
        plain(f"{row['file']}: landed before, skipped" if row["skipped"] else f"{row['file']}: {row['lines']:,} lines")
        for row in files
    ]
    if derived:
        lines.append(Text(f"derived, for the source does not state them: {', '.join(derived)}"))
    return Group(*lines)


def verdict(item: Verdict) -> dict[str, Any]:
    """A verdict as JSON."""
    return asdict(item)


def verdicts(items: Sequence[Verdict]) -> Group:
    """A line a verdict."""
    return Group(*(plain(f"{_word(item):7} {item.check}: {item.detail}") for item in items))


def _word(item: Verdict) -> str:
    return "ok" if item.ok else "waived" if item.waived else "REFUSED"


def releases(store: Store) -> list[dict[str, Any]]:
    """All releases, oldest first."""
    times = {info.path: info.modified_ms for info in store.files("releases")}
    known = [read_release(store, number) for number in numbers(store)]
    return [
        {
            "release": item.number,
            "parent": item.parent,
            "written": json_value(datetime.fromtimestamp(times[release_path(item.number)] / 1000, UTC)),
            "days": len(item.days),
            "lines": sum(span.end - span.start for span in item.raw),
            "code": item.code,
            "waivers": len(item.waivers),
            "content_of": item.rolled_back_to,
            "pinned": is_pinned(store, item) if item.number == known[-1].number else False,
        }
        for item in known
    ]


def releases_text(documents: Sequence[Mapping[str, Any]]) -> Table | Text:
    """All releases for people."""
    hidden = ("parent", "code")
    shown = [{name: value for name, value in row.items() if name not in hidden} for row in documents]
    for row in shown:
        row["written"] = row["written"][:19].replace("T", " ")
        row["pinned"] = "yes" if row["pinned"] else ""
    return table(shown)


def release(item: Release) -> Group:
    """One release for people."""
    spans = [asdict(span) for span in item.raw]
    head = Text(f"release {item.number}, after {item.parent or 'none'}, code {item.code}, {len(item.days)} days")
    return Group(head, table(spans), verdicts(item.checks))


def quarantined(document: Mapping[str, Any]) -> Table:
    """Quarantined lines, a line each: where, why, and how the line begins."""
    shown = Table(show_edge=False, pad_edge=False)
    for name in ("where", "reason", "bytes", "begins"):
        shown.add_column(name, justify="right" if name == "bytes" else "left", no_wrap=name != "begins")
    for values in document["rows"]:
        row = dict(zip(document["columns"], values, strict=True))
        where = f"{row['topic']}/{row['partition']}/{row['offset']}"
        begins = plain(row["raw"][:200])
        begins.no_wrap, begins.overflow = True, "ellipsis"
        shown.add_row(plain(where), plain(row["reason"]), plain(row["length"]), begins)
    return shown


def replayed(document: Mapping[str, Any]) -> Group:
    """What a replay of the quarantine found."""
    head = Text(f"{document['lines']:,} lines in quarantine, {document['changed']:,} of them would get another outcome")
    return Group(head, table(document["outcomes"]))


def status(document: Mapping[str, Any]) -> Group:
    """The store at a glance."""
    pending = document["pending"]
    lines = [
        plain(f"store      {document['store']}"),
        Text(f"landed     {document['landed']['lines']:,} lines in {document['landed']['ranges']:,} ranges"),
        Text(f"pending    {pending['ranges']:,} ranges to release, {pending['unparsed']:,} to parse"),
        *([Text(f"closed     hours before {document['closed_before']}")] if document["closed_before"] else []),
        Text(f"release    {document['release'] or 'none'}{', pinned by a rollback' if document['pinned'] else ''}"),
        Text(f"policy     {_policy(document['policy'])}{', to be published' if pending['publication'] else ''}"),
    ]
    lines += [plain(f"unfinished: {name}; land it again") for name in document["unfinished"]]
    return Group(*lines, table(document["topics"]))


def _policy(policy: Mapping[str, Any] | None) -> str:
    if policy is None:
        return "none"
    return f"{policy['epoch']} of release {policy['release']}, valid {policy['valid_from']} to {policy['expires_at']}"
