"""Most requests in flight at one instant, per hour and tenant: a sweep over beginnings and ends."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.spark.sql import Connection
from quotaloop.events.columns import TIME

HOUR_US = 3_600_000_000

Longs = npt.NDArray[np.int64]


def concurrency(db: Connection, hours: Collection[int]) -> pa.Table:
    """``hour``, ``tenant``, ``peak`` of attempts of ``reaching`` that were not denied, for these hours (epoch ms).

    An attempt is in flight in [start, start + max(duration, 1 us)).
    """
    first, last = min(hours) * 1000, max(hours) * 1000 + HOUR_US
    query = f"""
        WITH flights AS (
            SELECT tenant, epoch_ms(ts) * 1000 AS start, epoch_ms(ts) * 1000 + greatest(duration_us, 1) AS stop
            FROM reaching WHERE outcome <> 'denied')
        SELECT tenant, start, stop, unnest(range(
            greatest(start, {first}) // {HOUR_US}, (least(stop, {last}) - 1) // {HOUR_US} + 1)) AS hour
        FROM flights WHERE stop > {first} AND start < {last}"""
    pieces = db.sql(query).to_arrow_table()
    wanted = pa.array(sorted(hour * 1000 // HOUR_US for hour in hours), pa.int64())
    pieces = pieces.filter(pc.is_in(pieces["hour"], wanted))
    if pieces.num_rows == 0:
        schema = pa.schema([("hour", TIME), ("tenant", pa.string()), ("peak", pa.int64())])
        return schema.empty_table()
    tenants = pieces["tenant"].dictionary_encode().combine_chunks()
    names, codes = tenants.dictionary, tenants.indices.to_numpy().astype(np.int64)
    hour = pieces["hour"].to_numpy()
    groups, peak = peak_by_group(hour * len(names) + codes, hour, pieces["start"].to_numpy(), pieces["stop"].to_numpy())
    return pa.table(
        {
            "hour": pa.array(groups // len(names) * (HOUR_US // 1000)).cast(TIME),
            "tenant": names.take(pa.array(groups % len(names))),
            "peak": pa.array(peak),
        }
    )


def peak_by_group(groups: Longs, hours: Longs, start: Longs, end: Longs) -> tuple[Longs, Longs]:
    """The groups in order and their greatest overlap; intervals [start, end) in us are cut to their hour's bounds."""
    begin = np.maximum(start, hours * HOUR_US)
    stop = np.minimum(end, (hours + 1) * HOUR_US)
    key = np.concatenate((groups, groups))
    time = np.concatenate((begin, stop))
    step = np.concatenate((np.ones(len(begin), dtype=np.int64), -np.ones(len(stop), dtype=np.int64)))
    order = np.lexsort((step, time, key))  # at one instant what ends goes before what begins
    key, level = key[order], np.cumsum(step[order])
    first = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    return key[first], np.maximum.reduceat(level, first)
