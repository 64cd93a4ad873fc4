"""How fast versions answer: histograms of many hours merged, and quantiles of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

from quotaloop.cli.mcp.desk import Answer
from quotaloop.cli.mcp.opened import opened, release_now, where
from quotaloop.latency import QUANTILES, quantile_ms
from quotaloop.marts.tables import LATENCY_HOURLY, LATENCY_SUMMARY
from quotaloop.terminal.output import grid

if TYPE_CHECKING:
    from jobs.work import Work

_COLUMNS = ["api_version", "metric", "count", "min_ms", *(name for name, _, _ in QUANTILES), "max_ms"]


def latency(work: Work, *, api_version: str | None, model: str | None, since: str | None, until: str | None) -> Answer:
    """Attempts with outcome ok, a row for each version and metric; quantiles lie within 1 % of exact ones.

    Buckets of all hours, models, routes and protocols are added up, so these are no means of quantiles.
    """
    condition, given = where(since, until, {"api_version": api_version, "model": model})
    release = release_now(work)
    with opened(work, release, [LATENCY_HOURLY.name, LATENCY_SUMMARY.name]) as connection:
        histograms = _histograms(connection, condition, given)
        bounds = _bounds(connection, condition, given)
    rows = [[*key, sum(found.values()), *_quantiles(found, *bounds[key])] for key, found in histograms.items()]
    found = {"columns": _COLUMNS, "rows": rows, "truncated": False}
    return Answer({"release": release.number, "since": since, "until": until, **found}, grid(found))


def _histograms(
    connection: duckdb.DuckDBPyConnection, condition: str, given: dict[str, object]
) -> dict[tuple[str, str], dict[int, int]]:
    """Bucket to count, by version and metric."""
    statement = f"""
        SELECT api_version, metric, bucket, sum("count")::BIGINT
        FROM (FROM {LATENCY_HOURLY.name} {condition}) WHERE outcome = 'ok' GROUP BY ALL ORDER BY ALL"""
    found: dict[tuple[str, str], dict[int, int]] = {}
    for version, metric, bucket, count in connection.execute(statement, given).fetchall():
        found.setdefault((version, metric), {})[bucket] = count
    return found


def _bounds(
    connection: duckdb.DuckDBPyConnection, condition: str, given: dict[str, object]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Least and greatest value in ms, by version and metric."""
    statement = f"""
        SELECT api_version, metric, min(min_ms), max(max_ms)
        FROM {LATENCY_SUMMARY.name} {condition} GROUP BY ALL"""
    return {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(statement, given).fetchall()}


def _quantiles(histogram: dict[int, int], least: float, greatest: float) -> list[Any]:
    within = {"min_us": round(least * 1000), "max_us": round(greatest * 1000)}
    return [least, *(quantile_ms(histogram, *share, **within) for _, *share in QUANTILES), greatest]
