"""One attempt on its way: what it is, what it has cost so far, and the event that it ends as."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from quotaloop.events.credentials import found_in
from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.events.fields import FIELDS, MAX_DURATION_MS

if TYPE_CHECKING:
    from quotaloop.edge.arrival import Arrival

_LOG = logging.getLogger("quotaloop.edge")
_CHECKS = {field.name: field for field in FIELDS}
_MOST_US = MAX_DURATION_MS * 1_000


class Exchange:
    """An attempt; the handler says what only it knows by the plain attributes, the edge counts the rest.

    Token classes are exclusive, as in the event contract; ``gpu_us`` is accelerator time in microseconds.
    """

    __slots__ = (
        "_clock",
        "_first_is_token",
        "_first_ns",
        "api_key_id",
        "api_version",
        "arrival",
        "arrived_ms",
        "arrived_ns",
        "bytes_in",
        "bytes_out",
        "cache_read_tokens",
        "cache_write_tokens",
        "denied_by",
        "event_id",
        "gpu_us",
        "has_failed",
        "held_as",
        "held_ms",
        "input_tokens",
        "is_finished",
        "model",
        "operation",
        "output_tokens",
        "protocol",
        "reasoning_tokens",
        "retry_of",
        "route",
        "stream_messages",
        "tenant",
        "version_source",
        "wanted_tokens",
    )

    def __init__(self, arrival: Arrival, event_id: str, arrived_ms: int, arrived_ns: int, clock: Any) -> None:
        self.arrival, self.event_id = arrival, event_id
        self.arrived_ms, self.arrived_ns, self._clock = arrived_ms, arrived_ns, clock
        self.tenant = self.route = self.api_version = ""
        self.protocol = arrival.protocol
        self.version_source: str | None = None
        self.api_key_id: str | None = None
        self.retry_of: str | None = None
        self.operation: str | None = None
        self.model = "unknown"
        self.input_tokens = self.cache_read_tokens = self.cache_write_tokens = 0
        self.output_tokens = self.reasoning_tokens = 0
        self.gpu_us = self.bytes_in = self.bytes_out = self.stream_messages = 0
        self.wanted_tokens: int | None = None
        self.denied_by: str | None = None
        self.held_as: tuple[str, str] | None = None  # model and version under which it is reserved
        self.held_ms = 0
        self.has_failed = self.is_finished = False
        self._first_ns: int | None = None
        self._first_is_token = False

    @property
    def tokens(self) -> int:
        """Of all classes."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.output_tokens
            + self.reasoning_tokens
        )

    def elapsed_ns(self) -> int:
        """Since it arrived."""
        return int(self._clock()) - self.arrived_ns

    def first_token(self) -> None:
        """Say that the first token is out now; else it is the first byte of a stream."""
        if not self._first_is_token:
            self._first_ns, self._first_is_token = self._clock(), True

    def fail(self) -> None:
        """Say that it failed, whatever its status: a stream that tells of its error and ends."""
        self.has_failed = True

    def sent(self, size: int, messages: int = 1) -> None:
        """Count bytes and messages that went out in a stream."""
        self.bytes_out += size
        self.stream_messages += messages
        if self._first_ns is None and size:
            self._first_ns = self._clock()

    def received(self, size: int) -> None:
        """Count bytes that came in."""
        self.bytes_in += size

    def event(self, status: int, outcome: str, ended_ns: int) -> dict[str, Any]:
        """The event of the contract, without the stamp of the host. What the handler set wrong is left out and said."""
        spent_us = min(max(ended_ns - self.arrived_ns, 0) // 1_000, _MOST_US)
        found: dict[str, Any] = {
            "event_id": self.event_id,
            "ts": self.arrived_ms,
            "tenant": self.tenant,
            "route": self.route,
            "api_version": self.api_version,
            "status": status,
            "duration_ms": spent_us / 1_000,
            "method": self.arrival.method,
            "protocol": self.protocol,
            "outcome": outcome,
            "model": self._checked("model", self.model, "unknown"),
        }
        if self._first_ns is not None and outcome != "denied":
            found["ttft_ms"] = min(max(self._first_ns - self.arrived_ns, 0) // 1_000, spent_us) / 1_000
        for name in ("version_source", "denied_by", "wanted_tokens"):
            if (value := getattr(self, name)) is not None:
                found[name] = value
        for name in ("operation", "retry_of", "api_key_id"):
            if (said := self._checked(name, getattr(self, name), None)) is not None:
                found[name] = said
        for name in (*TOKEN_CLASSES, "bytes_in", "bytes_out", "stream_messages"):
            if amount := self._amount(name):
                found[name] = amount
        if gpu_us := self._amount("gpu_us", "gpu_ms"):
            found["gpu_ms"] = gpu_us / 1_000
        return found

    def _checked(self, name: str, value: str | None, otherwise: str | None) -> str | None:
        """A string that the handler set, if it may stand in an event; clients choose some of them."""
        if value is None:
            return otherwise
        if not isinstance(value, str) or _CHECKS[name].check(value) is not None or found_in(value):
            _LOG.warning("%s of %s cannot stand in an event and is left out", name, self.event_id)
            return otherwise
        return value

    def _amount(self, name: str, field: str | None = None) -> int:
        value = getattr(self, name)
        if type(value) is int and _CHECKS[field or name].check(value) is None:
            return value
        _LOG.error("%s of %s is %r, which is no amount; counted as 0", name, self.event_id, value)
        setattr(self, name, 0)
        return 0
