"""Format ``azure-llm``: the Azure LLM inference traces of 2023, ``TIMESTAMP,ContextTokens,GeneratedTokens``.

The trace gives arrival (taken as UTC, 100 ns truncated to ms) and two token counts: ``ContextTokens`` becomes
``input_tokens``, ``GeneratedTokens`` ``output_tokens``; no other token class is known. The rest is derived, always the
same way, from the row number (1 is the first row after the header), the counts and the ``code`` or ``conv`` that must
stand in the file's name:

* ``event_id``: ``azure-<kind>-<row, 7 digits>``.
* ``tenant``: one of ``azure-<kind>-1`` to ``-8``: 1 gets half of the rows, 2 a quarter, ..., 7 and 8 a 128th each. It
  is 1 + the leading zero bits of the first byte of the SHA-256 of ``event_id``, at most 8.
* ``duration_ms``: 30 + 0.1 a context token + 25 a generated token; ``ttft_ms``: the same at the first generated
  token, absent if there is none. A model, not a measurement: latencies of this trace mean nothing.
* ``status`` 200, ``api_version`` ``v1``, ``protocol`` ``sse``, ``model`` ``azure-llm-<kind>``; ``operation`` and
  ``route`` are those of code completion or of chat.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import BinaryIO

from quotaloop.errors import InputUnreadable
from quotaloop.raw.formats import native

DERIVED: tuple[str, ...] = (
    "event_id", "tenant", "route", "api_version", "status", "duration_ms", "ttft_ms", "protocol", "operation", "model",
)  # fmt: skip

HEADER = b"TIMESTAMP,ContextTokens,GeneratedTokens"
OPERATIONS = {"code": ("text_completion", "/v1/completions"), "conv": ("chat", "/v1/chat/completions")}
TENANTS = 8

_KIND = re.compile(r"(?<![a-z])(code|conv)(?![a-z])")
_TIMESTAMP = re.compile(rb"([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?")
_COUNT = re.compile(rb"[0-9]{1,18}")


def lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """One event line a row, in the file's order; ``InputUnreadable`` names the file and the line that is not a row."""
    kind = _kind(name)
    rows = native.lines(stream, name)
    if next(rows, None) != HEADER:
        raise InputUnreadable(f"{name}, line 1: the header is not {HEADER.decode()}; is this an azure-llm trace?")
    for number, row in enumerate(rows, start=1):
        try:
            event = _event(kind, number, row)
        except ValueError as error:
            raise InputUnreadable(f"{name}, line {number + 1}: {error}; mend or remove the line") from error
        yield json.dumps(event, separators=(",", ":")).encode()


def _kind(name: str) -> str:
    kinds = set(_KIND.findall(PurePosixPath(name).name.lower()))
    if len(kinds) != 1:
        raise InputUnreadable(f"{name}: the name of an azure-llm file says code or conv; rename the file")
    return str(kinds.pop())


def _event(kind: str, number: int, row: bytes) -> dict[str, object]:
    """The event of one row; ``ValueError`` says what is wrong without quoting the row."""
    columns = row.split(b",")
    if len(columns) != 3:
        raise ValueError(f"{len(columns)} columns instead of 3")
    ts = _rfc3339(columns[0])
    context, generated = _count("ContextTokens", columns[1]), _count("GeneratedTokens", columns[2])
    event_id = f"azure-{kind}-{number:07d}"
    operation, route = OPERATIONS[kind]
    event: dict[str, object] = {
        "event_id": event_id,
        "ts": ts,
        "tenant": f"azure-{kind}-{_tenant(event_id)}",
        "route": route,
        "api_version": "v1",
        "status": 200,
        "duration_ms": _after_ms(context, generated),
        "protocol": "sse",
        "operation": operation,
        "model": f"azure-llm-{kind}",
        "input_tokens": context,
        "output_tokens": generated,
    }
    if generated:
        event["ttft_ms"] = _after_ms(context, 1)
    return event


def _tenant(event_id: str) -> int:
    leading_zero_bits = 8 - sha256(event_id.encode()).digest()[0].bit_length()
    return min(leading_zero_bits + 1, TENANTS)


def _after_ms(context: int, generated: int) -> float:
    """Milliseconds until so many tokens are out; tenths are added as integers so that no binary rounding shows."""
    return (300 + context + 250 * generated) / 10


def _rfc3339(text: bytes) -> str:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError("TIMESTAMP is not like 2023-11-16 18:17:03.9799600")
    date, time, fraction = match[1].decode(), match[2].decode(), (match[3] or b"").decode()
    try:
        datetime.fromisoformat(f"{date}T{time}")
    except ValueError as error:
        raise ValueError("TIMESTAMP is not a date and time that exists") from error
    return f"{date}T{time}.{fraction[:3]:0<3}Z"


def _count(column: str, text: bytes) -> int:
    if _COUNT.fullmatch(text) is None:
        raise ValueError(f"{column} is not a whole number of at most 18 digits")
    return int(text)
