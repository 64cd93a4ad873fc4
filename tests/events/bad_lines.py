"""Every kind of bad line and the outcome it must have: one list for every engine that reads lines.

The cases stand in the order in which they are landed, into one partition: what a duplicate repeats stands before it.
Every other event has an id of its own. ``land_cases`` writes all of them as one raw range.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from quotaloop.raw import topics
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import NO_TIME, Record, encode
from quotaloop.storage.store import Store

TS = "2026-03-01T10:00:00Z"
TS_MS = 1_772_359_200_000
KAFKA_TIME_MS = TS_MS + 1_000
LATE_BOUND_MS = 48 * 3_600_000  # the default setting; the late cases are late by it
MAX_LINE = 65_536

ACCEPTED, DUPLICATE, LATE = "accepted", "duplicate", "late"
NOT_QUARANTINED = (ACCEPTED, DUPLICATE, LATE)


@dataclass(frozen=True)
class Case:
    """A record and its outcome: ``accepted``, ``duplicate``, ``late`` or the reason of its quarantine.

    ``row`` is the kind of bad input it belongs to; ``value`` None is a null value.
    """

    row: int
    name: str
    value: bytes | None
    kafka_time_ms: int
    outcome: str

    @property
    def parsed(self) -> str:
        """What one line alone can tell: whether an earlier line has the same id is seen later."""
        return ACCEPTED if self.outcome in (DUPLICATE, "conflicting_duplicate") else self.outcome

    def __str__(self) -> str:
        return f"{self.row}: {self.name}"


@dataclass(frozen=True)
class Expected:
    """What a run over the landed cases must count."""

    range: Range
    lines: int
    accepted: int
    duplicate: int
    late: int
    quarantined: int
    reasons: dict[str, int] = field(default_factory=dict)


def line(event_id: str, /, **spelled: str | None) -> bytes:
    """A valid event with fields put in as JSON text, or left out where None."""
    fields: dict[str, str | None] = {
        "event_id": json.dumps(event_id),
        "ts": f'"{TS}"',
        "tenant": '"acme"',
        "route": '"/v1/chat"',
        "api_version": '"v1"',
        "status": "200",
        "duration_ms": "12.5",
    }
    fields |= spelled
    members = ",".join(f'"{name}":{text}' for name, text in fields.items() if text is not None)
    return f"{{{members}}}".encode()


def event(event_id: str, /, **values: Any) -> bytes:
    """A valid event with fields of these values."""
    return line(event_id, **{name: json.dumps(value, ensure_ascii=False) for name, value in values.items()})


def land_cases(store: Store, *, topic: str = "bad-lines", ordinary: int = 0) -> Expected:
    """Write all cases as one raw range, after them as many ordinary lines, and say what must be counted.

    The cases alone are far above the share of bad lines that a release allows; ``ordinary`` lines thin them out.
    """
    records = [Record(offset, case.kafka_time_ms, case.value) for offset, case in enumerate(CASES)]
    for number in range(ordinary):
        records.append(Record(len(records), KAFKA_TIME_MS, event(f"ordinary-{number}")))
    item = Range(topic, 0, 0, len(records))
    topics.declare(store, topic, {"source": "files", "format": "native", "derived": []})
    store.write_if_absent(item.path, gzip.compress(b"".join(encode(record) for record in records), 1, mtime=0))
    outcomes = Counter(case.outcome for case in CASES)
    reasons = {reason: count for reason, count in sorted(outcomes.items()) if reason not in NOT_QUARANTINED}
    return Expected(
        range=item,
        lines=len(records),
        accepted=outcomes[ACCEPTED] + ordinary,
        duplicate=outcomes[DUPLICATE],
        late=outcomes[LATE],
        quarantined=sum(reasons.values()),
        reasons=reasons,
    )


def _id(row: int, name: str) -> str:
    return f"r{row}:{''.join(char if char.isascii() and char.isalnum() else '-' for char in name)}"[:128]


def _events(row: int, outcome: str, _kafka_time_ms: int = KAFKA_TIME_MS, **spellings: dict[str, Any]) -> list[Case]:
    """Events with some values changed; the keywords are the names of the cases."""
    return [
        Case(row, name, event(_id(row, name), **values), _kafka_time_ms, outcome) for name, values in spellings.items()
    ]


def _spelled(row: int, outcome: str, name: str, *texts: str | None, kafka_time_ms: int = KAFKA_TIME_MS) -> list[Case]:
    """Events in which one field is spelled in other ways, as JSON text; None leaves it out."""
    cases = []
    for text in texts:
        title = f"{name} {text if text is None or len(text) < 60 else f'{text[:20]} {len(text)}'}"
        value = line(f"r{row}:{name}:{zlib.crc32(f'{outcome} {text}'.encode())}", **{name: text})
        cases.append(Case(row, f"{title} {outcome}", value, kafka_time_ms, outcome))
    return cases


def _lines(row: int, outcome: str, *values: bytes | None) -> list[Case]:
    """Whole records."""
    return [Case(row, f"{value[:40] if value else value!r}", value, KAFKA_TIME_MS, outcome) for value in values]


def _nested(event_id: str, depth: int) -> bytes:
    """An event that is ``depth`` levels deep, the event itself being the first."""
    return line(event_id, extra="[" * (depth - 1) + "]" * (depth - 1))


def _sized(event_id: str, size: int) -> bytes:
    short = line(event_id, extra='""')
    return line(event_id, extra=f'"{"x" * (size - len(short))}"')


_E = event("whole")
_KEYS = ",".join(f'"k{number}":{number}' for number in range(100_000)).encode()
_HUGE = "1" * 4301
_SK = "sk-proj-Ab3dEf6hIj9lMn2pQr5t"
_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
_BEARER = "Bearer abcdefghijklmnop"
_GHP = "ghp_" + "a1B2" * 9

SYNTAX: list[Case] = [
    *_lines(
        1, "truncated", b'{"id":"x","ts":"2026-01-01T00:0', b"{", b'{"', b'{"a"', b'{"a":', b'{"a":1,', b'{"a":[1,'
    ),
    *_lines(1, "truncated", b'{"a":1', b'{"a":1.', b'{"a":1e', b'{"a":-', b'{"a":true', b'{"a":tru', b'{"a":nul'),
    *_lines(
        1, "truncated", b'{"a":null', b'{"a":"\\', b'{"a":"\\u00', b'{"a":"\\u00e9', b"[", b"[[{", _E[:-1], _E[:-9]
    ),
    *_lines(2, "multiple_values", _E + _E, _E + b" " + _E, b"{}{}", b"{}[", b'[] ["a"]', b'{} "x'),
    *_lines(3, "syntax", _E + b" trailing", _E + b",", _E + b"}", _E + b"]", _E + b";", b"{}:"),
    *_lines(4, "not_an_object", b"[" + _E + b"," + _E + b"]", b"[]", b"[[]]", b" [1]"),
    *_lines(5, "not_an_object", b"null", b"5", b'"x"', b"true", b"false", b"-1.5e3", b" 0 "),
    *_lines(6, "missing_fields", b"{}", b" { } ", b"{\t}", b'{"id":"x"}'),
    *_lines(7, "empty", b" ", b"     ", b"\t", b" \t ", b"\r", b" \n "),
    *_lines(8, "syntax", b"{'event_id':'x'}", b"{\"event_id\":'x'}", _E.replace(b'"', b"'")),
    *_lines(9, "syntax", b"/* x */" + _E, _E + b"// x", _E[:1] + b"/**/" + _E[1:], b"# x", b"-- x"),
    *_lines(10, "bom", b"\xef\xbb\xbf" + _E, b"\xef\xbb\xbf", b"\xef\xbb\xbf{}", b"\xef\xbb\xbf\xef\xbb\xbf" + _E),
    *_lines(11, "encoding", _E.replace(b"whole", b"wh\xffle"), _E.replace(b"acme", b"ac\xc3"), b"\xff", b"\x80{}"),
    *_lines(11, "encoding", _E.replace(b"acme", b"\xc0\xaf"), _E.replace(b"acme", b"\xed\xa0\x80"), b'{"\xe9'),
    *_lines(12, "encoding", _E.decode().encode("utf-16"), b"\xfe\xff" + _E.decode().encode("utf-16-be")),
    *_lines(12, "control_character", _E.decode().encode("utf-16-le")),
    *_lines(12, "binary", _E.decode().encode("utf-16-be")),
    *_lines(13, "control_character", *(_E.replace(b"acme", b"ac%cme" % code) for code in (0, 1, 8, 9, 10, 27, 31))),
    *_lines(13, "control_character", _E + b"\0", b"{\x0b}", b"{\x0c" + _E[1:], b'{"a"\0:1}', b"\x1b[31m" + _E),
    *_spelled(14, "form", "tenant", r'"\u0000"', r'"a\u0000b"'),
    *_spelled(14, "form", "event_id", r'"a\u0000"', r'"\u000a"'),
    *_spelled(14, "form", "model", r'"m\u0000"', r'"m\u001f"', r'"m\n"', r'"m\u007f"'),
    *_spelled(14, "form", "route", r'"/\u0000"', r'"/\t"'),
    *_spelled(14, ACCEPTED, "user_agent", r'"\u0000"'),
    *_spelled(15, "encoding", "tenant", r'"\ud800"', r'"\udc00"', r'"\udc00\ud800"', r'"\ud83d\u0041"', r'"\uD83D"'),
    *_spelled(15, "encoding", "user_agent", r'"\ud800"', r'["\udfff"]', r'{"\udbff":1}'),
    *_spelled(15, ACCEPTED, "user_agent", r'"\ud83d\ude00"'),
    *_spelled(15, ACCEPTED, "model", r'"smile \ud83d\ude00"'),
    *_lines(16, "control_character", _E.replace(b"acme", b"ac\rme"), b'{"a":"\r"}', b'"\r'),
    *_lines(16, ACCEPTED, event("ends-in-cr") + b"\r", event("white-space").replace(b",", b"\r\n ,\t")),
]
STRINGS: list[Case] = [
    *_events(17, ACCEPTED, line_separator={"note": "a\u2028b"}, paragraph_separator={"note": "a\u2029b"}),
    *_events(17, "form", model_line_separator={"model": "a\u2028b"}, route_line_separator={"route": "/a\u2029b"}),
    *_events(18, "form", **{f"tenant_{ord(c):x}": {"tenant": f"ac{c}me"} for c in "\u202e\u200b\u200d\ufeff\u00ad"}),
    *_events(18, "form", **{f"model_{ord(c):x}": {"model": f"m{c}x"} for c in "\u202e\u200b\u00a0\u3000\ue000\x85"}),
    *_events(18, "form", **{f"route_{ord(c):x}": {"route": f"/m{c}x"} for c in "\u202e\u200b \u00a0"}),
    *_events(19, ACCEPTED, composed={"model": "caf\u00e9"}, decomposed={"model": "cafe\u0301"}),
    *_events(19, ACCEPTED, long_only_when_decomposed={"model": "e\u0301" * 128}),
    *_events(20, ACCEPTED, cyrillic={"model": "gpt-4\u043e"}, latin={"model": "gpt-4o"}, greek={"model": "\u03bf1"}),
    *_events(62, "form", empty_id={"event_id": ""}, long_id={"event_id": "x" * 300}, id_129={"event_id": "x" * 129}),
    *_events(62, "form", id_of_blank={"event_id": "a b"}, id_of_slash={"event_id": "a/b"}, id_e={"event_id": "\u00e9"}),
    *_events(62, "missing_fields", null_id={"event_id": None}),
    *_events(62, "type", number_id={"event_id": 5}),
    *_lines(62, "missing_fields", line("", event_id=None)),
    *_events(62, ACCEPTED, id_128={"event_id": "x" * 128}, id_1={"event_id": "-"}, id_marks={"event_id": "._:-"}),
    *_events(63, "form", empty={"tenant": ""}, hive={"tenant": "__HIVE_DEFAULT_PARTITION__"}, space={"tenant": " "}),
    *_events(63, "missing_fields", null={"tenant": None}),
    *_events(64, ACCEPTED, seven={"tenant": "7"}, double_oh_seven={"tenant": "007"}, word_null={"tenant": "null"}),
    *_events(65, "form", up={"tenant": "../../etc"}, slash={"tenant": "a/b"}, equals={"tenant": "a=b"}),
    *_events(65, "form", percent={"tenant": "%2F"}, dot={"tenant": "."}, dots={"tenant": ".."}, under={"tenant": "_x"}),
    *_events(65, "form", backslash={"tenant": "a\\b"}, newline={"tenant": "a\n"}, dash={"tenant": "-a"}),
    *_events(66, "form", long={"tenant": "t" * 300}, one_too_long={"tenant": "t" * 65}),
    *_events(66, ACCEPTED, longest={"tenant": "t" * 64}),
    *_events(67, "form", sql={"tenant": "'; DROP TABLE x; --"}, jndi={"tenant": "${jndi:ldap://x}"}),
    *_events(67, "form", template={"tenant": "{{7*7}}"}, shell={"tenant": "$(id)"}, html={"tenant": "<b>"}),
    *_events(69, ACCEPTED, unknown_model={"model": "no-such-model"}, spaces={"model": "my own model"}),
    *_events(69, ACCEPTED, id_in_route={"route": "/users/8412/files/77"}, no_model={"model": None}),
    *_events(71, ACCEPTED, html={"user_agent": "<script>alert(1)</script>"}, bell={"user_agent": "\a"}),
    *_spelled(71, ACCEPTED, "user_agent", r'"\u001b[31mred"', r'"\u009b31m"'),
]
NUMBERS: list[Case] = [
    *_spelled(21, "syntax", "input_tokens", "NaN", "Infinity", "-Infinity", "nan", "inf"),
    *_spelled(21, "syntax", "duration_ms", "NaN", "Infinity", "-Infinity"),
    *_spelled(21, "type", "input_tokens", '"NaN"'),
    *_spelled(22, "negative", "input_tokens", "-5", "-1", "-9223372036854775808", "-9223372036854775809"),
    *_spelled(22, "negative", "gpu_ms", "-0.001", "-1"),
    *_spelled(22, "negative", "bytes_in", "-1"),
    *_spelled(22, ACCEPTED, "input_tokens", "-0"),
    *_spelled(23, "type", "input_tokens", "5.0", "5.7", "1e2", "5E0", "0.0", "-1.5"),
    *_spelled(23, "type", "status", "200.0", "2e2"),
    *_spelled(24, "type", "input_tokens", '"5"', '"1_000"', '"\u0967\u0968"', '" 5 "', '""'),
    *_spelled(24, "type", "duration_ms", '"5"', '"1e2"'),
    *_spelled(24, "syntax", "input_tokens", "1_000", "\u0967", "5 5"),
    *_spelled(25, "type", "input_tokens", "true", "false"),
    *_spelled(25, "type", "duration_ms", "true", "false"),
    *_spelled(25, "type", "ts", "true"),
    *_spelled(26, "range", "input_tokens", str(2**40), str(2**63 - 1), str(2**63), str(2**64 - 1), str(2**64)),
    *_spelled(26, "range", "bytes_out", str(2**50), str(2**64)),
    *_spelled(26, ACCEPTED, "output_tokens", str(2**40 - 1), "0"),
    *_spelled(26, ACCEPTED, "bytes_out", str(2**50 - 1)),
    *_spelled(27, "type", "input_tokens", "1e400", "-1e400"),
    *_spelled(27, "range", "duration_ms", "1e400"),
    *_spelled(27, "negative", "duration_ms", "-1e400"),
    *_spelled(27, ACCEPTED, "weight", "1e400"),
    *_spelled(28, "range", "input_tokens", _HUGE),
    *_spelled(28, "range", "duration_ms", _HUGE, f"{_HUGE}.5"),
    *_spelled(28, "range", "status", _HUGE),
    *_spelled(28, "negative", "input_tokens", f"-{_HUGE}"),
    *_spelled(28, "type", "input_tokens", f"{_HUGE}.0"),
    *_spelled(28, "timestamp", "ts", _HUGE),
    *_spelled(28, ACCEPTED, "weight", _HUGE),
    *_spelled(29, "syntax", "input_tokens", "007", "+7", "0x10", "-", "--1", "1.", ".5", "1e", "00"),
    *_spelled(30, "token_mismatch", "total_tokens", "1", "1099511627776"),
    *_events(30, "token_mismatch", one_less={"input_tokens": 5, "output_tokens": 5, "total_tokens": 9}),
    *_events(30, "token_mismatch", nothing={"input_tokens": 5, "total_tokens": 0}),
    *_events(
        30, ACCEPTED, exact={"input_tokens": 5, "reasoning_tokens": 6, "total_tokens": 11}, zero={"total_tokens": 0}
    ),
    *_events(31, ACCEPTED, no_tokens={"input_tokens": 0, "output_tokens": 0, "status": 200}),
    *_spelled(48, "negative", "duration_ms", "-1", "-0.5"),
    *_spelled(48, "syntax", "duration_ms", "NaN"),
    *_spelled(48, "range", "duration_ms", "86400001", "86400000.001", "1e9"),
    *_spelled(48, ACCEPTED, "duration_ms", "0", "0.0", "86400000", "8.64e7", "1e-400"),
    *_spelled(48, "ttft_mismatch", "ttft_ms", "12.501", "13"),
    *_spelled(48, ACCEPTED, "ttft_ms", "12.5", "0"),
    *_spelled(48, "negative", "ttft_ms", "-1"),
    *_spelled(70, "range", "status", "0", "99", "600", "2000"),
    *_spelled(70, "type", "status", '"200"', "200.0"),
    *_spelled(70, ACCEPTED, "status", "100", "599"),
]
FIELDS: list[Case] = [
    *_lines(
        33, "duplicate_key", _E[:-1] + b',"status":200}', _E[:-1] + b',"status":500}', _E[:-1] + b',"tenant":null}'
    ),
    *_lines(33, "duplicate_key", _E[:-1] + rb',"\u0073tatus":200}', _E[:-1] + b',"a":1,"a":1}', b'{"":1,"":2}'),
    *_lines(33, "duplicate_key", _E[:-1] + b',"a":{"b":1,"b":1}}', _E[:-1] + b',"a":[[{"b":{"c":1,"c":2}}]]}'),
    *_events(34, ACCEPTED, upper={"TENANT": "other"}, title={"Status": "x", "sTATUS": -1}),
    *_events(35, ACCEPTED, extra={"region": "eu-1"}, nested={"labels": {"a": [1, {"b": None}]}}, no_name={"": 1}),
    *_events(35, ACCEPTED, any_value={"weight": -1.5e300, "flag": True, "none": None, "list": []}),
    *_spelled(36, "missing_fields", "ts", None, "null"),
    *_spelled(36, "missing_fields", "tenant", None, "null"),
    *_spelled(36, "missing_fields", "route", None, "null"),
    *_spelled(36, "missing_fields", "api_version", None, "null"),
    *_spelled(36, "missing_fields", "status", None, "null"),
    *_spelled(36, "missing_fields", "duration_ms", None, "null"),
    *_lines(36, "missing_fields", line("renamed", duration_ms=None, latency_ms="12")),
    *_events(36, ACCEPTED, null_where_optional={"method": None, "input_tokens": None, "ttft_ms": None, "host": None}),
    *(case for name in ("tenant", "status", "duration_ms", "ts") for case in _spelled(37, "type", name, "{}", "[1]")),
    *(case for name in ("model", "input_tokens", "gpu_ms", "seq") for case in _spelled(37, "type", name, "{}", "[]")),
    *_spelled(37, "type", "model", "5", "true"),
    *_lines(49, "depth", _nested("depth-65", 65), _nested("depth-2000", 2000), _nested("depth-10000", 10_000)),
    *_lines(49, "depth", line("objects", extra='{"a":' * 64 + "1" + "}" * 64)),
    *_lines(49, ACCEPTED, _nested("depth-64", 64)),
    *_lines(49, "truncated", b"[" * 20_000, b'{"a":' * 10_000),
    *_lines(50, "size", _sized("one-too-long", MAX_LINE + 1), _sized("200-kb", 200_000), b"x" * 1_000_000),
    *_lines(50, "size", b"\xff" * 70_000, b" " * 65_537, b"\0" * 65_537, b"\xef\xbb\xbf" + _sized("bom", MAX_LINE)),
    *_lines(50, ACCEPTED, _sized("longest", MAX_LINE), event("blanks") + b" " * 60_000),
    *_lines(51, "size", b"{" + _KEYS + b"}"),
    *_lines(51, ACCEPTED, event("3000-keys", **{f"k{number}": number for number in range(3_000)})),
    *_lines(54, "null_value", None),
    *_lines(54, "empty", b""),
    *_lines(55, "binary", b"\0\0\0\0\x05\x0aacme", b"\0\0\0\0\x01" + _E, b"\0"),
]
TIMES: list[Case] = [
    *_spelled(38, "timestamp", "ts", "1772359200", "57971", "0", "-1", kafka_time_ms=NO_TIME),
    *_spelled(39, "timestamp", "ts", "1772359200.5", "1772359200000.0", "1772359200000000", "1772359200000000000"),
    *_spelled(
        39, "timestamp", "ts", '"1772359200"', '"1772359200000"', "1.7723592e12", "1262303999999", "4102444800000"
    ),
    *_spelled(39, ACCEPTED, "ts", "1772359200000"),
    *_spelled(39, ACCEPTED, "ts", "1262304000000", "4102444799999", kafka_time_ms=NO_TIME),
    *_spelled(40, "timestamp", "ts", '"2026-03-01T10:00:00"', '"2026-03-01 10:00:00Z"', '"2026-03-01t10:00:00z"'),
    *_spelled(40, "timestamp", "ts", '"2026-03-01"', '"2026-03-01T10:00Z"', '"2026-03-01T10:00:00+0100"', '""'),
    *_spelled(40, "timestamp", "ts", '"2026-03-01T10:00:00 Z"', '"2026-03-01T10:00:00,5Z"', '"2026-03-01T10:00:00.Z"'),
    *_spelled(
        40, "timestamp", "ts", '"2026-03-01T10:00:00+24:00"', '"2026-03-01T10:00:00+01:60"', '"26-03-01T10:00:00Z"'
    ),
    *_spelled(
        40, "timestamp", "ts", '" 2026-03-01T10:00:00Z"', '"\u0662026-03-01T10:00:00Z"', '"2026-03-01T10:00:00ZZ"'
    ),
    *_spelled(41, ACCEPTED, "ts", '"2026-03-29T02:30:00+01:00"', '"2025-10-26T02:30:00+02:00"', kafka_time_ms=NO_TIME),
    *_spelled(41, ACCEPTED, "ts", '"2026-03-01T10:00:00-00:00"', '"2026-03-02T09:59:00+23:59"'),
    *_spelled(41, "timestamp", "ts", '"2026-03-29T02:30:00"'),
    *_spelled(42, "timestamp", "ts", '"2016-12-31T23:59:60Z"', '"2026-03-01T24:00:00Z"', '"2026-03-01T10:60:00Z"'),
    *_spelled(43, "timestamp", "ts", '"2026-13-01T10:00:00Z"', '"2026-03-45T10:00:00Z"', '"2026-02-29T10:00:00Z"'),
    *_spelled(43, "timestamp", "ts", '"2026-00-01T10:00:00Z"', '"2026-03-00T10:00:00Z"', '"2026-04-31T10:00:00Z"'),
    *_spelled(44, "range", "ts", '"0000-01-01T00:00:00Z"', '"9999-12-31T23:59:59-18:00"', '"294247-01-10T04:00:54Z"'),
    *_spelled(
        44, "range", "ts", '"0001-01-01T00:00:00+18:00"', '"1970-01-01T00:00:00Z"', f'"{"9" * 5000}-01-01T00:00:00Z"'
    ),
    *_spelled(
        44, "range", "ts", '"2009-12-31T23:59:59.9999Z"', '"2100-01-01T00:00:00Z"', '"2010-01-01T00:00:00+00:01"'
    ),
    *_spelled(44, ACCEPTED, "ts", '"2010-01-01T00:00:00Z"', '"2099-12-31T23:59:59.9999Z"', kafka_time_ms=NO_TIME),
    *_spelled(45, "future", "ts", '"2026-03-01T11:00:00Z"', '"2036-03-01T10:00:00Z"', '"2026-03-01T10:05:01.001Z"'),
    *_spelled(45, "future", "ts", str(KAFKA_TIME_MS + 300_001)),
    *_spelled(
        45, ACCEPTED, "ts", '"2026-03-01T10:05:01Z"', '"2026-03-01T10:05:01.0009Z"', str(KAFKA_TIME_MS + 300_000)
    ),
    *_spelled(45, ACCEPTED, "ts", '"2036-03-01T10:00:00Z"', kafka_time_ms=NO_TIME),
    *_spelled(
        46, LATE, "ts", '"2026-01-30T10:00:00Z"', '"2026-02-27T10:00:00.999Z"', str(KAFKA_TIME_MS - LATE_BOUND_MS - 1)
    ),
    *_spelled(46, ACCEPTED, "ts", '"2026-02-27T10:00:01Z"', str(KAFKA_TIME_MS - LATE_BOUND_MS)),
    *_spelled(46, ACCEPTED, "ts", '"2026-01-30T10:00:00Z"', kafka_time_ms=NO_TIME),
    *_spelled(47, ACCEPTED, "ts", '"2026-03-01T10:00:00.123456789Z"', f'"2026-03-01T10:00:00.{"9" * 40}Z"'),
]
IDENTITY: list[Case] = [
    *_lines(60, ACCEPTED, event("first", model="caf\u00e9", input_tokens=3)),
    *_lines(60, DUPLICATE, event("first", model="caf\u00e9", input_tokens=3)),
    *_lines(
        60, DUPLICATE, event("first", input_tokens=3, model="cafe\u0301", region="eu", method="POST", output_tokens=0)
    ),
    *_lines(60, DUPLICATE, event("first", model="caf\u00e9", input_tokens=3, ts=TS_MS, outcome="ok", total_tokens=3)),
    *_lines(
        60, DUPLICATE, line("first", model=r'"caf\u00e9"', input_tokens=" 3 ", duration_ms="1.25e1", gpu_ms="0.0004")
    ),
    *_lines(61, "conflicting_duplicate", event("first", model="caf\u00e9", input_tokens=4)),
    *_lines(61, "conflicting_duplicate", event("first", model="caf\u00e9", input_tokens=4)),
    *_lines(61, "conflicting_duplicate", event("first", model="caf\u00e9", input_tokens=3, ts=TS_MS + 1)),
    *_events(60, ACCEPTED, another_tenant={"event_id": "first", "tenant": "globex"}),
    *_events(60, ACCEPTED, another_hour={"event_id": "first", "ts": "2026-03-01T09:59:59.999Z"}),
]
CREDENTIALS: list[Case] = [
    *_events(68, "credential", key_id={"api_key_id": _SK}, retry={"retry_of": _SK}, model={"model": f"of {_SK}"}),
    *_events(68, "credential", method={"method": "AKIAABCDEFGHIJKLMNOP"}, tenant={"tenant": "AKIAABCDEFGHIJKLMN12"}),
    *_events(
        68,
        "credential",
        route={"route": f"/{_GHP}"},
        bearer={"model": _BEARER},
        host={"host": _JWT, "boot": "b", "seq": 1},
    ),
    *_events(68, "credential", event_id={"event_id": _SK}, operation={"operation": f"x:{_SK}"}),
    *_events(68, "credential", unknown={"auth": _BEARER}, nested={"headers": [{"x": {"y": f"token={_SK}"}}]}),
    *_events(
        68, "credential", jwt={"cookie": f"id={_JWT}; a=b"}, aws={"note": "(AKIAIOSFODNN7EXAMPLE)"}, git={"n": _GHP}
    ),
    *_spelled(68, "credential", "note", rf'"\u0073{_SK[1:]}"', rf'"a\n{_SK}"', rf'"\u0042earer\u0020{_BEARER[7:]}"'),
    *_events(
        68, ACCEPTED, letter_before={"note": f"ta{_SK}"}, digit_before={"note": f"1{_SK}"}, e={"note": f"\u00e9{_SK}"}
    ),
    *_events(
        68, ACCEPTED, no_digit={"note": "sk-" + "aB" * 20}, no_upper={"note": "sk-" + "a1" * 20}, cut={"note": _SK[:22]}
    ),
    *_events(
        68, ACCEPTED, short_aws={"note": "AKIA" + "A" * 15}, short_git={"note": _GHP[:-1]}, one_dot={"n": "eyJa.eyJb"}
    ),
    *_events(68, ACCEPTED, short_bearer={"note": "Bearer abcdefghijklmno"}, lower={"note": "bearer abcdefghijklmnop"}),
    *_events(68, ACCEPTED, in_a_name={_SK: 1}, apart={"a": "sk-", "b": "Ab3dEf6hIj9lMn2pQr5t"}),
    *_events(68, "form", other_rule_first={"tenant": f"_{_SK}"}),
    *_lines(68, "truncated", event("cut", note=_SK)[:-2]),
]
CASES: list[Case] = [*SYNTAX, *STRINGS, *NUMBERS, *FIELDS, *TIMES, *IDENTITY, *CREDENTIALS]
SECRETS = (_SK, _GHP, _JWT, _BEARER)
