"""Format ``llmperf``: LLMPerf's individual results, a JSON array of one object a request, ``<provider>_<size>b.json``.

``end_to_end_latency_s`` and ``ttft_s`` become ``duration_ms`` and ``ttft_ms`` (the double times 1000; a ``ttft_s`` of 0
means that no token came, and is left out), ``number_*_tokens`` the token counts. Derived, always the same way:

* ``ts``: the results say no time, so requests follow one another: the first of each file arrives at
  2023-12-01T00:00:00Z, each next one when the one before ended.
* ``event_id``: ``llmperf-<provider>_<size>b-<row, 6 digits, from 1>``; ``tenant``: ``llmperf-<provider>``; ``model``:
  ``llama-2-<size>b-chat``, what all of these runs asked for under each provider's own name; ``api_version`` ``v1``,
  ``protocol`` ``sse``, ``operation`` ``chat``.
* ``status``: 200 where ``error_code`` is null; a code of 400 to 599 as it is; -100 (LLMPerf's word for an answer that
  came but was too short) 502; every other code (-1: there was no HTTP answer) 500.

A request that was denied (429) used no tokens: its ``number_total_tokens`` is ``wanted_tokens``. All other errors keep
their counts. ``total_tokens`` goes along, so counts that do not add up are quarantined and not lost. So is a result
that lacks its latency or ``error_code``, or has a value of a wrong type or range (negative latency, ttft above the
duration): nothing is repaired here, it is passed on for the parser to judge. ``GEN_TEXT``, ``error_msg`` and all other
fields are never carried over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from quotaloop.errors import InputUnreadable

DERIVED: tuple[str, ...] = (
    "event_id", "ts", "tenant", "route", "api_version", "status", "protocol", "operation", "model",
)  # fmt: skip

START = datetime(2023, 12, 1, tzinfo=UTC)
MAX_FILE_BYTES = 64 << 20
MAX_DURATION_MS = 86_400_000
TOO_SHORT, TOO_SHORT_STATUS, OTHER_STATUS = -100, 502, 500

_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,39})_([0-9]{1,4}b)\.json(?:\.gz|\.zst)?")


def lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """One event line a result, in the file's order; ``InputUnreadable`` for a name or a document of another form."""
    match = _NAME.fullmatch(PurePosixPath(name).name)
    if match is None:
        raise InputUnreadable(f"{name}: an llmperf file is named PROVIDER_SIZE.json (groq_70b.json); rename the file")
    provider, size = match.groups()
    clock_us = 0
    for number, row in enumerate(_rows(stream, name), start=1):
        event = {
            "event_id": f"llmperf-{provider}_{size}-{number:06d}",
            "ts": _rfc3339(clock_us),
            "tenant": f"llmperf-{provider}",
            "route": "/v1/chat/completions",
            "api_version": "v1",
            "protocol": "sse",
            "operation": "chat",
            "model": f"llama-2-{size}-chat",
            **_measured(row),
        }
        known = {field: value for field, value in event.items() if value is not None}
        yield json.dumps(known, separators=(",", ":")).encode()
        clock_us += _length_us(event["duration_ms"])


def _rows(stream: BinaryIO, name: str) -> list[dict[str, Any]]:
    document = stream.read(MAX_FILE_BYTES + 1)
    if len(document) > MAX_FILE_BYTES:
        raise InputUnreadable(f"{name}: more than {MAX_FILE_BYTES} bytes; split the array over several files")
    try:
        rows = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise InputUnreadable(f"{name}: not a JSON document; give a file of LLMPerf's individual results") from error
    if not isinstance(rows, list):
        raise InputUnreadable(f"{name}: not a JSON array; give LLMPerf's individual results, not the summary")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise InputUnreadable(f"{name}, element {number}: not an object; mend or remove it")
    return rows


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    """The fields that the result itself gives; None stands for one that it lacks."""
    status = _status(row["error_code"]) if "error_code" in row else None
    ttft_ms = _ms(row.get("ttft_s"))
    return {
        "status": status,
        "duration_ms": _ms(row.get("end_to_end_latency_s")),
        "ttft_ms": None if ttft_ms == 0 else ttft_ms,
        **_tokens(row, denied=status == 429),
    }


def _status(error_code: Any) -> int:
    if error_code is None:
        return 200
    if isinstance(error_code, int) and 400 <= error_code <= 599:
        return error_code
    return TOO_SHORT_STATUS if error_code == TOO_SHORT else OTHER_STATUS


def _tokens(row: dict[str, Any], *, denied: bool) -> dict[str, Any]:
    counts: list[Any] = [row.get(f"number_{which}_tokens") for which in ("input", "output", "total")]
    read, written, total = counts
    if denied and all(type(count) is int for count in counts) and read + written == total:
        return {"wanted_tokens": total}
    return {"input_tokens": read, "output_tokens": written, "total_tokens": total}


def _ms(seconds: Any) -> Any:
    """Seconds times 1000; what is not a number, or is far out of range, stays as it is for the parser to refuse."""
    if type(seconds) is float or (type(seconds) is int and abs(seconds) <= MAX_DURATION_MS):
        return seconds * 1000
    return seconds


def _length_us(duration_ms: object) -> int:
    """How far the clock goes on: whole microseconds, none for a duration that is no event's."""
    if isinstance(duration_ms, int | float) and 0 <= duration_ms <= MAX_DURATION_MS:
        return round(duration_ms * 1000)
    return 0


def _rfc3339(clock_us: int) -> str:
    moment = START + timedelta(microseconds=clock_us)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
