"""One line in, an event or the reason out: the strict parser of ``quotaloop/event@1``, for every engine.

A line that breaks several rules gets the first reason of: size, encoding, syntax, duplicate key, depth, missing field,
type, range or form, consistency, credential. The reasons are listed in ``REASONS``.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec

from quotaloop.errors import QuotaloopError
from quotaloop.events import credentials
from quotaloop.events.event import LATE, TOKEN_CLASSES, Event, Parsed, Rejection
from quotaloop.events.fields import FIELDS, KNOWN, REQUIRED, Check, time_ms
from quotaloop.events.syntax import MAX_DEPTH, SyntaxFault, read
from quotaloop.latency import to_micros

MAX_BYTES = 65_536
FUTURE_MS = 300_000  # how far an arrival may lie after the record's Kafka time

REASONS: dict[str, str] = {
    "null_value": "the record has no value",
    "erased": "the record was erased for its tenant",
    "size": "longer than 65,536 bytes",
    "empty": "nothing, or white space alone",
    "bom": "begins with a byte order mark",
    "binary": "begins with a zero byte, as records with a schema id do",
    "encoding": "not UTF-8, or an escape that is half a surrogate pair",
    "truncated": "ends in the middle of its JSON",
    "control_character": "a raw control character where JSON has none",
    "multiple_values": "one JSON value after another",
    "syntax": "not JSON",
    "not_an_object": "JSON, but no object",
    "duplicate_key": "a key stands twice in one object",
    "depth": "nested deeper than 64 levels",
    "missing_fields": "a required field is absent or null",
    "type": 'a field of another JSON type; 5.0, true and "5" are no integers',
    "negative": "a number below zero",
    "range": "a number or time out of its range",
    "form": "a string that breaks its form, length or list of words",
    "timestamp": "not RFC 3339 with a zone, nor epoch milliseconds",
    "future": "more than five minutes after the record's Kafka time",
    "outcome_mismatch": "ok with a status from 400, or denied with one below",
    "denied_by_mismatch": "denied_by without being denied",
    "ttft_mismatch": "the first token later than the end",
    "token_mismatch": "total_tokens is not the sum of the five classes",
    "stamp_incomplete": "host, boot, seq or prev_boot, prev_seq stand alone",
    "credential": "a value looks like a live credential",
    "conflicting_duplicate": "the id of an earlier event of the hour and tenant with other content",
}

_DECODER = msgspec.json.Decoder(dict[str, Any])
_BOM = b"\xef\xbb\xbf"
_RULES: dict[str, tuple[tuple[type, ...], Check]] = {field.name: (field.types, field.check) for field in FIELDS}


class _Refused(Exception):
    """Carries the reason from where it is seen to ``parse_line``."""


def parse_line(line: bytes, *, kafka_time_ms: int = -1, late_bound_ms: int | None = None) -> Parsed | Rejection:
    """The event in a line without its line end, or why there is none.

    ``kafka_time_ms`` is the record's Kafka time, -1 where there is none: then nothing is late or in the future.
    """
    try:
        values, unknown = _decode(line)
        _check_values(values)
        event = _event(values)
        _check_future(event, kafka_time_ms)
        _check_consistency(event, values)
        if _holds_credential(line):
            raise _Refused("credential")
    except _Refused as refused:
        return Rejection(str(refused))
    if late_bound_ms is not None and kafka_time_ms >= 0 and kafka_time_ms - event.ts > late_bound_ms:
        return LATE
    return Parsed(event, unknown)


def _holds_credential(line: bytes) -> bool:
    """Does a string value hold one? Without an escape the text of the line holds it as it is."""
    if not credentials.may_hold(line):
        return False
    text = line.decode()
    if "\\" not in text and not credentials.found_in(text):
        return False
    return any(credentials.found_in(value) for value in read(text).strings)


def _decode(line: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Known fields that are not null, and the names of the unknown ones."""
    fields = _fast_fields(line)
    if fields is None:
        fields = _checked_fields(line)
    unknown = () if fields.keys() <= KNOWN else tuple(name for name in fields if name not in KNOWN)
    return {name: value for name, value in fields.items() if value is not None and name in KNOWN}, unknown


