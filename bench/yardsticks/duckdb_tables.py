"""``usage_hourly`` and ``latency_hourly`` by DuckDB, from JSON lines or from Parquet of parsed events.

``python -m bench.yardsticks.duckdb_tables OUT FILE...``
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import duckdb

from bench.meter import phase
from bench.ours import WORK
from bench.yardsticks.shape import GROWTH, TOKENS, types

_SERVED = "api_version, model, route, protocol"
_FROM_JSON = """
    SELECT date_trunc('hour', moment) AS hour, * EXCLUDE (moment)
    FROM (
        SELECT coalesce(TRY_CAST(ts AS TIMESTAMPTZ), to_timestamp(TRY_CAST(ts AS BIGINT) / 1000)) AS moment,
            tenant, api_version, coalesce(model, 'unknown') AS model, route, coalesce(protocol, 'http') AS protocol,
            coalesce(outcome, CASE WHEN status = 429 THEN 'denied' WHEN status = 499 THEN 'cancelled'
                                   WHEN status < 400 THEN 'ok' ELSE 'error' END) AS outcome,
            {tokens}, coalesce(wanted_tokens, 0) AS wanted_tokens,
            round_even(coalesce(gpu_ms, 0) * 1000, 0)::BIGINT AS gpu_us,
            coalesce(bytes_in, 0) AS bytes_in, coalesce(bytes_out, 0) AS bytes_out,
            round_even(duration_ms * 1000, 0)::BIGINT AS duration_us, round_even(ttft_ms * 1000, 0)::BIGINT AS ttft_us
        FROM read_json({files}, format = 'newline_delimited', columns = {columns}, ignore_errors = true)
    ) WHERE moment IS NOT NULL AND tenant IS NOT NULL"""
_USAGE = """
    SELECT hour, tenant, {served}, count(*) AS requests, count_if(outcome = 'ok') AS ok,
        count_if(outcome = 'error') AS errors, count_if(outcome = 'denied') AS denied,
        count_if(outcome = 'cancelled') AS cancelled, {sums}, sum({total})::BIGINT AS total_tokens,
        sum(CASE WHEN outcome = 'denied' THEN coalesce(wanted_tokens, 0) ELSE 0 END)::BIGINT AS wanted_tokens,
        sum(gpu_us) / 1000 AS gpu_ms, sum(bytes_in)::BIGINT AS bytes_in, sum(bytes_out)::BIGINT AS bytes_out
    FROM events GROUP BY ALL"""
_LATENCY = """
    SELECT hour, {served}, outcome, metric, ceil(ln(greatest(us, 1)) / ln({growth}))::INTEGER AS bucket,
        count(*) AS count
    FROM (
        SELECT *, unnest(['duration', 'ttft', 'itl']) AS metric, unnest([duration_us, ttft_us, itl_us]) AS us
        FROM (SELECT *, CASE WHEN output_tokens + reasoning_tokens > 1 THEN
            round_even((duration_us - ttft_us) / (output_tokens + reasoning_tokens - 1), 0)::BIGINT END AS itl_us
            FROM (SELECT {needed} FROM events))
    ) WHERE us IS NOT NULL GROUP BY ALL"""


def tables(out: Path, files: list[str]) -> None:
    """Both tables, one Parquet file each."""
    connection = duckdb.connect(config={"threads": len(os.sched_getaffinity(0))})
    connection.execute("SET TimeZone = 'UTC'")
    if files[0].endswith(".parquet"):
        connection.execute(f"CREATE VIEW events AS FROM read_parquet({files})")
    else:
        tokens = ", ".join(f"coalesce({name}, 0) AS {name}" for name in TOKENS)
        columns = types("VARCHAR", "BIGINT", "DOUBLE")
        source = _FROM_JSON.format(files=files, columns=columns, tokens=tokens)
        connection.execute(f"CREATE TEMP TABLE events AS {source}")
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in TOKENS)
    needed = f"hour, {_SERVED}, outcome, output_tokens, reasoning_tokens, duration_us, ttft_us"
    queries = {
        "usage_hourly": _USAGE.format(served=_SERVED, sums=sums, total=" + ".join(TOKENS)),
        "latency_hourly": _LATENCY.format(served=_SERVED, growth=GROWTH, needed=needed),
    }
    for name, query in queries.items():
        (out / name).mkdir(parents=True)
        connection.execute(f"COPY ({query}) TO '{out / name / 'part-0.parquet'}' (FORMAT parquet, COMPRESSION zstd)")


if __name__ == "__main__":
    with phase(WORK):
        tables(Path(sys.argv[1]), sys.argv[2:])
