"""Every published table, declared once: columns with types, units and meaning, grain, and its daily sibling.

Writers, readers, checks and the documentation all use these declarations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

TIME = pa.timestamp("ms", tz="UTC")
TEXT, LONG, DOUBLE, INT = pa.string(), pa.int64(), pa.float64(), pa.int32()


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``merge`` says how a day is made of its hours: ``sum``, ``max``, ``min``, ``first``, ``last``."""

    name: str
    type: pa.DataType
    doc: str
    merge: str = "sum"
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its rows are told apart by ``grain``, whose first column is its time (empty: no time)."""

    name: str
    doc: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    time: str = "hour"

    @property
    def schema(self) -> pa.Schema:
        """The schema of its files."""
        return pa.schema([pa.field(column.name, column.type, column.nullable) for column in self.columns])

    @property
    def measures(self) -> tuple[Column, ...]:
        """Columns that are not of the grain."""
        return tuple(column for column in self.columns if column.name not in self.grain)


def _keys(*names: str) -> tuple[Column, ...]:
    docs = {
        "hour": (TIME, "beginning of the hour, UTC, by the event's own time"),
        "minute": (TIME, "beginning of the minute, UTC"),
        "tenant": (TEXT, "whose request it was"),
        "api_version": (TEXT, "version that served it"),
        "model": (TEXT, "model, in NFC; `unknown` where the event names none"),
        "route": (TEXT, "route template"),
        "protocol": (TEXT, "http, sse, websocket, grpc, webrtc, mqtt or mcp"),
        "outcome": (TEXT, "ok, error, denied or cancelled"),
        "metric": (TEXT, "duration, ttft or itl (inter-token latency)"),
        "bucket": (INT, "number of the latency bucket"),
        "kind": (TEXT, "requests, tokens, concurrency or compute (microseconds)"),
        "host": (TEXT, "gateway host"),
        "boot": (TEXT, "start of the gateway on that host"),
        "topic": (TEXT, "topic of the raw zone"),
        "partition": (INT, "partition of the topic"),
        "start_offset": (LONG, "first offset of the raw file"),
    }
    return tuple(Column(name, *docs[name]) for name in names)


def _longs(**docs: str) -> tuple[Column, ...]:
    return tuple(Column(name, LONG, doc) for name, doc in docs.items())


_SERVED = ("api_version", "model", "route", "protocol")

USAGE_HOURLY = Table(
    "usage_hourly",
    "Requests and tokens by outcome.",
    ("hour", "tenant", *_SERVED),
    (
        *_keys("hour", "tenant", *_SERVED),
        *_longs(
            requests="attempts, whatever became of them",
            ok="attempts with outcome ok",
            errors="attempts with outcome error",
            denied="attempts with outcome denied",
            cancelled="attempts with outcome cancelled",
            input_tokens="tokens read, neither from nor into the cache",
            cache_read_tokens="tokens read from the cache",
            cache_write_tokens="tokens written into the cache",
            output_tokens="tokens generated, without reasoning",
            reasoning_tokens="tokens generated as reasoning",
            total_tokens="sum of the five classes",
            wanted_tokens="tokens that denied attempts would have used",
        ),
        Column("gpu_ms", DOUBLE, "accelerator time in ms; whole microseconds divided by 1000"),
        *_longs(bytes_in="bytes received", bytes_out="bytes sent"),
    ),
)

LATENCY_HOURLY = Table(
    "latency_hourly",
    "Latency histograms of every outcome; buckets merge by addition.",
    ("hour", *_SERVED, "outcome", "metric", "bucket"),
    (*_keys("hour", *_SERVED, "outcome", "metric", "bucket"), *_longs(count="attempts in the bucket")),
)

LATENCY_SUMMARY = Table(
    "latency_summary",
    "Latency of attempts with outcome ok; quantiles lie within 1 % of exact ones.",
    ("hour", *_SERVED, "metric"),
    (
        *_keys("hour", *_SERVED, "metric"),
        *_longs(count="attempts that have the metric"),
        Column("min_ms", DOUBLE, "least value in ms", "min"),
        Column("max_ms", DOUBLE, "greatest value in ms", "max"),
        Column("sum_ms", DOUBLE, "sum of the values in ms"),
        *(
            Column(f"p{q}_ms", DOUBLE, f"{q} % quantile in ms, from the histogram", "quantile")
            for q in (50, 90, 95, 99)
        ),
    ),
)

_AMOUNTS = _longs(
    demand="what was asked for, retries counted once",
    admitted="amounts of attempts that were not denied; for concurrency the most in flight at one instant",
    denied="amounts of attempts that were denied",
    unmet="demand of chains in which no attempt was admitted",
)
_KINDED = tuple(replace(column, nullable=column.name == "unmet") for column in _AMOUNTS)

RATE_LIMIT_USAGE = Table(
    "rate_limit_usage",
    "What each tenant asked of each limit, got, and was denied.",
    ("hour", "tenant", "kind"),
    (
        *_keys("hour", "tenant", "kind"),
        *_KINDED,
        Column("peak_second", LONG, "greatest admitted amount in a clock second; null for concurrency", "max", True),
        Column("peak_minute", LONG, "greatest admitted amount in a clock minute; null for concurrency", "max", True),
        Column("demand_peak_minute", LONG, "greatest demand in a clock minute; null for concurrency", "max", True),
    ),
)

DEMAND_MINUTELY = Table(
    "demand_minutely",
    "Demand by the minute; what quotas are derived from.",
    ("minute", "tenant", "model", "kind"),
    (*_keys("minute", "tenant", "model", "kind"), *_AMOUNTS),
    time="minute",
)

COMPLETENESS_HOURLY = Table(
    "completeness_hourly",
    "Whether every event a gateway stamped has arrived.",
    ("hour", "host", "boot"),
    (
        *_keys("hour", "host", "boot"),
        Column("first_seq", LONG, "least seq of the hour", "min"),
        Column("last_seq", LONG, "greatest seq of the hour", "max"),
        *_longs(
            expected="received and missing",
            received="distinct seq whose event is of the hour",
            missing="seq that were stamped and did not arrive as accepted events",
            duplicates="events of the hour beyond one for a seq",
        ),
    ),
)

INGEST_LEDGER = Table(
    "ingest_ledger",
    "What became of every line, per raw file: lines = accepted + duplicate + late + quarantined.",
    ("topic", "partition", "start_offset"),
    (
        *_keys("topic", "partition", "start_offset"),
        *_longs(
            end_offset="offset after the last of the raw file",
            lines="lines of the raw file",
            accepted="lines that became events",
            duplicate="lines that repeat an event",
            late="lines later than the bound",
            quarantined="lines that are in quarantine",
        ),
        Column("reasons", pa.map_(TEXT, LONG), "quarantined lines by reason"),
        Column(
            "unknown_fields", pa.map_(TEXT, LONG), "fields that are not of the event, by name; the 100 most frequent"
        ),
    ),
    time="",
)


def _daily(table: Table, name: str) -> Table:
    day = Column("date", pa.date32(), "the day, UTC")
    grain = ("date", *table.grain[1:])
    return Table(name, f"{table.doc} A day, merged from its hours.", grain, (day, *table.columns[1:]), "date")


USAGE_DAILY = _daily(USAGE_HOURLY, "usage_daily")
LATENCY_DAILY = _daily(LATENCY_HOURLY, "latency_daily")
LATENCY_SUMMARY_DAILY = _daily(LATENCY_SUMMARY, "latency_summary_daily")
RATE_LIMIT_USAGE_DAILY = _daily(RATE_LIMIT_USAGE, "rate_limit_usage_daily")
COMPLETENESS_DAILY = _daily(COMPLETENESS_HOURLY, "completeness_daily")

HOURLY = (
    USAGE_HOURLY,
    LATENCY_HOURLY,
    LATENCY_SUMMARY,
    RATE_LIMIT_USAGE,
    DEMAND_MINUTELY,
    COMPLETENESS_HOURLY,
)
DAILY = {
    USAGE_DAILY: USAGE_HOURLY,
    LATENCY_DAILY: LATENCY_HOURLY,
    LATENCY_SUMMARY_DAILY: LATENCY_SUMMARY,
    RATE_LIMIT_USAGE_DAILY: RATE_LIMIT_USAGE,
    COMPLETENESS_DAILY: COMPLETENESS_HOURLY,
}
PUBLISHED = {table.name: table for table in (*HOURLY, *DAILY, INGEST_LEDGER)}
