"""Raw JSON lines to Parquet, all columns: the parse stage against DuckDB."""

from __future__ import annotations

import duckdb

from bench.agreement import Disagreement
from bench.commands import fresh, ours, work_of, yardstick
from bench.data import Data
from bench.meter import Usage
from bench.pairs import in_turn
from bench.results import Row, against

AT_MOST = 2.0


def measure(data: Data, rounds: int) -> list[Row]:
    """One row."""
    usages = in_turn([lambda: _ours(data), lambda: _duckdb(data)], rounds)
    return [
        against(
            "parse",
            "raw to Parquet of events, strict",
            "DuckDB: COPY (read_json) TO Parquet",
            data.lines,
            (usages[0], usages[1]),
            at_most=AT_MOST,
        )
    ]


def _ours(data: Data) -> Usage:
    with data.scratch() as folder:
        store = fresh(data, folder)
        usage = work_of(ours("parse", store))
        _check(data, f"{store}/parsed/*/*/*/*.events.parquet")
    return usage


def _duckdb(data: Data) -> Usage:
    with data.scratch() as folder:
        usage = work_of(yardstick("duckdb_parse", folder / "events.parquet", data.files))
        _check(data, f"{folder}/events.parquet")
    return usage


def _check(data: Data, pattern: str) -> None:
    """As many events as there are lines, but for the dirt."""
    row = duckdb.execute("SELECT count(*) FROM read_parquet(?) WHERE event_id IS NOT NULL", [pattern]).fetchone()
    count = row[0] if row else 0
    if not data.lines * (1 - data.dirt) <= count <= data.lines:
        raise Disagreement(f"{count} events of {data.lines} lines in {pattern.rpartition('/')[2]}")
