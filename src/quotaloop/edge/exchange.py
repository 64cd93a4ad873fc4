"""One attempt on its way: what it is, what it has cost so far, and the event that it ends as."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from quotaloop.edge.routes import UNMATCHED
from quotaloop.edge.versions import UNKNOWN
from quotaloop.events.credentials import found_in
from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.events.fields import FIELDS, MAX_BYTES, MAX_DURATION_MS, MAX_GPU_MS, MAX_TOKENS

if TYPE_CHECKING:
    from quotaloop.edge.arrival import Arrival

ANONYMOUS = "anonymous"  # the tenant of nobody's requests
_LOG = logging.getLogger("quotaloop.edge")
_CHECKS = {field.name: field for field in FIELDS}
_MOST_US = MAX_DURATION_MS * 1_000
_AMOUNTS = {  # and the most that an event may say
    **dict.fromkeys(TOKEN_CLASSES, MAX_TOKENS),
    **dict.fromkeys(("bytes_in", "bytes_out", "stream_messages"), MAX_BYTES),
    "gpu_us": MAX_GPU_MS * 1_000,
}
_LONGEST = 1_024  # characters of a name that is looked at


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
        self.tenant, self.route, self.api_version = ANONYMOUS, UNMATCHED, UNKNOWN  # until it is resolved
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
            "tenant": ANONYMOUS,
            "route": self.route,
            "api_version": self.api_version,
            "status": status if _CHECKS["status"].check(status) is None else 500,  # as clients take it (RFC 9110)
            "duration_ms": spent_us / 1_000,
            "protocol": self.protocol,
            "outcome": outcome,
        }
        if self._first_ns is not None and outcome != "denied":
            found["ttft_ms"] = min(max(self._first_ns - self.arrived_ns, 0) // 1_000, spent_us) / 1_000
        self._put_names(found)
        self._put_amounts(found)
        return found

    def _put_names(self, event: dict[str, Any]) -> None:
        self._put(event, "tenant", self.tenant)
        self._put(event, "method", self.arrival.method)
        self._put(event, "model", self.model)
        if self.version_source is not None:
            event["version_source"] = self.version_source
        if self.operation is not None:
            self._put(event, "operation", self.operation)
        if self.retry_of is not None:
            self._put(event, "retry_of", self.retry_of)
        if self.api_key_id is not None:
            self._put(event, "api_key_id", self.api_key_id)

    def _put(self, event: dict[str, Any], name: str, value: str) -> None:
        """A string that the handler set, if it may stand in an event; clients choose some of them."""
        if isinstance(value, str) and len(value) <= _LONGEST and may_stand(name, value):
            event[name] = value
        else:
            _LOG.warning("%s of %s cannot stand in an event and is left out", name, self.event_id)

    def _put_amounts(self, event: dict[str, Any]) -> None:
        if self.denied_by is not None:
            event["denied_by"], event["wanted_tokens"] = self.denied_by, min(self.wanted_tokens or 0, MAX_TOKENS)
        for name, most in _AMOUNTS.items():
            amount = getattr(self, name)
            if type(amount) is not int or not 0 <= amount <= most:
                _LOG.error("%s of %s is %r, which is no amount; counted as 0", name, self.event_id, amount)
                setattr(self, name, 0)
            elif name == "gpu_us" and amount:
                event["gpu_ms"] = amount / 1_000
            elif amount:
                event[name] = amount


@lru_cache(4_096)
def may_stand(name: str, value: str) -> bool:
    """May this value stand in that field of an event? What looks like a credential may in none."""
    return _CHECKS[name].check(value) is None and not found_in(value)
