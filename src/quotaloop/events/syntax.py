"""JSON read without recursion, for the lines that a fast decoder refuses or cannot vouch for.

Says which rule of the syntax a line breaks, and finds what decoders hide: duplicate keys, depth, every string value.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

MAX_DEPTH = 64

_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLAIN_STRING = re.compile(r'"[^"\\\x00-\x1f]*"')
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_STRING_START = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
_OPENINGS, _CLOSINGS = re.compile(r"\[+"), re.compile(r"\]+")
_WORDS = {"true": True, "false": False, "null": None}
_UNFINISHED = re.compile(
    r"(?:t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?|-|-?(?:0|[1-9][0-9]*)(?:\.|(?:\.[0-9]+)?[eE][+-]?))\Z"
)
_UNFINISHED_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_SURROGATE = re.compile("[\ud800-\udfff]")

NESTED = object()  # stands for an object or array as the value of a field


class SyntaxFault(Exception):
    """A line that is not one JSON object; ``reason`` is the word for the quarantine."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Document:
    """What stands in one line: the top level's fields (``NESTED`` for objects and arrays), and what lies below."""

    fields: dict[str, Any] = field(default_factory=dict)
    strings: list[str] = field(default_factory=list)
    duplicate_key: bool = False
    depth: int = 0
    is_object: bool = True


def read(text: str) -> Document:
    """Read one line; raises ``SyntaxFault`` with ``truncated``, ``control_character``, ``encoding``, ``syntax``, ...

    ``multiple_values`` is a whole value followed by the beginning of another.
    """
    return _read_shallow(text) or _Reader(text).read()


def _read_shallow(text: str) -> Document | None:
    """The same by the standard library's decoder, which is faster; None for a line that it cannot vouch for."""
    if text.count("{") + text.count("[") > MAX_DEPTH or not text.lstrip(" \t\r\n").startswith("{"):
        return None
    document = Document()

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        document.duplicate_key |= len(found) < len(pairs)
        return found

    try:
        fields = json.loads(text, object_pairs_hook=members, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    left: list[tuple[Any, int]] = [(fields, 1)]
    while left:
        value, depth = left.pop()
        if isinstance(value, str):
            document.strings.append(value)
        elif isinstance(value, dict | list):
            document.depth = max(document.depth, depth)
            inner = value.values() if isinstance(value, dict) else value
            left.extend((item, depth + 1) for item in reversed(list(inner)))
            if isinstance(value, dict) and any(map(_SURROGATE.search, value)):
                return None
    document.fields = {name: NESTED if isinstance(value, dict | list) else value for name, value in fields.items()}
    return None if any(map(_SURROGATE.search, document.strings)) else document


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


class _Reader:
    """An explicit stack of open containers instead of recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.document = Document()
        self.keys: list[set[str] | None] = []  # of each open container: an object's keys so far; None for an array
        self.fresh = False  # the container on top was opened just now

    def read(self) -> Document:
        self._skip()
        self.document.is_object = self._peek() == "{"
        self._value()
        while self.keys:
            self._member(self.keys[-1])
        self._skip()
        if self.at < len(self.text):
            raise SyntaxFault("multiple_values" if self.text[self.at] in '{["' else self._odd())
        if not self.document.is_object:
            raise SyntaxFault("not_an_object")
        return self.document

    def _member(self, keys: set[str] | None) -> None:
        """One member with its comma, or the closing bracket."""
        fresh, self.fresh = self.fresh, False
        self._skip()
        if self._peek() == ("]" if keys is None else "}"):
            closed = 1 if keys is not None else min(self._run(_CLOSINGS), self._open_arrays())
            self.at += closed
            del self.keys[-closed:]
            return
        if not fresh:
            self._expect(",")
            self._skip()
        if keys is None:
            self._value()
        else:
            self._field(keys)

    def _run(self, mark: re.Pattern[str]) -> int:
        """How often a mark stands here in a row: thousands of brackets are one step."""
        match = mark.match(self.text, self.at)
        return len(match[0]) if match else 0

    def _open_arrays(self) -> int:
        return next((count for count, keys in enumerate(reversed(self.keys)) if keys is not None), len(self.keys))

    def _field(self, keys: set[str]) -> None:
        if self._peek() != '"':
            raise SyntaxFault(self._odd())
        key = self._string()
        self._skip()
        self._expect(":")
        if key in keys:
            self.document.duplicate_key = True
        keys.add(key)
        top = len(self.keys) == 1 and self.document.is_object
        value = self._value()
        if top:
            self.document.fields[key] = value

    def _value(self) -> Any:
        self._skip()
        mark = self._peek()
        if mark in "{[":
            opened = 1 if mark == "{" else self._run(_OPENINGS)
            self.at += opened
            self.keys.extend([set()] if mark == "{" else [None] * opened)
            self.fresh = True
            self.document.depth = max(self.document.depth, len(self.keys))
            return NESTED
        if mark == '"':
            value = self._string()
            self.document.strings.append(value)
            return value
        return self._scalar()

    def _scalar(self) -> Any:
        if _UNFINISHED.match(self.text, self.at):
            raise SyntaxFault("truncated")
        match = _SCALAR.match(self.text, self.at)
        if match is None:
            raise SyntaxFault(self._odd())
        self.at = match.end()
        word = match[0]
        if word in _WORDS:
            return _WORDS[word]
        if word.lstrip("-").isdigit():
            return int(word[:32])  # longer ones are out of every range, and int() refuses 4,301 digits
        return float(word)

    def _string(self) -> str:
        plain = _PLAIN_STRING.match(self.text, self.at)
        if plain is not None:
            self.at = plain.end()
            return plain[0][1:-1]
        match = _STRING.match(self.text, self.at)
        if match is None:
            raise SyntaxFault(self._broken_string())
        self.at = match.end()
        value: str = json.loads(match[0])
        if _SURROGATE.search(value):
            raise SyntaxFault("encoding")
        return value

    def _broken_string(self) -> str:
        start = _STRING_START.match(self.text, self.at)
        end = start.end() if start else self.at
        if end == len(self.text) or _UNFINISHED_ESCAPE.match(self.text, end):
            return "truncated"
        return "control_character" if self.text[end] < " " else "syntax"

    def _odd(self) -> str:
        return "control_character" if self._peek() < " " else "syntax"

    def _peek(self) -> str:
        if self.at >= len(self.text):
            raise SyntaxFault("truncated")
        return self.text[self.at]

    def _expect(self, mark: str) -> None:
        if self._peek() != mark:
            raise SyntaxFault(self._odd())
        self.at += 1

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
