"""The tables of a recount: those that are published, in integers alone, and two that prove the ledger."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from quotaloop.marts import tables
from quotaloop.marts.tables import INT, LONG, TEXT, TIME, Table

_MICROS = {"gpu_ms": "gpu_us", "min_ms": "min_us", "max_ms": "max_us", "sum_ms": "sum_us"}


def _in_integers(table: Table) -> pa.Schema:
    """Milliseconds as the whole microseconds they are derived from; quantiles, derived from buckets, are left out."""
    fields = []
    for column in table.columns:
        if column.type != tables.DOUBLE:
            fields.append(pa.field(column.name, column.type, column.nullable))
        elif column.name in _MICROS:
            fields.append(pa.field(_MICROS[column.name], LONG, column.nullable))
    return pa.schema(fields)


def _longs(*names: str) -> list[pa.Field]:
    return [pa.field(name, LONG, nullable=False) for name in names]


_FILE = [pa.field("topic", TEXT, False), pa.field("partition", INT, False), pa.field("start_offset", LONG, False)]

OUTCOMES = pa.schema(
    [pa.field("hour", TIME, False), *_FILE, *_longs("accepted", "duplicate", "conflicting")],
)
LINES = pa.schema(
    [
        *_FILE,
        *_longs("end_offset", "lines", "late"),
        pa.field("reasons", pa.map_(TEXT, LONG), nullable=False),
        pa.field("unknown_fields", pa.map_(TEXT, LONG), nullable=False),
    ]
)

SCHEMAS: dict[str, pa.Schema] = {
    **{table.name: _in_integers(table) for table in tables.HOURLY},
    "outcomes": OUTCOMES,
    "lines": LINES,
}
GRAINS: dict[str, tuple[str, ...]] = {
    **{table.name: table.grain for table in tables.HOURLY},
    "outcomes": ("hour", "topic", "partition", "start_offset"),
    "lines": ("topic", "partition", "start_offset"),
}


def shaped(name: str, columns: Mapping[str, pa.Array]) -> pa.Table:
    """Columns of one length as the table ``name``; those that are not there are null."""
    schema, rows = SCHEMAS[name], len(next(iter(columns.values())))
    return pa.table(
        [
            columns[field.name].cast(field.type) if field.name in columns else pa.nulls(rows, field.type)
            for field in schema
        ],
        schema=schema,
    )
