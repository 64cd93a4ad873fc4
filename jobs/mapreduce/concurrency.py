"""Most requests in flight: intervals leave their hour for every hour they reach, and are counted there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from jobs.mapreduce.attempts import denied, is_word
from jobs.mapreduce.groups import Groups
from jobs.mapreduce.packing import encoded, longs, pack, unpack
from jobs.mapreduce.plan import Plan
from jobs.mapreduce.rows import Longs, Rows, numbered
from jobs.mapreduce.schemas import shaped
from quotaloop.events.columns import HOUR_MS

_HOUR_US = HOUR_MS * 1000
_BITS = 33  # of a µs in the hour, doubled


def intervals(rows: Rows, plan: Plan) -> Iterator[tuple[int, bytes]]:
    """Hours with rows and what is in flight in them: tenant, ``[begin, end)`` in µs of the hour, denied attempts."""
    admitted = np.flatnonzero(~denied(rows))
    tenant = rows["tenant"][admitted]
    begin = rows["ts"][admitted] * 1000
    end = begin + np.maximum(rows["duration_us"][admitted], 1)
    refused = rows["tenant"][is_word(rows, "denied_by", "concurrency")]
    hour, last = rows.hour, plan.span[1]
    emit = frozenset(plan.emit)
    while (len(tenant) or len(refused)) and hour <= last:
        if hour in emit:
            none, ones = np.zeros(len(refused), dtype=np.int64), np.ones(len(refused), dtype=np.int64)
            part = pa.table(
                {
                    "tenant": _words(rows, np.concatenate((tenant, refused))),
                    "begin": pa.array(np.concatenate((begin, none)).astype(np.uint32)),
                    "end": pa.array(np.concatenate((np.minimum(end, _HOUR_US), none)).astype(np.uint32)),
                    "denied": pa.array(np.concatenate((np.zeros_like(tenant), ones)).astype(np.uint8)),
                }
            )
            yield hour, pack(part)
        reaches = end > _HOUR_US
        tenant, end = tenant[reaches], end[reaches] - _HOUR_US
        begin, refused = np.zeros_like(tenant), refused[:0]
        hour += HOUR_MS


def concurrency(hour: int, pieces: Iterable[bytes]) -> pa.Table:
    """Rows of ``rate_limit_usage``, kind ``concurrency``, of one hour and shard."""
    tables = [unpack(piece)[0] for piece in pieces]
    tenant, names = numbered([table["tenant"] for table in tables])
    begin, end, refused = (
        np.concatenate([longs(table[name]) for table in tables]) for name in ("begin", "end", "denied")
    )
    flying = begin < end
    peaks = _peaks(tenant[flying], begin[flying], end[flying], len(names))
    by_tenant = Groups(tenant)
    found = tenant[by_tenant.first]
    columns = {
        "hour": pa.repeat(pa.scalar(hour, pa.int64()), len(found)),
        "tenant": names.take(pa.array(found)),
        "kind": pa.repeat("concurrency", len(found)),
        "demand": pa.array(peaks[found]),
        "admitted": pa.array(peaks[found]),
        "denied": pa.array(by_tenant.sums(refused, str)),
    }
    return shaped("rate_limit_usage", columns)


def _peaks(tenant: Longs, begin: Longs, end: Longs, size: int) -> Longs:
    """Most intervals open at one instant, by tenant; one that ends where another begins is closed first."""
    moves = np.concatenate((tenant << _BITS | begin << 1 | 1, tenant << _BITS | end << 1))
    moves.sort()
    open_now = np.cumsum((moves & 1) * 2 - 1)  # every interval closes within the hour, so each tenant begins at none
    owner = moves >> _BITS
    peaks = np.zeros(size, dtype=np.int64)
    np.maximum.at(peaks, owner, open_now)
    return peaks


def _words(rows: Rows, tenant: Longs) -> pa.ChunkedArray:
    return encoded(pa.chunked_array([rows.words["tenant"].take(pa.array(tenant))]), 1)
