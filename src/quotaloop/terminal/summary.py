"""The closing summary of a run: what came in, who used what, how fast it was, what is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.rule import Rule
from rich.text import Text

from quotaloop.marts.values import json_value
from quotaloop.marts.views import open_views
from quotaloop.quotas.policy import EVERYTHING
from quotaloop.results import Done
from quotaloop.storage.store import Store
from quotaloop.terminal.output import plain, table

if TYPE_CHECKING:
    import duckdb

_LINES = """
    SELECT sum(lines)::BIGINT AS lines, sum(accepted)::BIGINT AS accepted, sum(duplicate)::BIGINT AS duplicate,
           sum(late)::BIGINT AS late, sum(quarantined)::BIGINT AS quarantined FROM ingest_ledger"""
_REASONS = """
    SELECT entry.key AS reason, sum(entry.value)::BIGINT AS lines
    FROM (SELECT unnest(map_entries(reasons)) AS entry FROM ingest_ledger) GROUP BY 1 ORDER BY 2 DESC, 1"""
_DRIFT = """
    SELECT topic, sum(lines)::BIGINT AS lines, sum(coalesce(reasons['missing_fields'], 0))::BIGINT AS missing_fields
    FROM ingest_ledger GROUP BY 1 HAVING missing_fields > 100 AND missing_fields * 100 > sum(lines) ORDER BY 1"""
_UNKNOWN = """
    SELECT entry.key AS field, sum(entry.value)::BIGINT AS events
    FROM (SELECT unnest(map_entries(unknown_fields)) AS entry FROM ingest_ledger)
    GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 10"""
_TENANTS = """
    SELECT tenant, sum(requests)::BIGINT AS requests, sum(denied)::BIGINT AS denied,
           sum(total_tokens)::BIGINT AS tokens FROM usage_daily GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 8"""
_PEAKS = """
    SELECT tenant, kind, max(peak_minute)::BIGINT AS peak_minute FROM rate_limit_usage
    WHERE kind IN ('requests', 'tokens') GROUP BY 1, 2"""
_LATENCY = """
    SELECT api_version, metric, bucket, sum(count)::BIGINT AS count FROM latency_daily
    WHERE outcome = 'ok' AND metric IN ('duration', 'ttft') GROUP BY 1, 2, 3"""
_EXTREMES = """
    SELECT api_version, metric, min(min_ms) AS least, max(max_ms) AS greatest
    FROM latency_summary_daily GROUP BY 1, 2"""

_TABLES = ("ingest_ledger", "usage_daily", "rate_limit_usage", "latency_daily", "latency_summary_daily")


def document(store: Store, done: Done) -> dict[str, Any]:
    """Everything the summary says, as JSON."""
    derivation = done.derivation
    said: dict[str, Any] = {
        "release": done.release.number if done.release else None,
        "released": done.released,
        "pinned": done.pinned,
        "policy": done.policy.epoch if done.policy else None,
        "policy_new": bool(derivation and derivation.is_new),
        "policy_message": derivation.message if derivation else None,
        "expires_at": json_value(done.policy.expires_at) if done.policy else None,
        "unfinished": list(done.unfinished),
    }
    if done.release is None:
        return said
    with open_views(store, done.release, tables=_TABLES) as connection:
        said["lines"] = _dicts(connection, _LINES)[0]
        said["reasons"] = {row["reason"]: row["lines"] for row in _dicts(connection, _REASONS)}
        said["unknown_fields"] = {row["field"]: row["events"] for row in _dicts(connection, _UNKNOWN)}
        said["drift"] = _dicts(connection, _DRIFT)
        said["tenants"] = _tenants(connection, done)
        said["latency"] = _latency(connection)
    return said


def text(said: dict[str, Any], *, seconds: float) -> Group:
    """The summary for people."""
    if said["pinned"]:
        pinned = f"release {said['release']} is pinned by a rollback: landed and parsed, nothing released"
        return Group(*(Text(line) for line in (pinned, said["policy_message"]) if line))
    if said["release"] is None:
        return Group(Text("nothing has landed yet: quotaloop land files PATH... --topic NAME"))
    parts: list[Any] = []
    if not said["released"]:
        parts.append(Text(f"nothing pending; release {said['release']} stands"))
    lines = said["lines"]
    parts.append(Rule("lines", align="left"))
    parts.append(Text("  ".join(f"{name} {lines[name]:,}" for name in lines)))
    if said["reasons"]:
        parts.append(Text("  ".join(f"{reason} {count:,}" for reason, count in said["reasons"].items())))
    if said["unknown_fields"]:
        names = "  ".join(f"{field} {count:,}" for field, count in said["unknown_fields"].items())
        parts.append(plain(f"not fields of the event, and not kept: {names}"))
    parts += [
        plain(
            f"DRIFT: {row['missing_fields']:,} of {row['lines']:,} lines in {row['topic']} lack a required field: "
            "has the gateway renamed one? quotaloop quarantine list --reason missing_fields"
        )
        for row in said["drift"]
    ]
    parts += [Rule("busiest tenants", align="left"), table([_shown(row) for row in said["tenants"]])]
    parts += [Rule("latency of ok, ms", align="left"), table(said["latency"])]
    parts.append(Rule(align="left"))
    parts.append(Text(f"release {said['release']}, policy {said['policy'] or 'none'} ({said['policy_message']})"))
    parts += [plain(f"left out, for its landing was cut off: {name}; land it again") for name in said["unfinished"]]
    parts.append(Text(f"{seconds:.1f} s"))
    return Group(*parts)


def _tenants(connection: duckdb.DuckDBPyConnection, done: Done) -> list[dict[str, Any]]:
    """The busiest tenants, with their greatest minute against the limit in force."""
    overall = [limit for limit in done.policy.limits if limit.scope == EVERYTHING] if done.policy else []
    limits = {(limit.tenant, limit.kind): limit.limit for limit in overall}
    peaks = {(row["tenant"], row["kind"]): row["peak_minute"] for row in _dicts(connection, _PEAKS)}
    rows = _dicts(connection, _TENANTS)
    for row in rows:
        for kind in ("requests", "tokens"):
            row[f"peak_minute_{kind}"] = peaks.get((row["tenant"], kind))
            row[f"limit_{kind}"] = limits.get((row["tenant"], kind))
    return rows


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A tenant's row with its greatest admitted minute against its limit, both per minute."""
    shown = {name: row[name] for name in ("tenant", "requests", "denied", "tokens")}
    for kind in ("requests", "tokens"):
        peak, limit = row[f"peak_minute_{kind}"], row[f"limit_{kind}"]
        shown[f"peak {kind}/min"] = f"{peak or 0:,} of {limit:,}" if limit is not None else f"{peak or 0:,}"
    return shown


def _latency(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """p50, p95 and p99 per API version, merged over all days."""
    from quotaloop.latency import quantile_ms

    bounds = {(row["api_version"], row["metric"]): row for row in _dicts(connection, _EXTREMES)}
    histograms: dict[tuple[str, str], dict[int, int]] = {}
    for row in _dicts(connection, _LATENCY):
        histograms.setdefault((row["api_version"], row["metric"]), {})[row["bucket"]] = row["count"]
    rows = []
    for key, histogram in sorted(histograms.items()):
        least, greatest = (round(bounds[key][name] * 1000) for name in ("least", "greatest"))
        row = {"api_version": key[0], "metric": key[1], "count": sum(histogram.values())}
        for percent in (50, 95, 99):
            row[f"p{percent}"] = round(quantile_ms(histogram, percent, 100, min_us=least, max_us=greatest), 1)
        rows.append(row)
    return rows


def _dicts(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    relation = connection.sql(sql)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
