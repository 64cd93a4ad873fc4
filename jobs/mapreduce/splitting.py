"""A block's events into pieces, one for each hour and shard of tenants that a reducer will hold."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.mapreduce.packing import encoded, key, narrow, pack
from jobs.mapreduce.plan import Plan
from jobs.mapreduce.rows import IDS, SHIPPED, WORDS, Bools, Longs
from quotaloop.events.columns import HOUR_MS
from quotaloop.raw.ranges import Range


def split(events: pa.Table, item: Range, plan: Plan) -> Iterator[tuple[bytes, bytes, int]]:
    """Key, piece and number of events for each hour and shard among the hours that are read."""
    ts = events["ts"].cast(pa.int64()).to_numpy()
    hours = ts - ts % HOUR_MS
    wanted: Bools = np.isin(hours, np.asarray(plan.read, dtype=np.int64))
    if not wanted.all():
        events, ts, hours = events.filter(pa.array(wanted)), ts[wanted], hours[wanted]
    if not len(ts):
        return
    group = (hours - hours.min()) // HOUR_MS * plan.shards + tenant_shards(events["tenant"], plan.shards)
    count = len(np.unique(group))
    columns = {name: _shippable(events, name, ts % HOUR_MS, count) for name in SHIPPED}
    table = pa.table(columns)
    if (group[1:] < group[:-1]).any():
        order = np.argsort(group, kind="stable")
        table, group, hours = table.take(pa.array(order)), group[order], hours[order]
    starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    note = {"topic": item.topic, "partition": str(item.partition), "start": str(item.start)}
    for first, last in zip(starts.tolist(), [*starts[1:].tolist(), len(group)], strict=True):
        name = key("hour", int(hours[first]), int(group[first] % plan.shards))
        yield name, pack(table.slice(first, last - first), note), last - first


def tenant_shards(tenants: pa.ChunkedArray, shards: int) -> Longs:
    """The shard of each tenant; the same in every task."""
    if shards == 1:
        return np.zeros(len(tenants), dtype=np.int64)
    names = pc.unique(tenants)
    shard = np.array([crc32(name.encode()) % shards for name in names.to_pylist()], dtype=np.int64)
    found: Longs = shard[pc.index_in(tenants, names).to_numpy()]
    return found


def _shippable(events: pa.Table, name: str, in_hour: Longs, pieces: int) -> pa.ChunkedArray:
    if name == "ts":
        return pa.chunked_array([pa.array(in_hour.astype(np.int32))])
    if name in IDS:
        return events[name]
    return encoded(events[name], pieces) if name in WORDS else narrow(events[name])
