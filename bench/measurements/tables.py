"""Raw JSON lines to tables: parse and build against plain PySpark and DuckDB; and build alone, from parsed Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.agreement import Agreement, of_folder, of_store
from bench.commands import fresh, ours, prepared, work_of, yardstick
from bench.data import Data, copied
from bench.meter import Usage
from bench.pairs import in_turn
from bench.results import Row, against

AT_MOST = 1.0
AT_MOST_OF_DUCKDB = 6.0
_ALL = "raw to all tables: strict, deduplicated, with ledger"
_TWO = "usage_hourly and latency_hourly alone, neither strict nor deduplicated"


@dataclass(frozen=True, slots=True)
class _Sides:
    data: Data
    agreement: Agreement

    def ours(self, store: Path) -> Usage:
        with self.data.scratch() as folder:
            usage = work_of(ours("tables", copied(store, folder / "store")))
            self.agreement.see(of_store(folder / "store"))
        return usage

    def yardstick(self, name: str, files: Sequence[Path]) -> Usage:
        with self.data.scratch() as folder:
            usage = work_of(yardstick(name, folder / "out", files))
            self.agreement.see(of_folder(folder / "out"))
        return usage


def measure(data: Data, rounds: int) -> list[Row]:
    """Two rows against PySpark, two against DuckDB."""
    sides = _Sides(data, Agreement(2 * data.dirt))
    with data.scratch() as folder:
        parsed = prepared("parse", fresh(data, folder))
        events = sorted(parsed.glob("parsed/*/*/*/*.events.parquet"))
        tables, all_tables, two_tables, duckdb, build, from_parquet = in_turn(
            [
                lambda: sides.ours(data.store),
                lambda: sides.yardstick("spark_all_tables", data.files),
                lambda: sides.yardstick("spark_two_tables", data.files),
                lambda: sides.yardstick("duckdb_tables", data.files),
                lambda: sides.ours(parsed),
                lambda: sides.yardstick("duckdb_tables", events),
            ],
            rounds,
        )
    rows: list[tuple[str, str, str, list[Usage], list[Usage], float | None]] = [
        ("tables", _ALL, "plain PySpark: all tables, unchecked", tables, all_tables, AT_MOST),
        ("tables-two", _ALL, f"plain PySpark: {_TWO}", tables, two_tables, AT_MOST),
        ("tables-duckdb", _ALL, f"DuckDB: {_TWO}", tables, duckdb, None),
        ("build", "parsed Parquet to all tables", f"DuckDB: {_TWO}", build, from_parquet, AT_MOST_OF_DUCKDB),
    ]
    return [
        against(name, work, other, data.lines, (mine, theirs), at_most=target)
        for name, work, other, mine, theirs, target in rows
    ]
