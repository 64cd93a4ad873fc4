"""Lines that look wrong and are right: other spellings of a time, unknown fields, nulls, look-alikes of keys."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from sample.defects import encoded

Change = Callable[[dict[str, Any]], dict[str, Any]]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INDIA = timezone(timedelta(hours=5, minutes=30))
_TERMINAL = "\x1b[31mcurl/8.5\x1b[0m <script>alert(1)</script>"


def epoch_ms(ts: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time, finer digits cut off."""
    return (datetime.fromisoformat(ts) - _EPOCH) // timedelta(milliseconds=1)


def _elsewhere(ts: str) -> str:
    return datetime.fromisoformat(ts).astimezone(_INDIA).isoformat(timespec="milliseconds")


def _with(**fields: Any) -> Change:
    return lambda event: event | fields


# One looks like a key but has a letter before it; the wanted tokens of a request that was not denied do not count.
ODDITIES: tuple[Change, ...] = (
    lambda event: event | {"ts": epoch_ms(event["ts"])},
    lambda event: event | {"ts": _elsewhere(event["ts"])},
    lambda event: event | {"ts": event["ts"][:-1] + "999999Z"},
    lambda event: event | {"ts": event["ts"][:-1] + "-00:00"},
    lambda event: event | {"model": unicodedata.normalize("NFD", "caf\u00e9-7b")},
    _with(retry_of=None, wanted_tokens=None, denied_by=None),
    lambda event: event | ({"wanted_tokens": 1234} if event["status"] == 200 and "seq" in event else {}),
    _with(user_agent=_TERMINAL),
    _with(region="eu-central"),
    _with(region="us-east", user_agent="python-client/2.1"),
    _with(note="one\u2028two\u2029three"),
    _with(Status="another case is another field"),
    _with(trace="ta" + "sk-Looks0Like0A0Key0And0Is0None"),
    _with(tags={"a": [1, 2.5, None, True]}),
)


def odd(text: str, number: int) -> bytes:
    """The line with one oddity; still accepted."""
    return encoded(ODDITIES[number % len(ODDITIES)](json.loads(text)))


def retold(text: str, number: int) -> bytes:
    """The same content in other words: key order, white space, the time, a default spelled out."""
    event = json.loads(text)
    if number % 3 == 0:
        event["ts"] = epoch_ms(event["ts"])
    event.setdefault("method", "POST")
    event.setdefault("protocol", "http")
    backwards = dict(reversed(event.items()))
    return json.dumps(backwards, ensure_ascii=False, indent=None, separators=(" , ", " : ")).encode()
