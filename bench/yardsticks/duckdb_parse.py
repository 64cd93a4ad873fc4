"""JSON lines to Parquet by DuckDB, all columns: ``python -m bench.yardsticks.duckdb_parse OUT FILE...``."""

from __future__ import annotations

import os
import sys

import duckdb

from bench.meter import phase
from bench.ours import WORK
from bench.yardsticks.shape import types


def parse(out: str, files: list[str]) -> None:
    """One typed read, one write; a line that is no JSON is left out."""
    connection = duckdb.connect(config={"threads": len(os.sched_getaffinity(0))})
    columns = types("VARCHAR", "BIGINT", "DOUBLE")
    connection.execute(
        f"""
        COPY (
            FROM read_json({files}, format = 'newline_delimited', columns = {columns}, ignore_errors = true)
        ) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
        """
    )


if __name__ == "__main__":
    with phase(WORK):
        parse(sys.argv[1], sys.argv[2:])
