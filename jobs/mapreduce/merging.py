"""Parts of the tables whose grain has no tenant, added up over the shards of an hour."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from jobs.mapreduce.groups import Groups
from jobs.mapreduce.packing import longs, unpack
from jobs.mapreduce.rows import Longs, numbered
from jobs.mapreduce.schemas import GRAINS, SCHEMAS


def merge(name: str, pieces: Iterable[bytes]) -> pa.Table:
    """Rows with the same grain as one: least of ``min_us``, greatest of ``max_us``, sums of all else."""
    schema, grain = SCHEMAS[name], GRAINS[name]
    parts = pa.concat_tables([unpack(piece)[0].cast(schema) for piece in pieces])
    groups = Groups(*(_code(parts[key]) for key in grain))
    rows = parts.take(pa.array(groups.first))

    def named(group: int) -> str:
        return f"{name} of {', '.join(f'{key}={rows[key][group].as_py()}' for key in grain)}"

    columns = []
    for field in schema:
        if field.name in grain:
            columns.append(rows[field.name])
        elif field.name == "min_us":
            columns.append(pa.array(groups.least(longs(parts[field.name]))))
        elif field.name == "max_us":
            columns.append(pa.array(groups.greatest(longs(parts[field.name]))))
        else:
            columns.append(pa.array(groups.sums(longs(parts[field.name]), named)))
    return pa.table(columns, schema=schema)


def _code(column: pa.ChunkedArray) -> Longs:
    if pa.types.is_string(column.type):
        return numbered([column])[0]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return np.asarray(longs(column))
