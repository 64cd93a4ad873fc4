"""The fast path against the strict parser: wherever it takes a line, the event is the same, field for field."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotaloop.events.columns import CONTENT_SCHEMA, from_events
from quotaloop.events.event import Parsed
from quotaloop.events.parser import MAX_BYTES
from quotaloop.events.vectorised import Block, read_block
from quotaloop.parsed.block import parse_record
from quotaloop.raw.record import NO_TIME, Record, decode, encode
from tests.events.bad_lines import CASES, KAFKA_TIME_MS, LATE_BOUND_MS, event, line

Fields = dict[str, Any]


def block_of(values: list[bytes], kafka_time_ms: int = KAFKA_TIME_MS) -> bytes:
    return b"".join(encode(Record(number, kafka_time_ms, value)) for number, value in enumerate(values, start=100))


def taken(value: bytes, kafka_time_ms: int = KAFKA_TIME_MS) -> bool:
    """Does the fast path take this line? If it does, checks that the strict parser agrees."""
    return len(agreeing(block_of([value], kafka_time_ms)).rows) == 1


def agreeing(block: bytes) -> Block:
    """Read a block and hold every line that was taken against the strict parser."""
    fast = read_block(block, late_bound_ms=LATE_BOUND_MS)
    assert sorted([*fast.rows.tolist(), *fast.doubtful.tolist()]) == list(range(len(fast.starts) - 1))
    assert fast.content.schema == CONTENT_SCHEMA
    strict = []
    for row, offset in zip(fast.rows.tolist(), fast.offsets.tolist(), strict=True):
        text = block[fast.starts[row] : fast.starts[row + 1]]
        record = decode(text)
        assert record.offset == offset
        result = parse_record(record, late_bound_ms=LATE_BOUND_MS)
        assert isinstance(result, Parsed), (text, result)
        assert result.unknown_fields == (), text
        strict.append(result.event)
    expected = from_events(strict)
    if not fast.content.equals(expected):
        for got, want in zip(fast.content.to_pylist(), expected.to_pylist(), strict=True):
            assert got == want
    return fast


FULL: Fields = {
    "event_id": "01HZX-1",
    "ts": "2026-03-01T09:59:59.123Z",
    "tenant": "acme",
    "route": "/v1/chat",
    "api_version": "v1",
    "status": 200,
    "duration_ms": 512.25,
    "method": "POST",
    "protocol": "sse",
    "version_source": "path",
    "operation": "chat",
    "model": "gpt 4o",
    "outcome": "ok",
    "ttft_ms": 100.125,
    "input_tokens": 100,
    "cache_read_tokens": 20,
    "cache_write_tokens": 3,
    "output_tokens": 50,
    "reasoning_tokens": 7,
    "total_tokens": 180,
    "gpu_ms": 12.5,
    "bytes_in": 1000,
    "bytes_out": 20000,
    "stream_messages": 51,
    "retry_of": "01HZX-0",
    "api_key_id": "k1",
    "host": "gw-1",
    "boot": "b7",
    "seq": 17,
    "prev_boot": "b6",
    "prev_seq": 4,
}
DENIED: Fields = FULL | {
    "status": 429,
    "outcome": "denied",
    "denied_by": "tokens",
    "wanted_tokens": 500,
}
SMALL: Fields = json.loads(event("small"))


@pytest.mark.parametrize("fields", [FULL, DENIED, SMALL], ids=["full", "denied", "small"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (", ", ":"), (",", ": ")], ids=str)
def test_ordinary_lines_take_the_fast_path_compact_and_spaced_in_any_order(
    fields: Fields, separators: tuple[str, str]
) -> None:
    orders = [list(fields), sorted(fields), sorted(fields, reverse=True)]
    orders += [random.Random(seed).sample(list(fields), len(fields)) for seed in range(5)]
    for order in orders:
        assert taken(json.dumps({name: fields[name] for name in order}, separators=separators).encode())


@pytest.mark.parametrize("name", sorted(set(FULL) - set(SMALL) - {"host", "boot", "seq", "prev_boot", "prev_seq"}))
def test_a_line_without_one_optional_field_still_takes_the_fast_path(name: str) -> None:
    left_out = {name, "total_tokens"} if name.endswith("_tokens") else {name}
    assert taken(json.dumps({key: value for key, value in FULL.items() if key not in left_out}).encode())


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_line_without_a_required_field_is_doubtful(name: str) -> None:
    assert not taken(json.dumps({key: value for key, value in FULL.items() if key != name}).encode())


# Field, spellings the fast path must take, spellings it must leave to the strict parser.
TOKENS = (["0", "1", str(2**40 - 1)], [str(2**40), str(2**63 - 1), str(2**63), str(2**64), "9" * 400, "-1", "1.0"])
BYTES = (["0", str(2**50 - 1)], [str(2**50), str(2**63), str(2**64), "1e3", "01"])
BOUNDARIES: list[tuple[str, list[str], list[str]]] = [
    *((name, *TOKENS) for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")),
    *((name, *TOKENS) for name in ("reasoning_tokens", "wanted_tokens")),
    *((name, *BYTES) for name in ("bytes_in", "bytes_out", "stream_messages")),
    ("status", ["100", "399", "400", "429", "499", "599"], ["0", "99", "600", "1000", "20", "200.0", '"200"']),
    ("duration_ms", ["0", "0.0", "86400000", "86399999.9999", "0.0005", "0.0015", "0.1", "1.0000000000000000001"], []),
    (
        "duration_ms",
        ["123456.789012345678901234567890"],
        ["86400001", "86400000.001", "-1", "1e2", "9" * 400, "01", ".5"],
    ),
    ("gpu_ms", ["0", "1000000000000", "999999999999.9999", "0.0025"], ["1000000000001", "1000000000000.001", "-0"]),
    ("ttft_ms", ["0", "12.5", "12.4999"], ["12.5001", "13"]),
    ("ts", ["1262304000000", '"2010-01-01T00:00:00Z"', '"2026-03-01T10:05:01Z"', '"2024-02-29T23:59:59.999999Z"'], []),
    ("ts", ["4102444799999", '"2099-12-31T23:59:59.999999Z"'], ["4102444800000", '"2100-01-01T00:00:00Z"']),
    ("ts", [], ["1262303999999", '"2009-12-31T23:59:59.999Z"', '"2026-02-29T00:00:00Z"', '"2026-04-31T00:00:00Z"']),
    ("ts", [], ['"2026-03-01T24:00:00Z"', '"2026-03-01T23:59:60Z"', '"2026-03-01 10:00:00Z"', '"1772359200000"']),
    ("ts", [], ['"2026-03-01T10:00:00"', '"0000-01-01T00:00:00Z"', '"20260-03-01T00:00:00Z"', "177235920000", "null"]),
    ("tenant", ['"t"', f'"{"t" * 64}"', '"007"', '"null"', '"1.0"'], [f'"{"t" * 65}"', '"_t"', '""', '"a/b"', "7"]),
    ("api_version", [f'"{"v" * 32}"', '"2.1"'], [f'"{"v" * 33}"', '""', "2.1"]),
    (
        "route",
        ['"/"', f'"/{"r" * 255}"', '"/{id}/%41?<>"'],
        [f'"/{"r" * 256}"', '"r"', '"/ "', '"/\\u0041"', '"/\u00e9"'],
    ),
    (
        "model",
        [f'"{"m" * 128}"', '"a b"', '" "', '"true"', '"\u00a1\u00e9\u024f"', '"' + "\u00e9" * 64 + '"'],
        [f'"{"m" * 129}"', '""', '"e\u0301"', '"\u00a0"', '"\u00ad"', '"\u0250"', '"\\n"', '"' + "\u00e9" * 65 + '"'],
    ),
    ("event_id", [f'"{"e" * 128}"', '"-"', '"."'], [f'"{"e" * 129}"', '""', '"a b"', "5"]),
    ("operation", ['"chat"'], [f'"{"e" * 129}"', '"a/b"']),
    ("retry_of", ['"chat"'], [f'"{"e" * 129}"', '"a/b"']),
    ("api_key_id", ['"chat"'], [f'"{"e" * 129}"', '"a/b"']),
    ("method", ['"GET"', f'"{"A" * 32}"'], ['"get"', f'"{"A" * 33}"', '""', '"AKIAABCDEFGHIJKLMNOP"']),
    ("protocol", ['"mcp"', '"webrtc"'], ['"MCP"', '""', '"https"']),
    ("version_source", ['"accept"'], ['"cookie"']),
    ("outcome", ['"ok"', '"error"', '"cancelled"'], ['"denied"', '"OK"']),
    ("total_tokens", ["0"], ["1", str(2**63), str(2**64)]),
    ("unknown", [], ["1", '"x"', "{}"]),
]


@pytest.mark.parametrize(("name", "spelling"), [(name, text) for name, fine, _ in BOUNDARIES for text in fine])
def test_every_value_at_the_edge_of_its_range_takes_the_fast_path(name: str, spelling: str) -> None:
    assert taken(line("e", **{name: spelling}), NO_TIME)


@pytest.mark.parametrize(("name", "spelling"), [(name, text) for name, _, odd in BOUNDARIES for text in odd])
def test_every_value_beyond_its_range_or_not_spelled_plainly_is_doubtful(name: str, spelling: str) -> None:
    assert not taken(line("e", **{name: spelling}), NO_TIME)


def stamp(seq: str, prev_seq: str) -> bytes:
    return line("e", host='"h"', boot='"b"', seq=seq, prev_boot='"a"', prev_seq=prev_seq)


def test_stamps_at_the_edge_of_their_range() -> None:
    assert taken(stamp("1", "0"))
    assert taken(stamp(str(2**63 - 1), str(2**63 - 1)))
    assert not taken(stamp("0", "0"))
    assert not taken(stamp(str(2**63), "0"))
    assert not taken(stamp("1", str(2**63)))


@pytest.mark.parametrize("lacking", ["host", "boot", "seq", "prev_boot", "prev_seq"])
def test_half_a_stamp_is_doubtful(lacking: str) -> None:
    assert not taken(json.dumps({key: value for key, value in FULL.items() if key != lacking}).encode())


@pytest.mark.parametrize(
    "odd",
    [
        {"status": 400},
        {"outcome": "denied"},
        {"denied_by": "tokens"},
        {"status": 429, "outcome": "error", "denied_by": "tokens"},
        {"ttft_ms": 512.3},
        {"total_tokens": 181},
        {"model": "Bearer abcdefghijklmnop"},
        {"event_id": "sk-proj-Ab3dEf6hIj9lMn2pQr5t"},
        {"retry_of": "AKIAIOSFODNN7EXAMPLE"},
        {"host": "eyJa.eyJb.c"},
        {"operation": "ghp_" + "a" * 36},
    ],
    ids=str,
)
def test_fields_that_do_not_fit_each_other_and_credentials_are_doubtful(odd: Fields) -> None:
    assert not taken(json.dumps(FULL | odd).encode())


@pytest.mark.parametrize("key", ["tenant", "input_tokens", "seq", "ts", "outcome"])
@pytest.mark.parametrize("value", [None, "same"])
def test_a_key_that_stands_twice_is_doubtful_wherever_it_stands(key: str, value: str | None) -> None:
    again = json.dumps({key: FULL[key] if value else None})[1:-1]
    body = json.dumps(FULL)
    assert not taken(f"{{{again}, {body[1:]}".encode())
    assert not taken(f"{body[:-1]}, {again}}}".encode())


@pytest.mark.parametrize("value", [":", ":x", ":::"])
def test_a_value_that_looks_like_the_end_of_a_key_is_never_taken_for_one(value: str) -> None:
    taken(line("e", event_id=f'"{value}"'))
    assert not taken(line("e", event_id=f'"{value}"', status='200,"status":200'))


@pytest.mark.parametrize(
    "payload", [b"{}", b'{"seq":1}', b'{"seq":12345}', b'{"model":"m"}', b'{"gpu_ms":1}', b"", b"{"]
)
def test_payloads_too_short_for_an_event_are_doubtful(payload: bytes) -> None:
    assert not taken(payload)
    assert len(agreeing(block_of([payload, event("whole"), payload])).rows) == 1


def test_times_at_the_edge_of_late_and_future() -> None:
    for distance, expected in [(300_000, True), (300_001, False), (-LATE_BOUND_MS, True), (-LATE_BOUND_MS - 1, False)]:
        assert taken(event("e", ts=KAFKA_TIME_MS + distance)) == expected
    assert taken(event("e", ts=KAFKA_TIME_MS + 10**9), NO_TIME)


def test_a_line_of_the_greatest_length_is_taken_and_a_longer_one_is_not() -> None:
    head = line("e", duration_ms="1.")[:-1]
    assert taken(head + b"0" * (MAX_BYTES - len(head) - 1) + b"}")
    assert not taken(head + b"0" * (MAX_BYTES - len(head)) + b"}")


def test_flags_other_than_plain_are_doubtful() -> None:
    block = b"1\t-1\tb\te30=\n2\t-1\tn\t\n3\t-1\tx\t" + event("e") + b"\n4\t-1\t.\t" + event("e") + b"\n"
    assert agreeing(block).rows.tolist() == [3]


def test_a_block_of_nothing_doubtful_and_one_of_nothing_else() -> None:
    assert agreeing(block_of([event(f"e{n}") for n in range(3)])).doubtful.tolist() == []
    assert agreeing(block_of([b"", b"{}", b"x"])).rows.tolist() == []
    assert agreeing(b"").rows.tolist() == []


def test_rows_keep_the_order_and_the_offsets_of_their_lines() -> None:
    fast = agreeing(block_of([event("a"), b"x", event("b"), b"", event("c")]))
    assert (fast.rows.tolist(), fast.offsets.tolist(), fast.doubtful.tolist()) == ([0, 2, 4], [100, 102, 104], [1, 3])
    assert fast.content["event_id"].to_pylist() == ["a", "b", "c"]


def test_no_case_of_the_bad_lines_is_taken_that_the_strict_parser_refuses() -> None:
    block = b"".join(encode(Record(number, case.kafka_time_ms, case.value)) for number, case in enumerate(CASES))
    assert len(agreeing(block).rows) > 20


def test_the_values_of_a_full_line_worked_out_by_hand() -> None:
    (row,) = agreeing(block_of([json.dumps(DENIED).encode()])).content.to_pylist()
    assert row["ts"] == datetime(2026, 3, 1, 9, 59, 59, 123_000, tzinfo=UTC)
    assert (row["duration_us"], row["ttft_us"], row["gpu_us"]) == (512_250, 100_125, 12_500)
    assert (row["total_tokens"], row["wanted_tokens"], row["denied_by"]) == (180, 500, "tokens")


IDS = st.from_regex(r"[A-Za-z0-9._:-]{1,12}", fullmatch=True)
MILLIS = st.integers(0, 10**7) | st.floats(0, 10**7).map(lambda x: round(x, 4))
COUNTS = st.sampled_from([0, 1, 7, 2**31, 2**32, 2**40 - 1, 2**40, 2**63, 2**64]) | st.integers(0, 10**6)
LINES = st.fixed_dictionaries(
    {
        "event_id": IDS,
        "ts": st.integers(KAFKA_TIME_MS - 10**6, KAFKA_TIME_MS + 310_000)
        | st.datetimes(datetime(2026, 2, 26), datetime(2026, 3, 1, 10, 6)).map(lambda time: time.isoformat() + "Z"),
        "tenant": IDS,
        "route": st.from_regex(r"/[ -~]{0,8}", fullmatch=True),
        "api_version": IDS,
        "status": st.sampled_from([100, 200, 204, 399, 400, 429, 499, 500, 599, 600]),
        "duration_ms": MILLIS,
    },
    optional={
        "method": st.sampled_from(["GET", "POST", "get"]),
        "protocol": st.sampled_from(["http", "sse", "ftp"]),
        "version_source": st.sampled_from(["path", "header"]),
        "operation": IDS,
        "model": st.text(min_size=1, max_size=8) | st.from_regex(r"[ -~]{1,8}", fullmatch=True),
        "outcome": st.sampled_from(["ok", "error", "denied", "cancelled"]),
        "denied_by": st.sampled_from(["requests", "tokens"]),
        "ttft_ms": MILLIS,
        **dict.fromkeys(("input_tokens", "cache_read_tokens", "output_tokens", "wanted_tokens", "bytes_in"), COUNTS),
        "gpu_ms": MILLIS,
        "retry_of": IDS,
        "seq": COUNTS,
        "host": IDS,
        "boot": IDS,
    },
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(LINES, min_size=1, max_size=8), st.booleans(), st.booleans())
def test_any_lines_get_the_same_event_from_both(rows: list[Fields], spaced: bool, ascii_only: bool) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    agreeing(block_of([json.dumps(row, separators=separators, ensure_ascii=ascii_only).encode() for row in rows]))


PIECES = [
    b'"',
    b"\\",
    b",",
    b":",
    b"{",
    b"}",
    b"[",
    b" ",
    b"\t",
    b"0",
    b"9",
    b"-",
    b".",
    b"e",
    b"null",
    b"true",
    b"\xc3\xa9",
]
PIECES += [b'"seq":1', b',"status":200', b"\x00", b"\r", b"A", b"/", b"20", b"1e3", b"sk-", b'"":1', b"Z", b"T"]


def mutated(value: bytes, chance: random.Random) -> bytes:
    """A line with one to three small changes: pieces put in, left out, written over, moved or repeated."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(value) + 1)
        to = min(len(value), at + chance.choice([0, 0, 1, 1, 2, 5, 20]))
        middle = chance.choice([b"", chance.choice(PIECES), value[at:to] * 2, value[at:to].swapcase()])
        value = value[:at] + middle + value[to:]
    return value


