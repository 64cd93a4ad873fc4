"""Most requests in flight at one instant, per hour and tenant: a sweep over beginnings and ends."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

HOUR_US = 3_600_000_000
_SCHEMA = "hour timestamp, tenant string, peak long"

Longs = npt.NDArray[np.int64]


def concurrency(events: DataFrame) -> DataFrame:
    """``hour``, ``tenant``, ``peak`` of attempts that were not denied, for every hour that one of them is in flight in.

    An attempt is in flight in [start, start + max(duration, 1 us)).
    """
    start = F.unix_millis("ts") * 1000
    end = start + F.greatest("duration_us", F.lit(1))
    flights = events.where("outcome <> 'denied'").select("tenant", start.alias("start"), end.alias("end"))
    hours = F.sequence(F.expr(f"start div {HOUR_US}"), F.expr(f"(end - 1) div {HOUR_US}"))
    pieces = flights.withColumn("hour", F.explode(hours))
    return pieces.repartition("hour", "tenant").mapInArrow(_sweep, _SCHEMA)


def _sweep(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """All pieces of the partition's hours and tenants, with ``start`` and ``end`` in us and ``hour`` as a number."""
    pieces = [batch for batch in batches if batch.num_rows]
    if not pieces:
        return
    table = pa.Table.from_batches(pieces)
    tenants = table["tenant"].combine_chunks().dictionary_encode()
    names, codes = tenants.dictionary, tenants.indices.to_numpy().astype(np.int64)
    hours = table["hour"].to_numpy()
    groups, peak = peak_by_group(hours * len(names) + codes, hours, table["start"].to_numpy(), table["end"].to_numpy())
    hour = pa.array(groups // len(names) * (HOUR_US // 1000)).cast(pa.timestamp("ms", tz="UTC"))
    yield pa.RecordBatch.from_arrays(
        [hour.cast(pa.timestamp("us", tz="UTC")), pc.take(names, pa.array(groups % len(names))), pa.array(peak)],
        names=["hour", "tenant", "peak"],
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
