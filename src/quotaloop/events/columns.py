"""Parsed events as Arrow columns: the fields of the event, where the line lies in raw, and its latency buckets."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quotaloop import latency
from quotaloop.events.event import Event

HOUR_MS = 3_600_000
TIME = pa.timestamp("ms", tz="UTC")

_TEXT = pa.string()
_LONG = pa.int64()

CONTENT: tuple[tuple[str, pa.DataType], ...] = (
    ("event_id", _TEXT),
    ("ts", TIME),
    ("tenant", _TEXT),
    ("route", _TEXT),
    ("api_version", _TEXT),
    ("status", _LONG),
    ("duration_us", _LONG),
    ("method", _TEXT),
    ("protocol", _TEXT),
    ("version_source", _TEXT),
    ("operation", _TEXT),
    ("model", _TEXT),
    ("outcome", _TEXT),
    ("denied_by", _TEXT),
    ("ttft_us", _LONG),
    ("input_tokens", _LONG),
    ("cache_read_tokens", _LONG),
    ("cache_write_tokens", _LONG),
    ("output_tokens", _LONG),
    ("reasoning_tokens", _LONG),
    ("total_tokens", _LONG),
    ("wanted_tokens", _LONG),
    ("gpu_us", _LONG),
    ("bytes_in", _LONG),
    ("bytes_out", _LONG),
    ("stream_messages", _LONG),
    ("retry_of", _TEXT),
    ("api_key_id", _TEXT),
    ("host", _TEXT),
    ("boot", _TEXT),
    ("seq", _LONG),
    ("prev_boot", _TEXT),
    ("prev_seq", _LONG),
)
COORDINATES: tuple[tuple[str, pa.DataType], ...] = (
    ("topic", _TEXT),
    ("partition", pa.int32()),
    ("range_start", _LONG),  # first offset of the raw file that holds the line
    ("offset", _LONG),
)
DERIVED: tuple[tuple[str, pa.DataType], ...] = (
    ("hour", TIME),
    ("itl_us", _LONG),
    ("duration_bucket", pa.int16()),
    ("ttft_bucket", pa.int16()),
    ("itl_bucket", pa.int16()),
)
CONTENT_SCHEMA = pa.schema(list(CONTENT))
EVENTS_SCHEMA = pa.schema([*CONTENT, *COORDINATES, *DERIVED])


def from_events(events: Sequence[Event]) -> pa.Table:
    """The content columns of events, in their order."""
    rows = [msgspec.structs.astuple(event) for event in events]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(CONTENT_SCHEMA)
    return pa.table(
        [pa.array(column, type=kind) for column, (_, kind) in zip(columns, CONTENT, strict=True)], schema=CONTENT_SCHEMA
    )


def with_derived(content: pa.Table, coordinates: pa.Table) -> pa.Table:
    """The content beside its coordinates, with hour, inter-token latency and buckets, as ``EVENTS_SCHEMA``."""
    ts = _numbers(content["ts"].cast(_LONG))
    duration = _numbers(content["duration_us"])
    ttft = _numbers(content["ttft_us"].fill_null(0))
    no_ttft = _mask(content["ttft_us"])
    tokens = _numbers(content["output_tokens"]) + _numbers(content["reasoning_tokens"])
    no_itl = no_ttft | (tokens < 2)
    itl = inter_token_micros(duration, ttft, np.where(no_itl, 2, tokens))
    derived = [
        pa.array(ts - ts % HOUR_MS).cast(TIME),
        pa.array(itl, mask=no_itl),
        pa.array(latency.buckets(duration)),
        pa.array(latency.buckets(ttft), mask=no_ttft),
        pa.array(latency.buckets(itl), mask=no_itl),
    ]
    return pa.table([*content.columns, *coordinates.columns, *derived], schema=EVENTS_SCHEMA)


def inter_token_micros(
    duration: np.ndarray[tuple[int], np.dtype[np.int64]],
    ttft: np.ndarray[tuple[int], np.dtype[np.int64]],
    tokens: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """``latency.inter_token_micros`` for many rows: whole microseconds, rounded half to even; ``tokens`` from 2."""
    gaps = tokens - 1
    quotient, remainder = np.divmod(duration - ttft, gaps)
    twice = 2 * remainder
    up = (twice > gaps) | ((twice == gaps) & (quotient % 2 == 1))
    rounded: np.ndarray[tuple[int], np.dtype[np.int64]] = quotient + up
    return rounded


def _numbers(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    numbers: np.ndarray[tuple[int], np.dtype[np.int64]] = column.to_numpy()
    return numbers


def _mask(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    mask: np.ndarray[tuple[int], np.dtype[np.bool_]] = pc.is_null(column).to_numpy()
    return mask