def test_no_mutation_of_a_valid_line_gets_another_event() -> None:
    chance = random.Random(20260301)
    seeds = [json.dumps(fields, separators=(",", ":")).encode() for fields in (FULL, DENIED, SMALL)]
    seeds += [json.dumps(fields).encode() for fields in (FULL, DENIED, SMALL)]
    lines = [mutated(chance.choice(seeds), chance) for _ in range(20_000)]
    rows = agreeing(block_of(lines)).rows
    assert 1_000 < len(rows) < 15_000  # enough were taken, and enough were not, for this to mean something


def test_numbers_swapped_at_random_get_the_same_event_from_both() -> None:
    chance = random.Random(7)
    numbers = [0, 1, 2, 99, 100, 2**31, 2**40 - 1, 2**40, 2**50 - 1, 2**50, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30]
    names = [name for name, value in FULL.items() if isinstance(value, int | float)]
    lines = []
    for _ in range(5_000):
        fields = dict(FULL)
        for name in chance.sample(names, 2):
            fields[name] = chance.choice([*numbers, chance.uniform(0, 600), chance.randrange(10**6) / 2000])
        if chance.random() < 0.8:
            del fields["total_tokens"]
        lines.append(json.dumps(fields).encode())
    assert len(agreeing(block_of(lines)).rows) > 500


def test_a_block_without_lines_has_the_columns_of_the_content() -> None:
    assert read_block(b"", late_bound_ms=None).content.equals(pa.table(CONTENT_SCHEMA.empty_table()))
