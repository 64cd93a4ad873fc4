"""The strict parser: every case of the list of bad lines, and which reason is first; through a block it is the same."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from quotaloop.events.event import Event, Parsed, Rejection
from quotaloop.events.parser import MAX_BYTES, REASONS, parse_line
from quotaloop.parsed.block import parse_block, parse_record
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import NO_TIME, Record, encode
from tests.events.bad_lines import (
    ACCEPTED,
    CASES,
    KAFKA_TIME_MS,
    LATE,
    LATE_BOUND_MS,
    NOT_QUARANTINED,
    TS_MS,
    Case,
    event,
    line,
)


def outcome(value: bytes | None, kafka_time_ms: int = KAFKA_TIME_MS) -> str:
    result = parse_record(Record(0, kafka_time_ms, value), late_bound_ms=LATE_BOUND_MS)
    return ACCEPTED if isinstance(result, Parsed) else result.reason


def parsed(value: bytes) -> Event:
    result = parse_line(value)
    assert isinstance(result, Parsed), result
    return result.event


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_bad_line_has_its_outcome(case: Case) -> None:
    assert outcome(case.value, case.kafka_time_ms) == case.parsed


def test_a_block_gives_every_case_the_same_outcome() -> None:
    block = b"".join(encode(Record(number, case.kafka_time_ms, case.value)) for number, case in enumerate(CASES))
    result = parse_block(block, Range("t", 3, 0, len(CASES)), late_bound_ms=LATE_BOUND_MS, parser="p1")
    found = dict.fromkeys(result.events["offset"].to_pylist(), ACCEPTED)
    found |= {row["offset"]: row["reason"] for row in result.rejects}
    assert found == {number: case.parsed for number, case in enumerate(CASES)}
    assert result.lines == len(CASES)
    assert result.reasons == Counter(case.parsed for case in CASES if case.parsed != ACCEPTED)
    assert result.events["offset"].to_pylist() == sorted(result.events["offset"].to_pylist())


def test_the_list_of_cases_is_sound() -> None:
    """Rows that are about one line are all there; accepted events of an hour and tenant have ids of their own."""
    about_runs_or_files = {32, 52, 53, 56, 57, 58, 59}
    assert {case.row for case in CASES} == set(range(1, 72)) - about_runs_or_files
    results = [parse_line(case.value or b"") for case in CASES if case.outcome == ACCEPTED]
    keys = [
        (result.event.ts // 3_600_000, result.event.tenant, result.event.event_id)
        for result in results
        if isinstance(result, Parsed)
    ]
    assert len(set(keys)) == len(keys) == len(results)


def test_each_reason_is_documented_and_each_documented_reason_has_a_case() -> None:
    seen = {case.outcome for case in CASES} - set(NOT_QUARANTINED)
    elsewhere = {"erased", "outcome_mismatch", "denied_by_mismatch", "stamp_incomplete"}
    assert seen | elsewhere == set(REASONS)
    assert not seen & elsewhere


def test_duplicates_have_equal_events_and_conflicts_have_not() -> None:
    first = parse_line(next(case.value or b"" for case in CASES if case.row == 60))
    for case in CASES:
        if case.outcome in ("duplicate", "conflicting_duplicate"):
            result = parse_line(case.value or b"")
            assert isinstance(first, Parsed)
            assert isinstance(result, Parsed)
            assert (result.event == first.event) == (case.outcome == "duplicate"), case


def test_defaults_are_filled_in() -> None:
    assert parsed(event("a")) == Event(
        event_id="a",
        ts=TS_MS,
        tenant="acme",
        route="/v1/chat",
        api_version="v1",
        status=200,
        duration_us=12_500,
        method="POST",
        protocol="http",
        version_source=None,
        operation=None,
        model="unknown",
        outcome="ok",
        denied_by=None,
        ttft_us=None,
        input_tokens=0,
        cache_read_tokens=0,
        cache_write_tokens=0,
        output_tokens=0,
        reasoning_tokens=0,
        total_tokens=0,
        wanted_tokens=None,
        gpu_us=0,
        bytes_in=0,
        bytes_out=0,
        stream_messages=0,
        retry_of=None,
        api_key_id=None,
        host=None,
        boot=None,
        seq=None,
        prev_boot=None,
        prev_seq=None,
    )


def test_what_is_stated_is_kept() -> None:
    stated = {
        "method": "GET",
        "protocol": "sse",
        "version_source": "header",
        "operation": "chat",
        "model": "m 1",
        "outcome": "denied",
        "denied_by": "tokens",
        "status": 429,
        "input_tokens": 1,
        "cache_read_tokens": 2,
        "cache_write_tokens": 4,
        "output_tokens": 8,
        "reasoning_tokens": 16,
        "total_tokens": 31,
        "wanted_tokens": 32,
        "bytes_in": 64,
        "bytes_out": 128,
        "stream_messages": 256,
        "retry_of": "r",
        "api_key_id": "k",
        "host": "h",
        "boot": "b",
        "seq": 1,
        "prev_boot": "a",
        "prev_seq": 0,
    }
    result = parsed(event("a", **stated, duration_ms=3, ttft_ms=0.5, gpu_ms=0.25))
    assert {name: getattr(result, name) for name in stated} == stated
    assert (result.duration_us, result.ttft_us, result.gpu_us) == (3_000, 500, 250)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (100, "ok"),
        (200, "ok"),
        (399, "ok"),
        (400, "error"),
        (428, "error"),
        (429, "denied"),
        (430, "error"),
        (498, "error"),
        (499, "cancelled"),
        (500, "error"),
        (599, "error"),
    ],
)
def test_an_outcome_that_is_not_stated_follows_from_the_status(status: int, expected: str) -> None:
    assert parsed(event("a", status=status)).outcome == expected


@pytest.mark.parametrize(
    ("ts", "expected"),
    [
        ("2026-03-01T10:00:00Z", TS_MS),
        ("2026-03-01T10:00:00.1Z", TS_MS + 100),
        ("2026-03-01T10:00:00.0019Z", TS_MS + 1),
        ("2026-03-01T10:00:00.999999999Z", TS_MS + 999),
        ("2026-03-01T10:00:00-00:00", TS_MS),
        ("2026-03-01T12:30:00.5+02:30", TS_MS + 500),
        ("2026-02-28T22:15:00-11:45", TS_MS),
        ("2010-01-01T00:00:00Z", 1_262_304_000_000),
        ("2010-01-01T05:00:00+05:00", 1_262_304_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        (1_262_304_000_000, 1_262_304_000_000),
    ],
)
def test_times_are_epoch_milliseconds_and_finer_digits_are_cut_off(ts: str | int, expected: int) -> None:
    assert parsed(event("a", ts=ts)).ts == expected


@pytest.mark.parametrize(
    ("spelled", "micros"),
    [
        ("0.0005", 0),  # half to even: 0.5 microseconds
        ("0.0015", 2),
        ("0.0025", 2),
        ("0.0006", 1),
        ("1", 1_000),
        ("1e-3", 1),
        ("86400000", 86_400_000_000),
        ("0.1", 100),
    ],
)
def test_milliseconds_become_whole_microseconds(spelled: str, micros: int) -> None:
    assert parsed(line("a", duration_ms=spelled)).duration_us == micros


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"outcome": "ok", "status": 400}, "outcome_mismatch"),
        ({"outcome": "denied", "status": 399}, "outcome_mismatch"),
        ({"outcome": "denied", "status": 400}, ACCEPTED),
        ({"outcome": "error", "status": 200}, ACCEPTED),
        ({"outcome": "cancelled", "status": 200}, ACCEPTED),
        ({"denied_by": "tokens"}, "denied_by_mismatch"),
        ({"denied_by": "tokens", "status": 500}, "denied_by_mismatch"),
        ({"denied_by": "tokens", "status": 429, "outcome": "error"}, "denied_by_mismatch"),
        ({"denied_by": "tokens", "status": 429}, ACCEPTED),
        ({"host": "h"}, "stamp_incomplete"),
        ({"host": "h", "boot": "b"}, "stamp_incomplete"),
        ({"boot": "b", "seq": 1}, "stamp_incomplete"),
        ({"seq": 1}, "stamp_incomplete"),
        ({"prev_boot": "b"}, "stamp_incomplete"),
        ({"prev_seq": 0}, "stamp_incomplete"),
        ({"host": "h", "boot": "b", "seq": None}, "stamp_incomplete"),
        ({"prev_boot": "b", "prev_seq": 0}, ACCEPTED),
        ({"host": "h", "boot": "b", "seq": 0}, "range"),
        ({"host": "h", "boot": "b", "seq": -1}, "negative"),
        ({"wanted_tokens": 5}, ACCEPTED),
        ({"protocol": "HTTP"}, "form"),
        ({"version_source": "cookie"}, "form"),
        ({"outcome": "OK"}, "form"),
        ({"denied_by": "money", "status": 429}, "form"),
        ({"method": "post"}, "form"),
        ({"method": ""}, "form"),
        ({"model": ""}, "form"),
        ({"model": "m" * 128}, ACCEPTED),
        ({"model": "m" * 129}, "form"),
        ({"route": "v1"}, "form"),
        ({"route": "/" + "x" * 255}, ACCEPTED),
        ({"route": "/" + "x" * 256}, "form"),
        ({"route": "/\u00e9"}, ACCEPTED),
        ({"api_version": "v" * 32}, ACCEPTED),
        ({"api_version": "v" * 33}, "form"),
        ({"gpu_ms": 10**12}, ACCEPTED),
        ({"gpu_ms": 10**12 + 1}, "range"),
        ({"total_tokens": 5 * (2**40 - 1) + 1}, "range"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_each_other_or_their_form(values: dict[str, object], expected: str) -> None:
    assert outcome(event("a", **values)) == expected


def test_the_first_reason_in_the_order_of_the_contract_is_given() -> None:
    """The line breaks every rule; each step mends the one whose reason was given."""
    secret = "sk-proj-Ab3dEf6hIj9lMn2pQr5t"
    fields: dict[str, str | None] = {
        "total_tokens": "7",
        "duration_ms": None,
        "input_tokens": '"5"',
        "tenant": '"_"',
        "note": f'"{secret}"',
        "deep": "[" * 70 + "]" * 70,
    }

    def step(**changes: str | None) -> str:
        fields.update(changes)
        return outcome(line("a", **fields))

    base = line("a", **fields)
    broken = base[:-1] + b',"a":1,"a":2}}'
    assert outcome(broken + b"\xff" + b" " * MAX_BYTES) == "size"
    assert outcome(broken + b"\xff") == "encoding"
    assert outcome(broken) == "syntax"
    assert outcome(broken[:-1]) == "duplicate_key"
    assert step() == "depth"
    assert step(deep="[]") == "missing_fields"
    assert step(duration_ms="-1") == "type"
    assert step(input_tokens="5") == "form"
    assert step(tenant='"t"') == "negative"
    assert step(duration_ms="1") == "token_mismatch"
    assert step(total_tokens="5") == "credential"
    assert step(note='"x"') == ACCEPTED


def test_types_are_looked_at_before_forms_and_fields_in_the_order_of_the_contract() -> None:
    assert outcome(line("a", gpu_ms="true", tenant='"_"')) == "type"
    assert outcome(line("a", gpu_ms="-1", duration_ms="1e9", tenant='"_"')) == "form"
    assert outcome(line("a", gpu_ms="-1", duration_ms="1e9")) == "range"
    assert outcome(line("a", gpu_ms="-1", ts="5")) == "timestamp"


def test_a_line_that_is_late_and_bad_is_bad() -> None:
    old = {"ts": '"2026-01-01T00:00:00Z"'}
    assert outcome(line("a", **old)) == LATE
    assert outcome(line("a", **old, input_tokens="-1")) == "negative"
    assert outcome(line("a", **old, note='"Bearer abcdefghijklmnop"')) == "credential"


def test_nothing_is_late_without_a_bound() -> None:
    assert isinstance(parse_line(event("a", ts=1_262_304_000_000), kafka_time_ms=KAFKA_TIME_MS), Parsed)


def test_a_kafka_time_of_zero_is_a_time() -> None:
    assert parse_line(event("a"), kafka_time_ms=0) == Rejection("future")
    assert isinstance(parse_line(event("a"), kafka_time_ms=NO_TIME), Parsed)


def test_unknown_fields_are_named_and_their_values_are_not_kept() -> None:
    result = parse_line(event("a", region="eu", Tenant="x", nested={"tenant": "y"}, nothing=None))
    assert isinstance(result, Parsed)
    assert result.unknown_fields == ("region", "Tenant", "nested", "nothing")
    assert result.event == parsed(event("a"))


def test_an_erased_record_is_quarantined_as_such() -> None:
    record = Record(0, KAFKA_TIME_MS, b'{"host":"h","boot":"b","seq":1}', erased=True)
    assert parse_record(record, late_bound_ms=LATE_BOUND_MS) == Rejection("erased")


def test_key_order_and_white_space_do_not_matter() -> None:
    fields = json.loads(event("a", model="m", input_tokens=3, host="h", boot="b", seq=9))
    backwards = dict(reversed(fields.items()))
    spellings = [
        json.dumps(fields),
        json.dumps(backwards, separators=(",", ":")),
        json.dumps(backwards, indent=3),
        json.dumps(fields).replace("/", "\\/").replace("acme", "\\u0061cme"),
    ]
    assert len({parsed(spelling.encode()) for spelling in spellings}) == 1


def test_a_string_of_25_megabytes_is_refused_by_its_size() -> None:
    assert outcome(line("a", note='"' + "x" * 25_000_000 + '"')) == "size"
