"""The fields of an event, declared once: name, need, type and form.

The table of the event contract (``quotaloop/event@1``) in the same order; parser, vectorised rules and docs read it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

EARLIEST_MS = 1_262_304_000_000  # 2010-01-01T00:00:00Z
END_MS = 4_102_444_800_000  # 2100-01-01T00:00:00Z
MAX_DURATION_MS = 86_400_000
MAX_TOKENS = 2**40 - 1
MAX_BYTES = 2**50 - 1
MAX_GPU_MS = 10**12
MAX_SEQ = 2**63 - 1

PROTOCOLS = ("http", "sse", "websocket", "grpc", "webrtc", "mqtt", "mcp")
VERSION_SOURCES = ("path", "header", "accept", "query", "body", "default")
OUTCOMES = ("ok", "error", "denied", "cancelled")
DENIED_BY = ("requests", "tokens", "concurrency", "compute")

ID_FORM = r"[A-Za-z0-9._:-]{1,128}"
TENANT_FORM = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
VERSION_FORM = r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}"
METHOD_FORM = r"[A-Z]{1,32}"

# A float is a bad time, not a bad type.
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "number": (int, float),
    "time": (int, float, str),
}

Check = Callable[[Any], str | None]  # value of the right type in, reason out; None: it is fine


@dataclass(frozen=True, slots=True)
class Field:
    """One field: ``kind`` is ``string``, ``int``, ``number`` or ``time``."""

    name: str
    kind: str
    required: bool
    check: Check

    @property
    def types(self) -> tuple[type, ...]:
        """What a decoded JSON value is exactly: true and false are no numbers, and ``5.0`` is no integer."""
        return _TYPES[self.kind]


def _form(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: None if compiled.fullmatch(value) else "form"


def _words(words: tuple[str, ...]) -> Check:
    return lambda value: None if value in words else "form"


def _between(low: int, high: int) -> Check:
    def check(value: float) -> str | None:
        if low <= value <= high:
            return None
        return "negative" if value < 0 else "range"

    return check


def _status(value: int) -> str | None:
    return None if 100 <= value <= 599 else "range"


def _printable(value: str, spared: str = "") -> bool:
    if value.isascii() and value.isprintable():
        return " " in spared or " " not in value
    return all(char in spared or unicodedata.category(char)[0] not in "CZ" for char in value)


def _route(value: str) -> str | None:
    return None if value.startswith("/") and len(value) <= 256 and _printable(value) else "form"


def _model(value: str) -> str | None:
    normal = unicodedata.normalize("NFC", value)
    return None if 1 <= len(normal) <= 128 and _printable(normal, spared=" ") else "form"


_RFC_3339 = re.compile(
    r"([0-9]{4,})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=64, typed=True)  # a line's time is asked for twice: is it fine, and what is it
def time_ms(value: int | float | str) -> int:
    """Epoch ms of a ``ts``, finer digits truncated; raises ``ValueError`` with the reason."""
    if isinstance(value, float):
        raise ValueError("timestamp")  # noqa: TRY004 - the reason of a line, not a misuse
    if isinstance(value, int):
        if not EARLIEST_MS <= value < END_MS:
            raise ValueError("timestamp")
        return value
    match = _RFC_3339.fullmatch(value)
    if match is None:
        raise ValueError("timestamp")
    millis = _moment_ms(match)
    if not EARLIEST_MS <= millis < END_MS:
        raise ValueError("range")
    return millis


def _moment_ms(match: re.Match[str]) -> int:
    if len(match[1]) > 4 or match[1] == "0000":
        raise ValueError("range")
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    offset = timedelta()
    if match[8]:
        if int(match[9]) > 23 or int(match[10]) > 59:
            raise ValueError("timestamp")
        offset = timedelta(hours=int(match[9]), minutes=int(match[10])) * (-1 if match[8] == "-" else 1)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone(offset))
    except ValueError as error:
        raise ValueError("timestamp") from error
    whole = (moment - _EPOCH) // timedelta(milliseconds=1)
    return whole + int((match[7] or "0")[:3].ljust(3, "0"))


def _time(value: int | float | str) -> str | None:
    try:
        time_ms(value)
    except ValueError as error:
        return str(error)
    return None


_ID, _TOKENS, _BYTES = _form(ID_FORM), _between(0, MAX_TOKENS), _between(0, MAX_BYTES)

FIELDS: tuple[Field, ...] = (
    Field("event_id", "string", True, _ID),
    Field("ts", "time", True, _time),
    Field("tenant", "string", True, _form(TENANT_FORM)),
    Field("route", "string", True, _route),
    Field("api_version", "string", True, _form(VERSION_FORM)),
    Field("status", "int", True, _status),
    Field("duration_ms", "number", True, _between(0, MAX_DURATION_MS)),
    Field("method", "string", False, _form(METHOD_FORM)),
    Field("protocol", "string", False, _words(PROTOCOLS)),
    Field("version_source", "string", False, _words(VERSION_SOURCES)),
    Field("operation", "string", False, _ID),
    Field("model", "string", False, _model),
    Field("outcome", "string", False, _words(OUTCOMES)),
    Field("denied_by", "string", False, _words(DENIED_BY)),
    Field("ttft_ms", "number", False, _between(0, MAX_DURATION_MS)),
    Field("input_tokens", "int", False, _TOKENS),
    Field("cache_read_tokens", "int", False, _TOKENS),
    Field("cache_write_tokens", "int", False, _TOKENS),
    Field("output_tokens", "int", False, _TOKENS),
    Field("reasoning_tokens", "int", False, _TOKENS),
    Field("total_tokens", "int", False, _between(0, 5 * MAX_TOKENS)),
    Field("wanted_tokens", "int", False, _TOKENS),
    Field("gpu_ms", "number", False, _between(0, MAX_GPU_MS)),
    Field("bytes_in", "int", False, _BYTES),
    Field("bytes_out", "int", False, _BYTES),
    Field("stream_messages", "int", False, _BYTES),
    Field("retry_of", "string", False, _ID),
    Field("api_key_id", "string", False, _ID),
    Field("host", "string", False, _ID),
    Field("boot", "string", False, _ID),
    Field("seq", "int", False, _between(1, MAX_SEQ)),
    Field("prev_boot", "string", False, _ID),
    Field("prev_seq", "int", False, _between(0, MAX_SEQ)),
)
KNOWN = frozenset(field.name for field in FIELDS)
REQUIRED = tuple(field.name for field in FIELDS if field.required)
