"""What looks like a live credential, and how it is kept out of everything but raw."""

from __future__ import annotations

import json
import re

REDACTED = "[redacted]"

_SHAPES = (
    r"sk-(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Z])(?=[A-Za-z0-9_-]*[a-z])[A-Za-z0-9_-]{20,}",
    r"AKIA[A-Z0-9]{16,}",
    r"ghp_[A-Za-z0-9]{36,}",
    r"eyJ[A-Za-z0-9_-]*\.eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*",
)
_NOTHING_BEFORE = r"(?<![^\W_])"  # no letter or digit
_IN_VALUE = re.compile(_NOTHING_BEFORE + "(?:" + "|".join((*_SHAPES, r"Bearer [^\s]{16,}")) + ")")
# Outside a decoded string a quote ends the token, or the rest of the line would go with it.
_IN_TEXT = re.compile(_NOTHING_BEFORE + "(?:" + "|".join((*_SHAPES, r'Bearer [^\s"]{16,}')) + ")")
_HINT = re.compile(rb"sk-|AKIA|ghp_|eyJ|Bearer |\\")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)', re.DOTALL)


def may_hold(line: bytes) -> bool:
    """False only where no string of the line can hold a credential; cheap."""
    return _HINT.search(line) is not None


def found_in(value: str) -> bool:
    """Does a decoded string hold what looks like a credential?"""
    return _IN_VALUE.search(value) is not None


def redact(line: bytes) -> bytes:
    """The line with every match replaced, whether it can be parsed, spells a match with escapes, or is not UTF-8."""
    if not may_hold(line):
        return line
    codec = "utf-8"
    try:
        text = line.decode(codec)
    except UnicodeDecodeError:
        codec = "latin-1"
        text = line.decode(codec)
    text = _IN_TEXT.sub(REDACTED, _STRING.sub(_redact_string, text))
    return text.encode(codec, "surrogatepass")


def redact_text(text: str) -> str:
    """A name or message with every match replaced."""
    return _IN_VALUE.sub(REDACTED, text)


def _redact_string(match: re.Match[str]) -> str:
    token = match[0]
    try:
        value = json.loads(token, strict=False)
    except ValueError:
        return _IN_TEXT.sub(REDACTED, token)
    if not found_in(value):
        return token
    return json.dumps(_IN_VALUE.sub(REDACTED, value), ensure_ascii=False)
