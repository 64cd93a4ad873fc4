"""``usage_hourly`` and the parts of the latency tables, from the accepted events of one hour and shard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from jobs.mapreduce.attempts import is_word, tokens, wanted
from jobs.mapreduce.groups import Groups
from jobs.mapreduce.rows import Longs, Rows
from jobs.mapreduce.schemas import shaped
from quotaloop.events.event import TOKEN_CLASSES

SERVED = ("api_version", "model", "route", "protocol")
METRICS = ("duration", "ttft", "itl")
OUTCOME_COLUMNS = {"ok": "ok", "errors": "error", "denied": "denied", "cancelled": "cancelled"}


def usage_hourly(rows: Rows) -> pa.Table:
    """Requests and tokens, one row per tenant, version, model, route and protocol of the hour."""
    keys = ("tenant", *SERVED)
    groups = Groups(*(rows[name] for name in keys))
    summed = {name: rows[name] for name in (*TOKEN_CLASSES, "gpu_us", "bytes_in", "bytes_out")}
    summed |= {"total_tokens": tokens(rows), "wanted_tokens": wanted(rows)}
    summed |= {name: is_word(rows, "outcome", word).astype(np.int64) for name, word in OUTCOME_COLUMNS.items()}
    columns = _keys(rows, groups.first, keys) | {"requests": pa.array(groups.counts())}
    for name, values in summed.items():
        columns[name] = pa.array(groups.sums(values, _named(f"usage_hourly {name}", rows, groups.first, keys)))
    return shaped("usage_hourly", columns)


def latency_hourly(rows: Rows) -> pa.Table:
    """Attempts by version, model, route, protocol, outcome, metric and bucket."""
    parts = []
    for metric in METRICS:
        bucket = rows[f"{metric}_bucket"]
        there = np.flatnonzero(bucket >= 0)
        groups = Groups(*(rows[name][there] for name in (*SERVED, "outcome")), bucket[there])
        first = there[groups.first]
        columns = _keys(rows, first, (*SERVED, "outcome")) | {
            "metric": pa.repeat(metric, len(first)),
            "bucket": pa.array(bucket[first]),
            "count": pa.array(groups.counts()),
        }
        parts.append(shaped("latency_hourly", columns))
    return pa.concat_tables(parts)


def latency_summary(rows: Rows) -> pa.Table:
    """Count, least, greatest and sum of each metric over attempts with outcome ok."""
    fine = is_word(rows, "outcome", "ok")
    parts = []
    for metric in METRICS:
        there = np.flatnonzero(fine & (rows[f"{metric}_us"] >= 0))
        values = rows[f"{metric}_us"][there]
        groups = Groups(*(rows[name][there] for name in SERVED))
        first = there[groups.first]
        columns = _keys(rows, first, SERVED) | {
            "metric": pa.repeat(metric, len(first)),
            "count": pa.array(groups.counts()),
            "min_us": pa.array(groups.least(values)),
            "max_us": pa.array(groups.greatest(values)),
            "sum_us": pa.array(groups.sums(values, _named(f"latency_summary {metric}", rows, first, SERVED))),
        }
        parts.append(shaped("latency_summary", columns))
    return pa.concat_tables(parts)


def _keys(rows: Rows, first: Longs, names: tuple[str, ...]) -> dict[str, pa.Array]:
    words = {name: rows.words[name].take(pa.array(rows[name][first])) for name in names}
    return {"hour": pa.repeat(pa.scalar(rows.hour, pa.int64()), len(first))} | words


def _named(what: str, rows: Rows, first: Longs, names: tuple[str, ...]) -> Callable[[int], str]:
    def name(group: int) -> str:
        row = int(first[group])
        words = ", ".join(f"{column}={rows.words[column][int(rows[column][row])].as_py()}" for column in names)
        return f"{what} of hour={rows.hour}, {words}"

    return name
