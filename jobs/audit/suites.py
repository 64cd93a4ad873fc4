"""What every row of every published table must fulfil: one suite a table, as data, without Great Expectations loaded.

The larger part of a suite follows from the table's declaration: its columns, what is never null, its grain, amounts
that are not negative, the words and forms of its keys. The rules that only one table has stand below by its name. A
rule across columns that Great Expectations has no expectation for is a :class:`RowRule`: a column of true and false of
that name, computed next to the others, in which only true is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import pandas as pd
import pyarrow as pa

from quotaloop.errors import UsageError
from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.events.fields import (
    DENIED_BY,
    ID_FORM,
    MAX_DURATION_MS,
    OUTCOMES,
    PROTOCOLS,
    TENANT_FORM,
    VERSION_FORM,
)
from quotaloop.latency import upper_edges
from quotaloop.marts import tables
from quotaloop.marts.tables import PUBLISHED, Table

FOLDER = "day of the folder"  # column of the date in a file's path, there while row rules are computed
KINDS = DENIED_BY
METRICS = ("duration", "ttft", "itl")

Holds = Callable[[pd.DataFrame], "pd.Series[bool]"]


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation: its name in Great Expectations and its arguments; ``where`` restricts it to some rows."""

    type: str
    arguments: dict[str, Any] = field(default_factory=dict)
    where: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns, or the row rule, that it speaks of."""
        one = ("column", "column_A", "column_B")
        return (*(self.arguments[key] for key in one if key in self.arguments), *self.arguments.get("column_list", ()))

    def __str__(self) -> str:
        return f"{self.type}({', '.join(self.columns)})" + (f" where {self.where}" if self.where else "")


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule on single rows: the sentence that it is reported as, and which rows obey it."""

    sentence: str
    holds: Holds


@dataclass(frozen=True, slots=True)
class Suite:
    """All that is expected of one table."""

    table: Table
    rules: tuple[RowRule, ...]
    expected: tuple[Expected, ...]


def suite(name: str) -> Suite:
    """The suite of a published table; raises ``UsageError`` for other names."""
    if name not in PUBLISHED:
        raise UsageError(f"{name!r} is not a published table: there is {', '.join(PUBLISHED)}")
    table = PUBLISHED[name]
    kind = _hourly_name(table)
    rules = (*_time_rules(table), *ROW_RULES.get(kind, ()))
    special = {str(one): one for one in SPECIAL.get(kind, ())}  # a narrower one takes the place of a declared one
    return Suite(table, rules, tuple(({str(one): one for one in _declared(table, rules)} | special).values()))


def _hourly_name(table: Table) -> str:
    return tables.DAILY[table].name if table in tables.DAILY else table.name


def _declared(table: Table, rules: tuple[RowRule, ...]) -> Iterator[Expected]:
    """What follows from the declaration, and that the row rules hold."""
    names = [*(column.name for column in table.columns), *(rule.sentence for rule in rules)]
    yield Expected("expect_table_columns_to_match_ordered_list", {"column_list": names})
    for column in table.columns:
        if not column.nullable:
            yield Expected("expect_column_values_to_not_be_null", {"column": column.name})
        if column.name in KEYS:
            yield KEYS[column.name]
    yield Expected("expect_compound_columns_to_be_unique", {"column_list": list(table.grain)})
    for column in table.measures:
        if not pa.types.is_map(column.type):
            yield _between(column.name, LEAST.get(column.name, 0), _greatest(column.name))
    for rule in rules:
        yield _in_set(rule.sentence, (True,))


def _greatest(measure: str) -> float | None:
    if measure == "gpu_ms":
        return (2**63 - 1) / 1000  # its sum of microseconds has 64 bits
    return MAX_DURATION_MS if measure.endswith("_ms") and measure != "sum_ms" else None


def _between(column: str, low: float, high: float | None = None) -> Expected:
    return Expected(
        "expect_column_values_to_be_between",
        {"column": column, "min_value": low} | ({"max_value": high} if high else {}),
    )


def _in_set(column: str, words: tuple[str | bool, ...]) -> Expected:
    return Expected("expect_column_values_to_be_in_set", {"column": column, "value_set": list(words)})


def _form(column: str, pattern: str) -> Expected:
    return Expected("expect_column_values_to_match_regex", {"column": column, "regex": rf"\A(?:{pattern})\Z"})


def _at_most(small: str, great: str) -> Expected:
    """``small`` <= ``great`` where neither is null."""
    return Expected(
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": great, "column_B": small, "or_equal": True, "ignore_row_if": "either_value_is_missing"},
    )


KEYS = {
    "tenant": _form("tenant", TENANT_FORM),
    "api_version": _form("api_version", VERSION_FORM),
    "model": Expected(
        "expect_column_value_lengths_to_be_between", {"column": "model", "min_value": 1, "max_value": 128}
    ),
    "route": _form("route", r"/\S{0,255}"),
    "protocol": _in_set("protocol", PROTOCOLS),
    "outcome": _in_set("outcome", OUTCOMES),
    "metric": _in_set("metric", METRICS),
    "bucket": _between("bucket", 0, len(upper_edges()) - 1),
    "kind": _in_set("kind", KINDS),
    "host": _form("host", ID_FORM),
    "boot": _form("boot", ID_FORM),
    "topic": _form("topic", r"[^/\s]+"),
    "partition": _between("partition", 0, 99_999),
    "start_offset": _between("start_offset", 0),
}
LEAST = {"requests": 1, "count": 1, "first_seq": 1, "last_seq": 1}  # a row is only where something happened


