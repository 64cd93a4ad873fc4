"""Outcomes across lines: which event of an id comes first, and which repeat or contradict it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jobs.mapreduce.groups import Groups
from jobs.mapreduce.rows import NUMBERS, WORDS, Rows
from jobs.mapreduce.schemas import shaped

ACCEPTED, DUPLICATE, CONFLICTING = 0, 1, 2
Verdicts = npt.NDArray[np.uint8]


def judge(rows: Rows) -> Verdicts:
    """A verdict for each row: of one tenant and id the first is accepted, and each other is held against it."""
    verdicts = np.zeros(len(rows), dtype=np.uint8)
    suspects = np.flatnonzero(np.bincount(rows["event_id"])[rows["event_id"]] > 1)
    same_id = Groups(rows["event_id"][suspects], rows["tenant"][suspects])
    first = suspects[same_id.first[same_id.of]]
    equal = np.ones(len(suspects), dtype=np.bool_)
    for name in ("ts", "retry_of", *WORDS, *NUMBERS):
        equal &= rows[name][suspects] == rows[name][first]
    verdicts[suspects] = np.where(suspects == first, ACCEPTED, np.where(equal, DUPLICATE, CONFLICTING))
    return verdicts


def outcomes(rows: Rows, verdicts: Verdicts) -> pa.Table:
    """Accepted, duplicate and conflicting events of the hour, one row per raw file."""
    counts = np.bincount(rows["file"] * 3 + verdicts, minlength=len(rows.files) * 3).reshape(-1, 3)
    columns = {
        "hour": pa.repeat(pa.scalar(rows.hour, pa.int64()), len(rows.files)),
        "topic": pa.array([file.topic for file in rows.files]),
        "partition": pa.array([file.partition for file in rows.files]),
        "start_offset": pa.array([file.start for file in rows.files]),
        "accepted": pa.array(counts[:, ACCEPTED]),
        "duplicate": pa.array(counts[:, DUPLICATE]),
        "conflicting": pa.array(counts[:, CONFLICTING]),
    }
    return shaped("outcomes", columns)