def _fast_fields(line: bytes) -> dict[str, Any] | None:
    """The fields of a flat object without escapes in which no key can stand twice; None where it is not sure.

    Without a backslash every quote opens or closes a key or a string value: if there are just as many quotes as the
    decoded fields account for, no key was read over.
    """
    if len(line) > MAX_BYTES or b"\\" in line or not line.startswith(b"{"):
        return None
    try:
        fields = _DECODER.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    quotes = 2 * len(fields)
    for value in fields.values():
        if type(value) is str:
            quotes += 2
        elif isinstance(value, list | dict):
            return None
    return fields if line.count(b'"') == quotes else None


def _checked_fields(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_BYTES:
        raise _Refused("size")
    if line.startswith(_BOM):
        raise _Refused("bom")
    if line.startswith(b"\0"):
        raise _Refused("binary")
    if not line.strip(b" \t\r\n"):
        raise _Refused("empty")
    try:
        document = read(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _Refused("encoding") from error
    except SyntaxFault as fault:
        raise _Refused(fault.reason) from fault
    if document.duplicate_key:
        raise _Refused("duplicate_key")
    if document.depth > MAX_DEPTH:
        raise _Refused("depth")
    return document.fields


def _check_values(values: dict[str, Any]) -> None:
    for name in REQUIRED:
        if name not in values:
            raise _Refused("missing_fields")
    for name, value in values.items():
        types, check = _RULES[name]
        if type(value) not in types or check(value) is not None:
            _refuse(values)


def _refuse(values: dict[str, Any]) -> None:
    """The first reason of values that are not all fine: types before checks, fields in the order of the contract."""
    present = [(field, values[field.name]) for field in FIELDS if field.name in values]
    for field, value in present:
        if type(value) not in field.types:
            raise _Refused("type")
    for field, value in present:
        reason = field.check(value)
        if reason is not None:
            raise _Refused(reason)


def _event(values: dict[str, Any]) -> Event:
    """Defaults filled in, NFC, whole milliseconds and microseconds."""
    get = values.get
    status = values["status"]
    tokens = {name: get(name, 0) for name in TOKEN_CLASSES}
    return Event(
        event_id=values["event_id"],
        ts=time_ms(values["ts"]),
        tenant=values["tenant"],
        route=values["route"],
        api_version=values["api_version"],
        status=status,
        duration_us=to_micros(values["duration_ms"]),
        method=get("method", "POST"),
        protocol=get("protocol", "http"),
        version_source=get("version_source"),
        operation=get("operation"),
        model=unicodedata.normalize("NFC", get("model", "unknown")),
        outcome=get("outcome") or outcome_of(status),
        denied_by=get("denied_by"),
        ttft_us=None if get("ttft_ms") is None else to_micros(values["ttft_ms"]),
        **tokens,
        total_tokens=sum(tokens.values()),
        wanted_tokens=get("wanted_tokens"),
        gpu_us=to_micros(get("gpu_ms", 0)),
        bytes_in=get("bytes_in", 0),
        bytes_out=get("bytes_out", 0),
        stream_messages=get("stream_messages", 0),
        retry_of=get("retry_of"),
        api_key_id=get("api_key_id"),
        host=get("host"),
        boot=get("boot"),
        seq=get("seq"),
        prev_boot=get("prev_boot"),
        prev_seq=get("prev_seq"),
    )


def outcome_of(status: int) -> str:
    """The outcome that a status means where the event states none."""
    if status == 429:
        return "denied"
    if status == 499:
        return "cancelled"
    return "ok" if status < 400 else "error"


def _check_future(event: Event, kafka_time_ms: int) -> None:
    if 0 <= kafka_time_ms < event.ts - FUTURE_MS:
        raise _Refused("future")


def _check_consistency(event: Event, values: dict[str, Any]) -> None:
    if (event.outcome == "ok" and event.status >= 400) or (event.outcome == "denied" and event.status < 400):
        raise _Refused("outcome_mismatch")
    if event.denied_by is not None and event.outcome != "denied":
        raise _Refused("denied_by_mismatch")
    if values.get("ttft_ms", 0) > values["duration_ms"]:
        raise _Refused("ttft_mismatch")
    if values.get("total_tokens", event.total_tokens) != event.total_tokens:
        raise _Refused("token_mismatch")
    stamp = (event.host, event.boot, event.seq)
    if (None in stamp and stamp != (None, None, None)) or (event.prev_boot is None) != (event.prev_seq is None):
        raise _Refused("stamp_incomplete")


def assert_reason(reason: str) -> None:
    """Raise for a reason that is not documented."""
    if reason not in REASONS and reason != LATE.reason:
        raise QuotaloopError(f"reason {reason!r} is not documented")
