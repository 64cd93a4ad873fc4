"""A request as it arrives, whatever protocol brought it, and what an application says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

_NOTHING: Any = object()
_DECODER = msgspec.json.Decoder()


class Identity(Struct, frozen=True, gc=False):
    """Whose request it is; ``api_key_id`` is an id or keyed hash of the key, never the key."""

    tenant: str
    api_key_id: str | None = None


class Estimate(Struct, frozen=True, gc=False):
    """What a request may cost, guessed before it runs: tokens of all classes, accelerator time in microseconds."""

    tokens: int = 0
    gpu_us: int = 0
    model: str = "unknown"


class Arrival:
    """What the edge knows before the handler runs; header names are lower-case, values are decoded as Latin-1.

    ``protocol`` is a word of the event contract. ``body`` is there where the route reads it and it is not too large;
    ``request`` is the message of a gRPC call that has one.
    """

    def __init__(
        self,
        *,
        protocol: str,
        method: str,
        path: str,
        query_string: bytes = b"",
        raw_headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes | None = None,
    ) -> None:
        self.protocol, self.method, self.path = protocol, method, path
        self.query_string, self.raw_headers, self.body = query_string, raw_headers, body
        self.request: Any = None
        self.api_version = ""  # once it is resolved
        self._json: Any = _NOTHING
        self._first: dict[bytes, bytes] | None = None

    def header(self, name: bytes) -> str | None:
        """The first value of a header by its lower-case name."""
        value = self._headers().get(name)
        return None if value is None else value.decode("latin-1")

    def listed(self, name: bytes) -> str:
        """All values of a header that is a list, as the one that they stand for (RFC 9110); empty without one."""
        if name not in self._headers():
            return ""
        return ", ".join([value.decode("latin-1") for found, value in self.raw_headers if found == name])

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """All headers; of one that came twice, the first."""
        found: dict[str, str] = {}
        for name, value in self.raw_headers:
            found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        return found

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The parameters of the query; of one that came twice, the first."""
        found: dict[str, str] = {}
        for name, value in parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True):
            found.setdefault(name, value)
        return found

    def json(self) -> Any:
        """The body as JSON; None where there is none, or it is none."""
        if self._json is _NOTHING:
            self._json = _document(self.body) if self.body else None
        return self._json

    def _headers(self) -> dict[bytes, bytes]:
        """The first value of each header; they are looked at once, however many are asked for."""
        if self._first is None:
            self._first = dict(reversed(list(self.raw_headers)))
        return self._first


def _document(body: bytes) -> Any:
    """What ``json`` makes of it, None where that is nothing: the fast parser takes less, and that alike."""
    try:
        return _DECODER.decode(body)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # the handler tells the client
        return None
