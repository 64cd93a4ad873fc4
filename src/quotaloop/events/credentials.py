"""What looks like a live credential, and how it is kept out of everything but raw.

Every search takes time linear in the text: a run of key characters that is no credential is not looked at again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

REDACTED = "[redacted]"

_NOTHING_BEFORE = r"(?<![^\W_])"  # no letter or digit
_HINT = re.compile(rb"sk-|AKIA|ghp_|eyJ|Bearer |\\")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)', re.DOTALL)
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class _Shapes:
    """Expressions for one kind of text; ``key`` and ``token`` also match whole runs that turn out to be nothing."""

    plain: re.Pattern[str]
    key: re.Pattern[str]
    token: re.Pattern[str]

    def redact(self, text: str) -> str:
        text = self.plain.sub(REDACTED, text)
        text = self.key.sub(lambda match: REDACTED if _is_mixed(match[1]) else match[0], text)
        return self.token.sub(lambda match: REDACTED if match[1] else match[0], text)


def _shapes(bearer: str, flags: re.RegexFlag = re.NOFLAG) -> _Shapes:
    plain = rf"(?:AKIA[A-Z0-9]{{16,}}|ghp_[A-Za-z0-9]{{36,}}|Bearer {bearer}{{16,}})"
    token = r"eyJ[A-Za-z0-9_-]*(\.eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*)?"
    shapes = (plain, "sk-([A-Za-z0-9_-]{20,})", token)
    return _Shapes(*(re.compile(_NOTHING_BEFORE + shape, flags) for shape in shapes))


_IN_VALUE = _shapes(r"[^\s]")
# Outside a decoded string a quote ends the token, or the rest of the line would go with it.
_IN_TEXT = _shapes(r'[^\s"]')
_IN_BYTES = _shapes(r'[^\s"]', re.ASCII)  # where bytes stand as characters, those beyond ASCII are no letters


def may_hold(line: bytes) -> bool:
    """False only where no string of the line can hold a credential; cheap."""
    return _HINT.search(line) is not None


def found_in(value: str) -> bool:
    """Does a decoded string hold what looks like a credential?"""
    return redact_text(value) != value


def redact(line: bytes) -> bytes:
    """The line with every match replaced, whether it can be parsed, spells a match with escapes, or is not UTF-8."""
    if not may_hold(line):
        return line
    codec, shapes = "utf-8", _IN_TEXT
    try:
        text = line.decode(codec)
    except UnicodeDecodeError:
        codec, shapes = "latin-1", _IN_BYTES
        text = line.decode(codec)
    text = shapes.redact(_STRING.sub(_redact_string, text))
    # Where quotes do not pair up, a match may be spelled with escapes outside of what looks like a string.
    unescaped = _ESCAPE.sub(_unescape, text)
    if (redacted := shapes.redact(unescaped)) != unescaped:
        text = redacted
    return text.encode(codec, "backslashreplace")


def redact_text(text: str) -> str:
    """A name or message with every match replaced."""
    return _IN_VALUE.redact(text)


def _is_mixed(text: str) -> bool:
    """A digit, an upper-case and a lower-case letter."""
    return text != text.lower() and text != text.upper() and any(char.isdigit() for char in text)


def _redact_string(match: re.Match[str]) -> str:
    token = match[0]
    try:
        value: str = json.loads(token, strict=False)
    except ValueError:
        return token
    redacted = redact_text(value)
    return token if redacted == value else json.dumps(redacted, ensure_ascii=False)


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _ESCAPED.get(match[2], match[2])
