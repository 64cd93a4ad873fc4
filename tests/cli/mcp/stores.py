"""A store small enough to know every number in it: two releases, two policies."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from quotaloop.latency import bucket
from quotaloop.quotas.policy import store_policy
from tests.marts.handmade import DAY, HOUR, Handmade, Row, at, limit, policy

SINKS = json.dumps({"edge": {"type": "file", "path": "edge.json", "algorithms": {"tokens": "fixed_window"}}})
NEXT_DAY = DAY + 24 * HOUR


def stored(root: Path) -> Handmade:
    """Hours 0 and 1 of a day in release 1, and the first hour of the next day in release 2 besides."""
    made = Handmade(root)
    made.add(
        "usage_hourly",
        used(0, "a", requests=3, ok=3, total_tokens=30, gpu_ms=0.1),
        used(0, "a", requests=1, ok=1, total_tokens=9, gpu_ms=0.2, api_version="v2"),
        used(1, "a", requests=2, ok=1, denied=1, total_tokens=10, gpu_ms=0.3),
        used(1, "b", requests=5, ok=5, total_tokens=50),
        hours=[DAY, DAY + HOUR],
    )
    durations(made)
    attempts(made)
    made.add_ledger({"topic": "t", "lines": 10, "accepted": 10, "end_offset": 10})
    made.counted(DAY, DAY + HOUR)
    made.publish()
    made.add("usage_hourly", used(24, "b", requests=7, ok=7, total_tokens=70), hours=[NEXT_DAY])
    made.counted(NEXT_DAY, word="once")
    made.publish()
    evidence = {"bound_by": "want", "releases": [1]}
    store_policy(made.store, policy(1, limit("a", "tokens", 500, evidence=evidence)))
    store_policy(made.store, policy(2, limit("a", "tokens", 1_000, evidence=evidence), release=2))
    return made


def used(hour: int, tenant: str, **amounts: object) -> Row:
    """A row of usage, of version v1 and model m."""
    return {"hour": at(hour), "tenant": tenant, "api_version": "v1", "model": "m", **amounts}


def durations(made: Handmade) -> None:
    """Of v1: three of 1 ms in hour 0, two of 4 ms in hour 1, errors of a minute; of v2 and model n one of 9 ms."""
    cells: list[Row] = []
    summaries: list[Row] = []
    for hour, version, model, micros, count in (
        (0, "v1", "m", 1_000, 3),
        (1, "v1", "m", 4_000, 2),
        (1, "v2", "n", 9_000, 1),
    ):
        key: Row = {"hour": at(hour), "api_version": version, "model": model, "metric": "duration"}
        cells.append(key | {"outcome": "ok", "bucket": bucket(micros), "count": count})
        value = micros / 1000
        quantiles = dict.fromkeys(("min_ms", "max_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms"), value)
        summaries.append(key | {"count": count, "sum_ms": value * count, **quantiles})
    error: Row = {"hour": at(0), "api_version": "v1", "model": "m", "metric": "duration", "outcome": "error"}
    made.add("latency_hourly", *cells, error | {"bucket": bucket(60_000_000), "count": 9}, hours=[DAY, DAY + HOUR])
    made.add("latency_summary", *summaries, hours=[DAY, DAY + HOUR])


def attempts(made: Handmade) -> None:
    """Of ``a`` in hour 0: nine requests of 10 tokens, three a minute."""
    rows: list[Row] = []
    for place in range(9):
        row: Row = {"event_id": f"a-{place}", "ts": at(0) + timedelta(seconds=20 * place), "hour": at(0), "tenant": "a"}
        row |= {"model": "m", "api_version": "v1", "outcome": "ok", "status": 200, "duration_us": 1_000, "gpu_us": 0}
        rows.append(row | {"topic": "t", "offset": place, "input_tokens": 10, "total_tokens": 10})
    made.add("events", *rows, hours=[DAY])
