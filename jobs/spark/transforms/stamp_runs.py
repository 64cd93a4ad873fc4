"""Runs of stamps that follow one another without a hole, per hour, host and boot: what completeness is made of."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_SCHEMA = "hour timestamp, host string, boot string, first_seq long, last_seq long, events long"
_KEYS = ["hour", "host", "boot"]


def stamp_runs(events: DataFrame) -> DataFrame:
    """Maximal runs: ``hour``, ``host``, ``boot``, ``first_seq``, ``last_seq``, and ``events`` with duplicates."""
    stamped = events.where("seq is not null").select(*_KEYS, "seq")
    return stamped.repartition(*_KEYS).mapInArrow(_runs, _SCHEMA)


def prior_stamps(events: DataFrame) -> DataFrame:
    """What later boots say: ``hour``, ``host``, ``boot``, ``prev_boot``, ``prev_seq``, the greatest."""
    said = events.where("prev_boot is not null and host is not null")
    return said.groupBy(*_KEYS, "prev_boot").agg(F.max("prev_seq").alias("prev_seq"))


def _runs(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    pieces = [batch for batch in batches if batch.num_rows]
    if not pieces:
        return
    table = pa.Table.from_batches(pieces).combine_chunks()
    group, keys = _groups(table)
    order = np.lexsort((table["seq"].to_numpy(), group))
    group, seq = group[order], table["seq"].to_numpy()[order]
    new_group = np.concatenate(([True], group[1:] != group[:-1]))
    breaks = new_group | np.concatenate(([True], seq[1:] > seq[:-1] + 1))
    first = np.flatnonzero(breaks)
    last = np.concatenate((first[1:], [len(seq)])) - 1
    rows = keys.take(pa.array(group[first]))
    yield pa.RecordBatch.from_arrays(
        [
            *(rows[name].combine_chunks() for name in _KEYS),
            pa.array(seq[first]),
            pa.array(seq[last]),
            pa.array(last - first + 1),
        ],
        names=[*_KEYS, "first_seq", "last_seq", "events"],
    )


def _groups(table: pa.Table) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], pa.Table]:
    """A number for each row's (hour, host, boot), and the keys by that number."""
    keys = table.group_by(_KEYS).aggregate([])
    code = np.zeros(table.num_rows, dtype=np.int64)
    names = np.zeros(keys.num_rows, dtype=np.int64)
    for name in _KEYS:
        values = pc.unique(table[name])
        code = code * len(values) + pc.index_in(table[name], values).to_numpy().astype(np.int64)
        names = names * len(values) + pc.index_in(keys[name], values).to_numpy().astype(np.int64)
    order = np.argsort(names)
    return order[np.searchsorted(names, code, sorter=order)], keys
