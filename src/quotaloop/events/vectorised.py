"""The fast path: whole blocks of raw lines into columns, for those lines alone that are beyond doubt.

A line is beyond doubt if one regular expression, run by RE2 in linear time, matches all of it: a flat object of known
keys, each followed by a value of its type in its plainest spelling, without escapes. What the expression cannot count
(lengths, sums, keys that stand twice, days of a month, ranges) is decided on columns. Every other line is left to the
strict parser; it is slower, never different: wherever this path takes a line, the strict parser gives the same event.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quotaloop.events import credentials, fields
from quotaloop.events.columns import CONTENT_SCHEMA, TIME
from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.events.parser import FUTURE_MS, MAX_BYTES

_ID = "[A-Za-z0-9._:-]+"
_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"
_INT = "(?:0|[1-9][0-9]*)"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?Z"
_DAY = "20[0-9][0-9]-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_IN_STRING = r"!#-\[\]-~"  # printable ASCII but the quote, the backslash and the space
_LATIN = r"\x{A1}-\x{AC}\x{AE}-\x{24F}"  # letters and signs that NFC leaves alone; \x{AD} is a format character

# Values by the type of their field; the length of a string is checked on its column.
_SPELLINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (f'"{_ID}"', ("event_id", "operation", "retry_of", "api_key_id", "host", "boot", "prev_boot")),
    (f'"{_NAME}"', ("tenant", "api_version")),
    (f'(?:[1-9][0-9]{{12}}|"{_DAY}T{_CLOCK}")', ("ts",)),
    (f'"/[{_IN_STRING}]*"', ("route",)),
    (f'"[ {_IN_STRING}{_LATIN}]+"', ("model",)),
    ('"[A-Z]+"', ("method",)),
    ("[1-5][0-9][0-9]", ("status",)),
    (rf"{_INT}(?:\.[0-9]+)?", ("duration_ms", "ttft_ms", "gpu_ms")),
    (_INT, (*TOKEN_CLASSES, "total_tokens", "wanted_tokens", "bytes_in", "bytes_out", "stream_messages")),
    (_INT, ("seq", "prev_seq")),
    (f'"(?:{"|".join(fields.PROTOCOLS)})"', ("protocol",)),
    (f'"(?:{"|".join(fields.VERSION_SOURCES)})"', ("version_source",)),
    (f'"(?:{"|".join(fields.OUTCOMES)})"', ("outcome",)),
    (f'"(?:{"|".join(fields.DENIED_BY)})"', ("denied_by",)),
)
_LENGTHS = {"tenant": 64, "api_version": 32, "route": 256, "method": 32} | dict.fromkeys(
    ("event_id", "operation", "retry_of", "api_key_id", "host", "boot", "prev_boot", "model"), 128
)
_REPEATED = (
    *("tenant", "route", "api_version", "method", "operation", "model"),
    *("api_key_id", "host", "boot", "prev_boot"),
)
_UNIQUE = ("event_id", "retry_of")
_SQL_TYPES = {"string": "VARCHAR", "time": "VARCHAR", "int": "BIGINT", "number": "DOUBLE"}
_CREDENTIAL_HINT = "sk-|AKIA|ghp_|eyJ"
_SHORTEST = 80  # bytes of a raw line; the required fields alone need more

Bools = npt.NDArray[np.bool_]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of a raw file: row i of ``content`` is the event of line ``rows[i]``; ``doubtful`` are all other lines."""

    content: pa.Table
    offsets: Longs
    rows: Longs
    doubtful: Longs
    starts: Longs  # of each line in the block, and the end of the last one


def read_block(block: bytes, *, late_bound_ms: int | None) -> Block:
    """Take from whole raw lines (each with its line end) the events that are beyond doubt."""
    starts = line_starts(block)
    lines = pa.Array.from_buffers(
        pa.string(), len(starts) - 1, [None, pa.py_buffer(starts.astype(np.int32)), pa.py_buffer(block)]
    )
    matches = pc.match_substring_regex(lines, _line_expression()).to_numpy(zero_copy_only=False)
    matched = np.flatnonzero(matches & (np.diff(starts) >= _SHORTEST))
    begin, end = starts[matched], starts[matched + 1] - 1
    bytes_ = np.frombuffer(block, dtype=np.uint8)
    offsets, kafka_times, payload = _prefixes(bytes_, begin)
    short = end - payload <= MAX_BYTES
    columns = _columns(_views(block, bytes_, payload, end))
    sure = short & _sure(columns, keys=_key_counts(bytes_, starts)[matched], kafka_times=kafka_times)
    if late_bound_ms is not None:
        sure &= (kafka_times < 0) | (kafka_times - _numbers(columns["ts"]) <= late_bound_ms)
    doubtful = np.ones(len(starts) - 1, dtype=np.bool_)
    doubtful[matched[sure]] = False
    content = _content(columns.filter(pa.array(sure)) if not sure.all() else columns)
    return Block(content, offsets[sure], matched[sure], np.flatnonzero(doubtful), starts)