def _time_rules(table: Table) -> tuple[RowRule, ...]:
    """Times stand at the beginning of their hour or minute, and in the folder of their day."""
    if not table.time:
        return ()
    inside = RowRule(
        f"{table.time} lies in the day of its folder", lambda rows: _utc(rows[table.time], "D") == rows[FOLDER]
    )
    if table.time == "date":
        return (inside,)
    unit = {"hour": "h", "minute": "min"}[table.time]
    aligned = RowRule(
        f"{table.time} is the beginning of a whole {table.time}",
        lambda rows: _utc(rows[table.time], unit) == _utc(rows[table.time]),
    )
    return aligned, inside


def _utc(times: pd.Series[Any], floor: str = "") -> pd.Series[Any]:
    plain: pd.Series[Any] = times.dt.tz_localize(None)
    return plain.dt.floor(floor) if floor else plain


def _sum(total: str, *parts: str) -> RowRule:
    return RowRule(
        f"{total} = {' + '.join(parts)}", lambda rows: rows[total] == reduce(add, (rows[part] for part in parts))
    )


def _some(*amounts: str) -> RowRule:
    return RowRule(
        f"{', '.join(amounts[:-1])} or {amounts[-1]} is above 0",
        lambda rows: (rows[list(amounts)] > 0).fillna(False).any(axis="columns"),
    )


def _totals(counts: pd.Series[Any]) -> pd.Series[int]:
    return counts.map(lambda pairs: sum(count or 0 for _, count in pairs or ()))


def _counted(counts: pd.Series[Any], most: int) -> pd.Series[bool]:
    return counts.map(lambda pairs: len(pairs or ()) <= most and all(count and count > 0 for _, count in pairs or ()))


def _sum_between_extremes(rows: pd.DataFrame) -> pd.Series[bool]:
    """Up to rounding: each ``_ms`` is a double of its own, derived last."""
    slack = 1e-9 * rows["sum_ms"].abs()
    low, high = rows["count"] * rows["min_ms"], rows["count"] * rows["max_ms"]
    return (rows["sum_ms"] + slack >= low) & (rows["sum_ms"] - slack <= high)


_CONCURRENCY, _OTHERS = 'kind == "concurrency"', 'kind != "concurrency"'
_NOT_OF_CONCURRENCY = tuple(column.name for column in tables.RATE_LIMIT_USAGE.columns if column.nullable)
_ASCENDING = ("min_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms")

ROW_RULES: dict[str, tuple[RowRule, ...]] = {
    "usage_hourly": (
        _sum("requests", "ok", "errors", "denied", "cancelled"),
        _sum("total_tokens", *TOKEN_CLASSES),
        RowRule(
            "wanted_tokens are of denied attempts", lambda rows: (rows["wanted_tokens"] == 0) | (rows["denied"] > 0)
        ),
    ),
    "latency_summary": (RowRule("sum_ms lies between count * min_ms and count * max_ms", _sum_between_extremes),),
    "rate_limit_usage": (
        _some("demand", "admitted", "denied"),
        RowRule(
            "demand = admitted for concurrency",
            lambda rows: (rows["kind"] != "concurrency") | (rows["demand"] == rows["admitted"]),
        ),
        RowRule(
            "demand <= admitted + denied but for concurrency",
            lambda rows: (rows["kind"] == "concurrency") | (rows["demand"] - rows["admitted"] <= rows["denied"]),
        ),
    ),
    "demand_minutely": (_some("demand", "admitted", "denied"),),
    "completeness_hourly": (
        _sum("expected", "received", "missing"),
        _some("expected", "duplicates"),
        RowRule(  # no more: a hole belongs to the hour of its earlier neighbour, and hours interleave
            "received <= last_seq - first_seq + 1",
            lambda rows: rows["received"] <= rows["last_seq"] - rows["first_seq"] + 1,
        ),
    ),
    "ingest_ledger": (
        _sum("lines", "accepted", "duplicate", "late", "quarantined"),
        RowRule(  # fewer where offsets of Kafka are not dense
            "lines <= end_offset - start_offset",
            lambda rows: rows["lines"] <= rows["end_offset"] - rows["start_offset"],
        ),
        RowRule("quarantined = sum of reasons", lambda rows: rows["quarantined"] == _totals(rows["reasons"])),
        RowRule("counts of reasons are above 0", lambda rows: _counted(rows["reasons"], 2**31)),
        RowRule("unknown_fields are at most 100, counts above 0", lambda rows: _counted(rows["unknown_fields"], 100)),
    ),
}

SPECIAL: dict[str, tuple[Expected, ...]] = {
    "latency_summary": tuple(_at_most(*pair) for pair in pairwise(_ASCENDING)),
    "rate_limit_usage": (
        *(_at_most(*pair) for pair in (("unmet", "demand"), ("unmet", "denied"), ("demand_peak_minute", "demand"))),
        *(_at_most(*pair) for pair in (("peak_second", "peak_minute"), ("peak_minute", "admitted"))),
        *(
            Expected("expect_column_values_to_be_null", {"column": column}, where=_CONCURRENCY)
            for column in _NOT_OF_CONCURRENCY
        ),
        *(
            Expected("expect_column_values_to_not_be_null", {"column": column}, where=_OTHERS)
            for column in _NOT_OF_CONCURRENCY
        ),
    ),
    "demand_minutely": (
        _at_most("unmet", "demand"),
        _in_set("kind", tuple(kind for kind in KINDS if kind != "concurrency")),
    ),
    "completeness_hourly": (_at_most("first_seq", "last_seq"),),
}
