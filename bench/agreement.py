"""Whether two programs have made the same tables: a yardstick that counts something else measures nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from quotaloop.marts.release import newest
from quotaloop.marts.tables import INGEST_LEDGER, LATENCY_HOURLY, PUBLISHED, USAGE_HOURLY
from quotaloop.marts.views import open_views
from quotaloop.storage.local import LocalStore

COMPARED = (USAGE_HOURLY.name, LATENCY_HOURLY.name)
_TOTALS = {
    USAGE_HOURLY.name: (
        "requests",
        "ok",
        "errors",
        "denied",
        "cancelled",
        "total_tokens",
        "wanted_tokens",
        "bytes_out",
    ),
    LATENCY_HOURLY.name: ("count", "count * bucket"),
}
_COUNTS = ("usage_hourly: requests", "usage_hourly: ok", "latency_hourly: count")

Tables = dict[str, pa.Table]


class Disagreement(RuntimeError):
    """Two programs that should do the same work do not."""


def of_store(store: Path, names: Sequence[str] = COMPARED) -> Tables:
    """Tables of the only build in a store."""
    return {name: _read(sorted((store / "marts" / name).rglob("*.parquet")), name) for name in names}


def of_folder(folder: Path, names: Sequence[str] = COMPARED) -> Tables:
    """Tables in a folder a table, as Parquet."""
    return {name: _read(sorted((folder / name).rglob("*.parquet")), name) for name in names}


def of_release(store: Path) -> Tables:
    """Every published table of the newest release."""
    opened = LocalStore(store)
    release = newest(opened)
    if release is None:
        raise Disagreement("there is no release")
    with open_views(opened, release) as connection:
        names = [name for name in PUBLISHED if name != INGEST_LEDGER.name]  # it has a row for each file
        return {name: connection.sql(f"FROM {name}").to_arrow_table() for name in names}


def of_recount(store: Path) -> Tables:
    """Tables that MapReduce has made in a store, with milliseconds as they are published."""
    (folder,) = store.glob("builds/*/recount*/")
    usage = "SELECT * EXCLUDE (gpu_us), gpu_us / 1000 AS gpu_ms FROM read_parquet(?)"
    table = _connection().sql(usage, params=[f"{folder}/{USAGE_HOURLY.name}.parquet"]).to_arrow_table()
    latency = pq.read_table(folder / f"{LATENCY_HOURLY.name}.parquet")
    return {USAGE_HOURLY.name: _cast(table, USAGE_HOURLY.name), LATENCY_HOURLY.name: latency}


def of_mrjob(folder: Path) -> Tables:
    """Tables from the output of ``mr_usage_latency``."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in COMPARED}
    for name, row in _lines(folder):
        rows[name].append(row)
    return {name: _cast(pa.Table.from_pylist(found), name) for name, found in rows.items()}


def totals(tables: Tables) -> dict[str, int]:
    """Sums over both tables, by name."""
    found: dict[str, int] = {}
    for name, sums in _TOTALS.items():
        query = ", ".join(f"sum({expression})::BIGINT" for expression in sums)
        row = _connection(rows=tables[name]).execute(f"SELECT {query} FROM rows").fetchone() or ()
        found |= {f"{name}: {expression}": value or 0 for expression, value in zip(sums, row, strict=True)}
    return found


@dataclass(slots=True)
class Agreement:
    """All programs of a measurement have to see the same lines; ``share`` of them may be in dispute."""

    share: float
    _first: dict[str, int] = field(default_factory=dict)

    def see(self, tables: Tables) -> None:
        """Raise ``Disagreement`` if these tables count other requests or latencies than the first ones."""
        found = totals(tables)
        first = self._first = self._first or found
        wrong = [
            name for name in _COUNTS if not found[name] or abs(found[name] - first[name]) > self.share * first[name]
        ]
        if wrong:
            raise Disagreement("; ".join(f"{name} is {found[name]}, and was {first[name]}" for name in wrong))


def differing(ours: pa.Table, theirs: pa.Table) -> int:
    """How many rows only one of two tables has; milliseconds are compared to the microsecond."""
    names = ", ".join(
        f'round("{column.name}", 3)' if pa.types.is_floating(column.type) else f'"{column.name}"'
        for column in ours.schema
    )
    row = _connection(a=ours, b=theirs).execute(
        f"SELECT (SELECT count(*) FROM (SELECT {names} FROM a EXCEPT ALL SELECT {names} FROM b))"
        f" + (SELECT count(*) FROM (SELECT {names} FROM b EXCEPT ALL SELECT {names} FROM a))"
    )
    return int((row.fetchone() or (0,))[0])


def _connection(**tables: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name, table in tables.items():
        connection.register(name, table)
    return connection


def _read(paths: Sequence[Path], name: str) -> pa.Table:
    if not paths:
        raise Disagreement(f"there is no {name}")
    listed = [str(path) for path in paths]
    query = f"FROM read_parquet({listed}, hive_partitioning = false)"
    return _cast(_connection().sql(query).to_arrow_table(), name)


def _cast(table: pa.Table, name: str) -> pa.Table:
    """Types as they are published; from dirt, those who check nothing have rows without a name."""
    schema = pa.schema([column.with_nullable(True) for column in PUBLISHED[name].schema])
    return table.select(schema.names).cast(schema)


def _lines(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.glob("part-*")):
        for line in path.read_text("utf-8").splitlines():
            key, value = (json.loads(part) for part in line.split("\t"))
            name, *words = key
            grain = {
                column: word if column == "bucket" else str(word)  # where dirt has a number for a name
                for column, word in zip(PUBLISHED[name].grain, words, strict=True)
            }
            grain["hour"] = datetime.fromisoformat(grain["hour"])
            yield name, grain | (_usage(value) if name == USAGE_HOURLY.name else {"count": value})


def _usage(value: dict[str, int]) -> dict[str, float]:
    value = {name: number if number < 2**63 else 0 for name, number in value.items()}  # no 64-bit integer: dirt
    row: dict[str, float] = {column.name: value.get(column.name, 0) for column in USAGE_HOURLY.measures}
    tokens = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    return row | {
        "errors": value.get("error", 0),
        "total_tokens": sum(value[name] for name in tokens),
        "gpu_ms": value["gpu_us"] / 1000,
    }