def line_starts(block: bytes) -> Longs:
    """Where each line of a block begins, and the end of the last."""
    ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == 10)
    return np.concatenate(([0], ends + 1)).astype(np.int64)


@cache
def _line_expression() -> str:
    known = [f'(?:{"|".join(names)})": ?{spelling}' for spelling, names in _SPELLINGS]
    member = f'"(?:{"|".join(known)})'
    return rf"^[0-9]+\t-?[0-9]+\t\.\t\{{{member}(?:, ?{member})*\}}\n$"


@cache
def _query() -> str:
    """Typed columns of the payloads; numbers that do not fit become null and are seen by the count of keys.

    ``epoch_ms`` would round microseconds; they are cut off.
    """
    shape = ", ".join(f'"{field.name}": "{_SQL_TYPES[field.kind]}"' for field in fields.FIELDS)
    return f"""
        SELECT * EXCLUDE (ts), ts IS NOT NULL AS has_ts,
            CASE WHEN starts_with(ts, '2') AND length(ts) > 13 THEN epoch_us(TRY_CAST(ts AS TIMESTAMP)) // 1000
                 ELSE TRY_CAST(ts AS BIGINT) END AS ts
        FROM (SELECT unnest(json_transform(payload, '{{{shape}}}')) FROM payloads)"""


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


def _columns(payloads: pa.Array) -> pa.Table:
    connection = _engine()
    connection.register("payloads", pa.table({"payload": payloads}))
    try:
        return connection.sql(_query()).to_arrow_table().combine_chunks()
    finally:
        connection.unregister("payloads")


def _prefixes(bytes_: npt.NDArray[np.uint8], begin: Longs) -> tuple[Longs, Longs, Longs]:
    """Offset and Kafka time of each line, and where its payload begins; the lines match the expression."""
    offsets, after = _digits(bytes_, begin)
    negative = bytes_[after + 1] == 45 if len(after) else np.zeros(0, dtype=np.bool_)
    times, after = _digits(bytes_, after + 1 + negative)
    return offsets, np.where(negative, -times, times), after + 3


def _digits(bytes_: npt.NDArray[np.uint8], begin: Longs) -> tuple[Longs, Longs]:
    """Numbers in ASCII digits and where each ends."""
    value = np.zeros(len(begin), dtype=np.int64)
    at = begin.copy()
    going = np.ones(len(begin), dtype=np.bool_)
    while going.any():
        digit = bytes_[at].astype(np.int64) - 48
        going &= (digit >= 0) & (digit <= 9)
        value = np.where(going, value * 10 + digit, value)
        at += going
    return value, at


def _views(block: bytes, bytes_: npt.NDArray[np.uint8], begin: Longs, end: Longs) -> pa.Array:
    """Payloads as string views into the block, without a copy; 12 bytes or less would lie in the view itself."""
    views = np.empty(
        len(begin), dtype=[("length", np.int32), ("prefix", "V4"), ("buffer", np.int32), ("offset", np.int32)]
    )
    views["length"] = end - begin
    views["prefix"] = bytes_[begin[:, None] + np.arange(4)].view("V4")[:, 0] if len(begin) else b""
    views["buffer"] = 0
    views["offset"] = begin
    return pa.Array.from_buffers(
        pa.string_view(), len(begin), [None, pa.py_buffer(views.tobytes()), pa.py_buffer(block)]
    )


def _key_counts(bytes_: npt.NDArray[np.uint8], starts: Longs) -> Longs:
    """How often a quote is followed by a colon in each line; in a line that matches: its number of keys."""
    colons = np.flatnonzero((bytes_[:-1] == 34) & (bytes_[1:] == 58))
    return np.diff(np.searchsorted(colons, starts))


def _numbers(column: pa.ChunkedArray, null: int = 0) -> Longs:
    numbers: Longs = pc.fill_null(column, null).to_numpy()
    return numbers


def _absent(column: pa.ChunkedArray) -> Bools:
    absent: Bools = column.is_null().to_numpy()
    return absent


