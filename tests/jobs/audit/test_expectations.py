"""The suites: good rows pass in every table, and each rule finds the row that was made to break it."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.audit import expectations
from jobs.audit.expectations import check_files
from jobs.audit.suites import ROW_RULES, SPECIAL, Expected, suite
from quotaloop.errors import InputUnreadable, ServiceUnreachable, UsageError
from quotaloop.latency import upper_edges
from quotaloop.marts.tables import DAILY, PUBLISHED
from quotaloop.storage.local import LocalStore

Row = dict[str, Any]

HOUR = datetime(2026, 3, 2, 1, tzinfo=UTC)
SERVED = {"api_version": "v1", "model": "unknown", "route": "/r", "protocol": "http"}
TOKENS = {
    "input_tokens": 5,
    "cache_read_tokens": 1,
    "cache_write_tokens": 0,
    "output_tokens": 13,
    "reasoning_tokens": 2,
}
USAGE = {
    **{"hour": HOUR, "tenant": "a", **SERVED, "requests": 6, "ok": 2, "errors": 1, "denied": 2, "cancelled": 1},
    **{**TOKENS, "total_tokens": 21, "wanted_tokens": 73, "gpu_ms": 3.5, "bytes_in": 0, "bytes_out": 9},
}
LATENCY = {"hour": HOUR, **SERVED, "outcome": "ok", "metric": "duration", "bucket": 691, "count": 1}
EXTREMES = {"min_ms": 1000.0, "max_ms": 120000.5, "sum_ms": 121000.5}
QUANTILES = {"p50_ms": 1000.0, "p90_ms": 119000.0, "p95_ms": 120000.5, "p99_ms": 120000.5}
SUMMARY = {"hour": HOUR, **SERVED, "metric": "ttft", "count": 2, **EXTREMES, **QUANTILES}
PEAKS = {"peak_second": 16, "peak_minute": 17, "demand_peak_minute": 57}
LIMITED = {
    **{"hour": HOUR, "tenant": "a", "kind": "tokens", "demand": 75, "admitted": 19, "denied": 73, "unmet": 57, **PEAKS}
}
NO_PEAKS = {"unmet": None, "peak_second": None, "peak_minute": None, "demand_peak_minute": None}
IN_FLIGHT = {"hour": HOUR, "tenant": "a", "kind": "concurrency", "demand": 3, "admitted": 3, "denied": 1, **NO_PEAKS}
FLIGHT = {**IN_FLIGHT, "tenant": "z"}
MINUTE = {
    **{"minute": HOUR.replace(minute=59), "tenant": "a", "model": "m", "kind": "compute"},
    **{"demand": 7, "admitted": 0, "denied": 7, "unmet": 7},
}
STAMPED = {
    **{"hour": HOUR, "host": "h", "boot": "b", "first_seq": 1, "last_seq": 3},
    **{"expected": 4, "received": 3, "missing": 1, "duplicates": 0},
}
LEDGER = {
    **{"topic": "example", "partition": 0, "start_offset": 0, "end_offset": 14, "lines": 13, "accepted": 10},
    **{"duplicate": 1, "late": 0, "quarantined": 2, "reasons": {"truncated": 1, "type": 1}, "unknown_fields": {"x": 4}},
}
NOTHING_KNOWN = {**LEDGER, "start_offset": 14, "end_offset": 14, "lines": 0, "accepted": 0, "duplicate": 0}
EMPTY_RANGE = {**NOTHING_KNOWN, "quarantined": 0, "reasons": {}, "unknown_fields": {}}

HOURLY: dict[str, list[Row]] = {
    "usage_hourly": [USAGE, {**USAGE, "tenant": "007"}],
    "latency_hourly": [LATENCY, {**LATENCY, "outcome": "denied"}],
    "latency_summary": [SUMMARY, {**SUMMARY, "model": "gpt 4é"}],
    "rate_limit_usage": [LIMITED, IN_FLIGHT],
    "demand_minutely": [MINUTE, {**MINUTE, "model": "n", "demand": 0, "unmet": 0}],
    "completeness_hourly": [STAMPED, {**STAMPED, "boot": "c", "expected": 90, "missing": 87}],
}


def _day(row: Row) -> Row:
    return {"date": date(2026, 3, 2), **{name: value for name, value in row.items() if name != "hour"}}


DAYS = {day.name: [_day(row) for row in HOURLY[hourly.name]] for day, hourly in DAILY.items()}
GOOD = {**HOURLY, **DAYS, "ingest_ledger": [LEDGER, EMPTY_RANGE]}

PLANTED: list[tuple[str, Row, str]] = [
    ("usage_hourly", {"requests": 7}, "(requests = ok + errors + denied + cancelled) fails for 1 of 3 rows"),
    ("usage_hourly", {"total_tokens": 20}, "output_tokens + reasoning_tokens) fails for 1 of 3 rows"),
    ("usage_hourly", {"denied": 0, "requests": 4}, "(wanted_tokens are of denied attempts)"),
    ("usage_hourly", {"requests": 0, "ok": 0, "errors": 0, "denied": 0, "cancelled": 0}, "be_between(requests)"),
    ("usage_hourly", {"bytes_in": -1}, "expect_column_values_to_be_between(bytes_in) fails for 1 of 3 rows"),
    ("usage_hourly", {"gpu_ms": float("inf")}, "expect_column_values_to_be_between(gpu_ms)"),
    ("usage_hourly", {"gpu_ms": float("nan")}, "expect_column_values_to_not_be_null(gpu_ms)"),
    ("usage_hourly", {"tenant": None}, "expect_column_values_to_not_be_null(tenant) fails for 1 of 3 rows"),
    ("usage_hourly", {"tenant": "../etc"}, "expect_column_values_to_match_regex(tenant)"),
    ("usage_hourly", {"tenant": "a\n"}, "expect_column_values_to_match_regex(tenant)"),
    ("usage_hourly", {"route": "r"}, "expect_column_values_to_match_regex(route)"),
    ("usage_hourly", {"model": ""}, "expect_column_value_lengths_to_be_between(model)"),
    ("usage_hourly", {"protocol": "ftp"}, "expect_column_values_to_be_in_set(protocol)"),
    ("usage_hourly", {"model": "unknown"}, "columns_to_be_unique(hour, tenant, api_version, model, route, protocol)"),
    ("usage_hourly", {"hour": HOUR.replace(minute=1)}, "(hour is the beginning of a whole hour) fails for 1 of 3 rows"),
    ("usage_hourly", {"hour": HOUR.replace(day=3)}, "(hour lies in the day of its folder) fails for 1 of 3 rows"),
    ("usage_daily", {"date": date(2026, 3, 1)}, "(date lies in the day of its folder) fails for 1 of 3 rows"),
    ("usage_daily", {"requests": 7}, "(requests = ok + errors + denied + cancelled)"),
    ("latency_hourly", {"bucket": -1}, "expect_column_values_to_be_between(bucket)"),
    ("latency_hourly", {"bucket": len(upper_edges())}, "expect_column_values_to_be_between(bucket)"),
    ("latency_hourly", {"count": 0}, "expect_column_values_to_be_between(count)"),
    ("latency_hourly", {"outcome": "late"}, "expect_column_values_to_be_in_set(outcome)"),
    ("latency_hourly", {"metric": "ttlt"}, "expect_column_values_to_be_in_set(metric)"),
    ("latency_summary", {"min_ms": 1000.5}, "expect_column_pair_values_a_to_be_greater_than_b(p50_ms, min_ms)"),
    ("latency_summary", {"p50_ms": 119000.5}, "a_to_be_greater_than_b(p90_ms, p50_ms) fails for 1 of 3 rows"),
    ("latency_summary", {"p90_ms": 120000.6}, "a_to_be_greater_than_b(p95_ms, p90_ms)"),
    ("latency_summary", {"p99_ms": 120000.4}, "a_to_be_greater_than_b(p99_ms, p95_ms)"),
    ("latency_summary", {"p99_ms": 120000.6}, "a_to_be_greater_than_b(max_ms, p99_ms)"),
    ("latency_summary", {"count": 0}, "expect_column_values_to_be_between(count)"),
    ("latency_summary", {"sum_ms": 240001.1}, "(sum_ms lies between count * min_ms and count * max_ms)"),
    ("latency_summary_daily", {"p90_ms": 999.0}, "a_to_be_greater_than_b(p90_ms, p50_ms)"),
    ("rate_limit_usage", {"unmet": 76}, "a_to_be_greater_than_b(demand, unmet) fails for 1 of 3 rows"),
    ("rate_limit_usage", {"unmet": 74}, "a_to_be_greater_than_b(denied, unmet)"),
    ("rate_limit_usage", {"peak_second": 18}, "a_to_be_greater_than_b(peak_minute, peak_second)"),
    ("rate_limit_usage", {"peak_minute": 20}, "a_to_be_greater_than_b(admitted, peak_minute)"),
    ("rate_limit_usage", {"demand_peak_minute": 76}, "a_to_be_greater_than_b(demand, demand_peak_minute)"),
    ("rate_limit_usage", {"demand": 93}, "(demand <= admitted + denied but for concurrency)"),
    ("rate_limit_usage", {"kind": "gpu"}, "expect_column_values_to_be_in_set(kind)"),
    ("rate_limit_usage", {**FLIGHT, "demand": 2}, "(demand = admitted for concurrency)"),
    (
        "rate_limit_usage",
        {**FLIGHT, "demand": 0, "admitted": 0, "denied": 0},
        "(demand, admitted or denied is above 0)",
    ),
    ("rate_limit_usage_daily", {"peak_second": 18}, "a_to_be_greater_than_b(peak_minute, peak_second)"),
    ("demand_minutely", {"kind": "concurrency"}, "expect_column_values_to_be_in_set(kind) fails for 1 of 3 rows"),
    ("demand_minutely", {"unmet": 8}, "a_to_be_greater_than_b(demand, unmet)"),
    ("demand_minutely", {"demand": 0, "denied": 0, "unmet": 0}, "(demand, admitted or denied is above 0)"),
    ("demand_minutely", {"minute": HOUR.replace(second=1)}, "(minute is the beginning of a whole minute)"),
    ("demand_minutely", {"minute": HOUR.replace(day=1)}, "(minute lies in the day of its folder)"),
    ("completeness_hourly", {"expected": 5}, "(expected = received + missing)"),
    ("completeness_hourly", {"first_seq": 4}, "a_to_be_greater_than_b(last_seq, first_seq)"),
    ("completeness_hourly", {"first_seq": 2}, "(received <= last_seq - first_seq + 1)"),
    ("completeness_hourly", {"first_seq": 0}, "expect_column_values_to_be_between(first_seq)"),
    ("completeness_hourly", {"expected": 0, "received": 0, "missing": 0}, "(expected or duplicates is above 0)"),
    ("completeness_daily", {"expected": 5}, "(expected = received + missing)"),
    ("ingest_ledger", {"lines": 14}, "(lines = accepted + duplicate + late + quarantined)"),
    ("ingest_ledger", {"end_offset": 12}, "(lines <= end_offset - start_offset)"),
    ("ingest_ledger", {"reasons": {"truncated": 1}}, "(quarantined = sum of reasons)"),
    ("ingest_ledger", {"reasons": {"truncated": 2, "type": 0}}, "(counts of reasons are above 0)"),
    ("ingest_ledger", {"reasons": None}, "expect_column_values_to_not_be_null(reasons)"),
    ("ingest_ledger", {"unknown_fields": {"x": 0}}, "(unknown_fields are at most 100, counts above 0)"),
    ("ingest_ledger", {"unknown_fields": {f"x{n}": 1 for n in range(101)}}, "(unknown_fields are at most 100"),
    ("ingest_ledger", {"partition": -1}, "expect_column_values_to_be_between(partition)"),
    *(
        ("rate_limit_usage", {name: None}, f'to_not_be_null({name}) where kind != "concurrency" fails for 1 of 2 rows')
        for name in ("unmet", "peak_second", "peak_minute", "demand_peak_minute")
    ),
    *(
        (
            "rate_limit_usage",
            {**FLIGHT, name: 0},
            f'to_be_null({name}) where kind == "concurrency" fails for 1 of 2 rows',
        )
        for name in ("unmet", "peak_second", "peak_minute", "demand_peak_minute")
    ),
]


def _write(store: LocalStore, name: str, rows: list[Row], part: str = "01-0", schema: pa.Schema | None = None) -> str:
    folder = "" if name == "ingest_ledger" else "date=2026-03-02/"
    path = f"marts/{name}/{folder}r1/part-{part}.parquet"
    schema = schema or pa.schema([field.with_nullable(True) for field in PUBLISHED[name].schema])
    maps = ("reasons", "unknown_fields")
    values = [
        {key: list(value.items()) if key in maps and value is not None else value for key, value in row.items()}
        for row in rows
    ]
    target = store.path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(values, schema=schema), target, compression="zstd")
    return path


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_good_rows_pass_in_every_table_without_network_files_or_output(
    store: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = {
        name: [_write(store, name, [row], f"0{number}-0") for number, row in enumerate(rows)]
        for name, rows in GOOD.items()
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    caplog.set_level(logging.DEBUG)
    before = sorted(tmp_path.rglob("*"))

    verdicts = check_files(store, files)

    assert {verdict.table: verdict.failures for verdict in verdicts} == dict.fromkeys(PUBLISHED, ())
    assert all(verdict.success and verdict.check == "expectations" for verdict in verdicts)
    assert all(verdict.evaluated == len(suite(verdict.table).expected) for verdict in verdicts)
    assert sorted(tmp_path.rglob("*")) == before
    assert capfd.readouterr() == ("", "")
    ours = [record for record in caplog.records if not record.name.startswith("py4j")]  # of a session of another test
    assert ours == []


def _refuse(*_: object) -> None:
    raise AssertionError("the audit opened a connection")


@pytest.mark.parametrize(("name", "change", "said"), PLANTED, ids=lambda value: str(value)[:50])
def test_a_row_that_breaks_a_rule_is_named_with_its_table(store: LocalStore, name: str, change: Row, said: str) -> None:
    bad = {**GOOD[name][0], **_apart(name), **change}

    (verdict,) = check_files(store, {name: [_write(store, name, [*GOOD[name], bad])]})

    assert not verdict.success
    assert any(said in failure for failure in verdict.failures), verdict.failures
    assert all(failure.startswith(f"{name}: ") and "\n" not in failure for failure in verdict.failures)


def _apart(name: str) -> Row:
    """What sets a planted row apart from the good ones."""
    keys = {"ingest_ledger": ("topic", "other"), "rate_limit_usage": ("tenant", "z")}
    keys |= {"rate_limit_usage_daily": ("tenant", "z"), "completeness_hourly": ("boot", "z")}
    key, value = keys.get(name, ("boot", "z") if name == "completeness_daily" else ("model", "z"))
    return {key: value}


def test_every_rule_special_to_a_table_has_a_row_that_breaks_it() -> None:
    labels = {
        (name, str(one)) for name in {**ROW_RULES, **SPECIAL} for one in suite(name).expected if _is_special(name, one)
    }
    planted = [(name, said.split(" fails ")[0]) for name, _, said in PLANTED]

    missed = [pair for pair in labels if not any(pair[0] == name and said in pair[1] for name, said in planted)]

    assert len(labels) > 30
    assert missed == []


def _is_special(name: str, one: Expected) -> bool:
    return one in SPECIAL.get(name, ()) or one.columns in [(rule.sentence,) for rule in ROW_RULES.get(name, ())]


def test_every_published_table_has_a_suite_that_names_each_of_its_columns() -> None:
    for name, table in PUBLISHED.items():
        named = {
            column
            for one in suite(name).expected
            if one.type != "expect_table_columns_to_match_ordered_list"
            for column in one.columns
        }
        assert {column.name for column in table.columns} <= named
        assert all(rule.sentence in named for rule in suite(name).rules)


def test_a_row_that_is_in_two_files_is_found_wherever_they_lie(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expectations, "ROWS_AT_ONCE", 1)
    later = {**USAGE, "hour": HOUR.replace(hour=2)}
    files = [_write(store, "usage_hourly", [USAGE], "01-0"), _write(store, "usage_hourly", [later], "02-0")]
    files.append(_write(store, "usage_hourly", [{**USAGE, "requests": 7, "ok": 3}], "01-1"))

    (verdict,) = check_files(store, {"usage_hourly": files})

    grain = "hour, tenant, api_version, model, route, protocol"
    assert verdict.failures == (f"usage_hourly: expect_compound_columns_to_be_unique({grain}) fails for 2 of 3 rows",)


def test_files_in_several_batches_are_counted_together(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectations, "ROWS_AT_ONCE", 1)
    rows = [{**USAGE, "hour": HOUR.replace(hour=hour), "bytes_in": -hour} for hour in range(4)]
    files = [_write(store, "usage_hourly", [row], f"{number:02d}-0") for number, row in enumerate(rows)]

    (verdict,) = check_files(store, {"usage_hourly": files})

    assert verdict.failures == ("usage_hourly: expect_column_values_to_be_between(bytes_in) fails for 3 of 4 rows",)
    assert verdict.evaluated == len(suite("usage_hourly").expected)


def test_integers_beyond_the_precision_of_doubles_are_compared_exactly(store: LocalStore) -> None:
    row = {**LIMITED, "demand": 2**62, "denied": 2**62, "unmet": 2**62 + 1}

    (verdict,) = check_files(store, {"rate_limit_usage": [_write(store, "rate_limit_usage", [row, IN_FLIGHT])]})

    pair = "expect_column_pair_values_a_to_be_greater_than_b"
    assert verdict.failures == tuple(
        f"rate_limit_usage: {pair}({great}, unmet) fails for 1 of 2 rows" for great in ("demand", "denied")
    )


def test_a_file_whose_columns_are_not_the_declared_ones_fails(store: LocalStore) -> None:
    schema = PUBLISHED["latency_hourly"].schema
    without = _write(store, "latency_hourly", [LATENCY], "01-0", schema.remove(schema.get_field_index("bucket")))
    typed = schema.set(schema.get_field_index("count"), pa.field("count", pa.float64()))
    other = _write(store, "latency_hourly", [LATENCY], "01-1", typed)
    good = _write(store, "latency_hourly", [LATENCY], "01-2")

    (verdict,) = check_files(store, {"latency_hourly": [without, other, good]})

    assert not verdict.success
    assert verdict.failures == (
        f"latency_hourly: the columns of {without} are not the declared ones: bucket is missing",
        f"latency_hourly: the columns of {other} are not the declared ones: count is double, not int64",
    )


def test_a_table_whose_files_hold_no_row_is_no_success(store: LocalStore) -> None:
    (verdict,) = check_files(store, {"usage_hourly": [_write(store, "usage_hourly", [])]})

    assert (verdict.success, verdict.evaluated) == (False, 0)
    assert verdict.failures == ("usage_hourly: nothing was evaluated: 1 files without a row",)


def test_a_folder_without_a_day_fails(store: LocalStore) -> None:
    path = _write(store, "usage_hourly", [USAGE])
    store.write_if_absent("marts/usage_hourly/r1/part-01-0.parquet", store.read(path))

    (verdict,) = check_files(store, {"usage_hourly": ["marts/usage_hourly/r1/part-01-0.parquet"]})

    assert len(verdict.failures) == 1
    assert "(hour lies in the day of its folder) fails for 1 of 1 rows" in verdict.failures[0]


@pytest.mark.parametrize("damage", ["not parquet", "truncated", "empty", "absent", "a page overwritten"])
def test_a_file_that_is_not_whole_parquet_is_named(store: LocalStore, damage: str) -> None:
    path = _write(store, "usage_hourly", [USAGE])
    whole = store.read(path)
    store.delete(path)
    left = {"not parquet": b'{"hour": 1}\n', "truncated": whole[:-7], "empty": b""}
    left["a page overwritten"] = whole[:4] + b"\xff" * 60 + whole[64:]
    if damage in left:
        store.write_if_absent(path, left[damage])

    with pytest.raises(InputUnreadable, match=path):
        check_files(store, {"usage_hourly": [path]})


def test_a_table_that_is_not_published_is_refused(store: LocalStore) -> None:
    with pytest.raises(UsageError, match="'users' is not a published table"):
        check_files(store, {"users": ["marts/users/part.parquet"]})


def test_what_is_not_installed_is_named_before_it_is_imported(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expectations, "NEEDED", ("great_expectations", "absent_parent.rpc"))
    with pytest.raises(ServiceUnreachable, match=r"absent_parent\.rpc.*quotaloop\[audit\]"):
        check_files(store, {"usage_hourly": ["marts/x.parquet"]})


def test_without_files_nothing_is_said_and_great_expectations_is_not_loaded() -> None:
    program = (
        "import sys, jobs.audit.expectations as audit; from quotaloop.storage.local import LocalStore;"
        "from pathlib import Path; assert audit.check_files(LocalStore(Path()), {'usage_hourly': []}) == [];"
        "assert 'great_expectations' not in sys.modules"
    )
    root = Path(__file__).parents[3]
    path = f"{root / 'src'}:{root}"
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": path}, timeout=60)


def test_an_expectation_that_cannot_be_evaluated_is_a_failure_with_its_cause(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = expectations._frame
    monkeypatch.setattr(expectations, "_frame", lambda *given: whole(*given).drop(columns="bytes_in"))

    (verdict,) = check_files(store, {"usage_hourly": [_write(store, "usage_hourly", [USAGE])]})

    listed, *others = sorted(verdict.failures, key=lambda failure: "ordered_list" not in failure)
    assert "'gpu_ms', 'bytes_out', " in listed.partition(" fails: found ")[2]
    assert others == [
        f'usage_hourly: {rule}(bytes_in) fails: Error: The column "bytes_in" in BatchData does not exist.'
        for rule in ("expect_column_values_to_not_be_null", "expect_column_values_to_be_between")
    ]
