"""The declared tables against the names that the contract promises."""

from __future__ import annotations

import pyarrow as pa
import pytest

from quotaloop.marts.tables import DAILY, HOURLY, PUBLISHED

SERVED = "api_version model route protocol"
CONTRACT = {
    "usage_hourly": (
        f"hour tenant {SERVED}",
        "requests ok errors denied cancelled input_tokens cache_read_tokens cache_write_tokens output_tokens "
        "reasoning_tokens total_tokens wanted_tokens gpu_ms bytes_in bytes_out",
    ),
    "latency_hourly": (f"hour {SERVED} outcome metric bucket", "count"),
    "latency_summary": (f"hour {SERVED} metric", "count min_ms max_ms sum_ms p50_ms p90_ms p95_ms p99_ms"),
    "rate_limit_usage": (
        "hour tenant kind",
        "demand admitted denied unmet peak_second peak_minute demand_peak_minute",
    ),
    "demand_minutely": ("minute tenant model kind", "demand admitted denied unmet"),
    "completeness_hourly": ("hour host boot", "first_seq last_seq expected received missing duplicates"),
    "ingest_ledger": (
        "topic partition start_offset",
        "end_offset lines accepted duplicate late quarantined reasons unknown_fields",
    ),
}
SIBLINGS = {
    "usage_daily": "usage_hourly",
    "latency_daily": "latency_hourly",
    "latency_summary_daily": "latency_summary",
    "rate_limit_usage_daily": "rate_limit_usage",
    "completeness_daily": "completeness_hourly",
}


@pytest.mark.parametrize("name", CONTRACT)
def test_a_table_has_the_grain_and_columns_of_the_contract(name: str) -> None:
    grain, measures = (words.split() for words in CONTRACT[name])
    table = PUBLISHED[name]
    assert list(table.grain) == grain
    assert table.schema.names == grain + measures
    assert [column.name for column in table.measures] == measures


def test_every_table_is_of_the_contract() -> None:
    assert set(PUBLISHED) == set(CONTRACT) | set(SIBLINGS)
    assert {table.name for table in HOURLY} == set(CONTRACT) - {"ingest_ledger"}


def test_a_daily_table_has_a_date_for_the_hour_of_its_sibling() -> None:
    assert {day.name: hourly.name for day, hourly in DAILY.items()} == SIBLINGS
    for day, hourly in DAILY.items():
        assert day.schema.field(0).type == pa.date32()
        assert day.schema.names == ["date", *hourly.schema.names[1:]]
        assert list(day.schema)[1:] == list(hourly.schema)[1:]


@pytest.mark.parametrize("name", PUBLISHED)
def test_amounts_are_whole_numbers_and_milliseconds_are_not(name: str) -> None:
    for column in PUBLISHED[name].measures:
        if not pa.types.is_map(column.type):
            assert column.type == (pa.float64() if column.name.endswith("_ms") else pa.int64()), column.name


def test_times_are_milliseconds_in_utc() -> None:
    for table in HOURLY:
        assert table.schema.field(0).type == pa.timestamp("ms", tz="UTC"), table.name


def test_peaks_of_a_day_are_the_greatest_and_amounts_sums() -> None:
    merged = {column.name: column.merge for table in HOURLY for column in table.measures}
    peaks = [name for name in merged if "peak" in name]
    assert {merged[name] for name in [*peaks, "max_ms", "last_seq"]} == {"max"}
    assert {merged[name] for name in ("min_ms", "first_seq")} == {"min"}
    quantiles = {name for name, how in merged.items() if how == "quantile"}
    assert quantiles == {"p50_ms", "p90_ms", "p95_ms", "p99_ms"}
    others = set(merged) - set(peaks) - quantiles - {"max_ms", "last_seq", "min_ms", "first_seq"}
    assert {merged[name] for name in others} == {"sum"}