def _sure(columns: pa.Table, *, keys: Longs, kafka_times: Longs) -> Bools:
    rows = columns.num_rows
    found = _numbers(columns["has_ts"].cast(pa.int64()))
    sure = np.ones(rows, dtype=np.bool_)
    for field in fields.FIELDS:
        if field.name != "ts":
            present = ~_absent(columns[field.name])
            found = found + present
            if field.required:
                sure &= present
    sure &= found == keys
    return sure & _in_range(columns, kafka_times) & _consistent(columns) & _no_credentials(columns)


def _in_range(columns: pa.Table, kafka_times: Longs) -> Bools:
    ts = _numbers(columns["ts"])
    fine: Bools = (ts >= fields.EARLIEST_MS) & (ts < fields.END_MS)
    fine &= (kafka_times < 0) | (ts - FUTURE_MS <= kafka_times)
    for name in (*TOKEN_CLASSES, "wanted_tokens"):
        fine &= _numbers(columns[name]) <= fields.MAX_TOKENS
    for name in ("bytes_in", "bytes_out", "stream_messages"):
        fine &= _numbers(columns[name]) <= fields.MAX_BYTES
    fine &= _numbers(columns["duration_ms"]) <= fields.MAX_DURATION_MS
    fine &= _numbers(columns["gpu_ms"]) <= fields.MAX_GPU_MS
    fine &= _numbers(columns["seq"], 1) >= 1
    for name, most in _LENGTHS.items():
        fine &= _numbers(pc.binary_length(columns[name])) <= most
    return fine


def _consistent(columns: pa.Table) -> Bools:
    status = _numbers(columns["status"])
    outcome = columns["outcome"]
    ok, denied = (_numbers(pc.equal(outcome, word).cast(pa.int64())) == 1 for word in ("ok", "denied"))
    fine: Bools = ~(ok & (status >= 400)) & ~(denied & (status < 400))
    is_denied = denied | (_absent(outcome) & (status == 429))
    fine &= is_denied | _absent(columns["denied_by"])
    fine &= _absent(columns["ttft_ms"]) | (_numbers(columns["ttft_ms"]) <= _numbers(columns["duration_ms"]))
    total = sum(_numbers(columns[name]) for name in TOKEN_CLASSES)
    fine &= _absent(columns["total_tokens"]) | (_numbers(columns["total_tokens"]) == total)
    stamps = [_absent(columns[name]) for name in ("host", "boot", "seq")]
    fine &= (stamps[0] == stamps[1]) & (stamps[1] == stamps[2])
    fine &= _absent(columns["prev_boot"]) == _absent(columns["prev_seq"])
    return fine


def _no_credentials(columns: pa.Table) -> Bools:
    fine = np.ones(columns.num_rows, dtype=np.bool_)
    for name in _UNIQUE:
        hit = pc.match_substring_regex(columns[name], _CREDENTIAL_HINT).fill_null(False)
        fine &= ~hit.to_numpy()
    for name in _REPEATED:
        suspects = [text for text in pc.unique(columns[name]).to_pylist() if text and credentials.found_in(text)]
        if suspects:
            fine &= ~pc.is_in(columns[name], pa.array(suspects)).to_numpy()
    return fine


def _micros(column: pa.ChunkedArray, default: int | None) -> pa.Array:
    micros = np.rint(_numbers(column.cast(pa.float64())) * 1000.0).astype(np.int64)
    return pa.array(micros, mask=_absent(column)) if default is None else pa.array(micros)


def _content(columns: pa.Table) -> pa.Table:
    """Defaults filled in and units changed, as the strict parser does."""
    status = _numbers(columns["status"])
    kinds = [status < 400, status == 429, status == 499]
    usual = np.select(kinds, ["ok", "denied", "cancelled"], "error")
    total = sum(_numbers(columns[name]) for name in TOKEN_CLASSES)
    made = {
        "ts": columns["ts"].cast(TIME),
        "duration_us": _micros(columns["duration_ms"], 0),
        "ttft_us": _micros(columns["ttft_ms"], None),
        "gpu_us": _micros(columns["gpu_ms"], 0),
        "method": pc.fill_null(columns["method"], "POST"),
        "protocol": pc.fill_null(columns["protocol"], "http"),
        "model": pc.fill_null(columns["model"], "unknown"),
        "outcome": pc.coalesce(columns["outcome"], pa.array(usual.astype(str), type=pa.string()))
        if columns["outcome"].null_count
        else columns["outcome"],
        "total_tokens": pa.array(total),
    }
    for name in (*TOKEN_CLASSES, "bytes_in", "bytes_out", "stream_messages"):
        made[name] = pc.fill_null(columns[name], 0)
    return pa.table(
        [made[name] if name in made else columns[name] for name in CONTENT_SCHEMA.names], schema=CONTENT_SCHEMA
    )
