"""Ways to damage a good line, by the reason it is then quarantined with; each leaves exactly one defect.

The lines to damage are admitted, carry no stamp and no ``outcome`` (see ``fits``), so that one change breaks one rule.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

Defect = Callable[[str], bytes]


def fits(text: str) -> bool:
    """Whether the line is plain enough that a defect is its only one."""
    return '"status":200,"duration_ms"' in text and '"host"' not in text


def _changed(**fields: Any) -> Defect:
    """Sets fields; what would contradict them (``total_tokens``, ``ttft_ms``) goes, unless set."""

    def damage(text: str) -> bytes:
        event = json.loads(text)
        event.pop("total_tokens", None)
        event.pop("ttft_ms", None)
        return encoded(event | fields)

    return damage


def encoded(event: dict[str, Any]) -> bytes:
    """The event as one compact line, characters beyond ASCII as they are."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _without(name: str) -> Defect:
    return lambda text: encoded({key: value for key, value in json.loads(text).items() if key != name})


def _inside(inserted: bytes) -> Defect:
    """Bytes put inside the first string value, the event id."""
    return lambda text: text.encode().replace(b'"event_id":"', b'"event_id":"' + inserted, 1)


def _as_number(spelling: str) -> Defect:
    return lambda text: re.sub(r'"bytes_in":\d+', f'"bytes_in":{spelling}', text).encode()


def _with(members: str) -> Defect:
    return lambda text: f"{text[:-1]},{members}}}".encode()


def _line(line: bytes) -> Defect:
    return lambda _: line


def _cut(key: str) -> Defect:
    """Ends the line in the middle of what follows the key: in a string, or where a value should stand."""
    return lambda text: text[: text.index(key) + len(key)].encode()


def _tokens_off_by_one(text: str) -> bytes:
    event = json.loads(text)
    names = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    return encoded(event | {"total_tokens": sum(event.get(name, 0) for name in names) + 1})


def _first_token_after_the_last(text: str) -> bytes:
    event = json.loads(text)
    return encoded(event | {"ttft_ms": event["duration_ms"] + 0.001})


def _credentials() -> tuple[Defect, ...]:
    """Put together from pieces, so that no scanner of this repository finds one."""
    token = ".".join(
        urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"no"}', b'{"sub":"x"}', b"made")
    )
    keys = ("s" + "k-" + "Made0Up-" * 4, "AK" + "IA" + "MADEUP00" * 2, "gh" + "p_" + "Made0Up00" * 4, token)
    bearer = "Bea" + "rer " + "made-up." * 3
    return (*(_changed(api_key_id=key) for key in keys), _changed(model=bearer), _changed(model=f"key={keys[0]}"))


DEFECTS: dict[str, tuple[Defect, ...]] = {
    "bom": (lambda text: b"\xef\xbb\xbf" + text.encode(),),
    "empty": (_line(b""), _line(b"   ")),
    "encoding": (_inside(b"\xff"), _inside(b"\xc3"), _inside(b"\xc0\xaf"), _inside(b"\xed\xa0\x80")),
    "control_character": (_inside(b"\x01"), _inside(b"\t"), _inside(b"\x1b"), _inside(b"\r"), _inside(b"\x00")),
    "truncated": (_cut('"ts":"2026-03'), _cut('"tenant":'), _cut('"status":200,'), _cut('"duration_ms"'), _cut("{")),
    "multiple_values": (lambda text: (text + text).encode(), lambda text: f"{text} {text}".encode()),
    "syntax": (
        lambda text: text.replace('"', "'").encode(),
        lambda text: f"{text[:-1]},}}".encode(),
        lambda text: text.replace("{", "{/* v1 */", 1).encode(),
        *(_as_number(spelling) for spelling in ("NaN", "Infinity", "007", "+7")),
    ),
    "not_an_object": (lambda text: f"[{text},{text}]".encode(), _line(b"5"), _line(b'"x"')),
    "duplicate_key": (_with('"status":200'), _with('"status":500'), _with('"extra":{"k":1,"k":1}')),
    "depth": (_with(f'"nested":{"[" * 70}{"]" * 70}'), _with(f'"nested":{"[" * 5000}{"]" * 5000}')),
    "missing_fields": (
        *(_without(name) for name in ("event_id", "ts", "tenant", "route", "api_version", "status", "duration_ms")),
        _line(b"{}"),
    ),
    "type": (
        *(_changed(status="200"), _changed(bytes_in=5.0), _changed(bytes_in="1_000"), _changed(stream_messages=True)),
        *(_changed(tenant=7), _changed(duration_ms="12"), _changed(model=["x"]), _changed(bytes_out={"n": 1})),
    ),
    "negative": (_changed(bytes_in=-5), _changed(duration_ms=-0.5), _changed(gpu_ms=-1), _changed(wanted_tokens=-1)),
    "range": (
        *(_changed(status=600), _changed(duration_ms=86_400_000.5), _changed(bytes_in=2**50)),
        *(_changed(wanted_tokens=2**40), _changed(bytes_out=2**64), _as_number("9" * 4301)),
    ),
    "form": (
        *(_changed(tenant=name) for name in ("../../etc", "a/b", "_x", "", "acme\u200b", "${jndi:x}", "t" * 65)),
        *(_changed(event_id=name) for name in ("", "a b", "nul\0", "e" * 300)),
        *(_changed(method="post"), _changed(protocol="HTTP"), _changed(version_source="cookie"), _changed(model="")),
        *(
            _changed(route="no-slash"),
            _changed(route="/r\u202e"),
            _changed(api_version="v 1"),
            _changed(outcome="fine"),
        ),
    ),
    "timestamp": tuple(
        _changed(ts=ts)
        for ts in (
            *("2026-03-02T10:00:00", "2026-03-02T10:00:60Z", "2026-03-02T24:00:00Z", "2026-13-02T10:00:00Z"),
            *("2026-03-45T10:00:00Z", "2026-03-02t10:00:00z", "yesterday", 1_772_409_600),
        )
    ),
    "outcome_mismatch": (_changed(status=503, outcome="ok"), _changed(outcome="denied")),
    "denied_by_mismatch": (_changed(denied_by="tokens"), _changed(status=500, denied_by="requests")),
    "token_mismatch": (_tokens_off_by_one,),
    "stamp_incomplete": (_changed(seq=5), _changed(host="gw-x", boot="gw-x.1"), _changed(prev_boot="gw-x.1")),
    "ttft_mismatch": (_first_token_after_the_last,),
    "credential": _credentials(),
}
OVERSIZED: dict[str, tuple[Defect, ...]] = {"size": (_with(f'"padding":"{"x" * 65_536}"'),)}
