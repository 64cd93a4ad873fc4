"""One attempt on its way: what it is, what it has cost so far, and the event that it ends as."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from quotaloop.edge.routes import UNMATCHED
from quotaloop.edge.versions import UNKNOWN
from quotaloop.events.credentials import found_in
from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.events.fields import FIELDS, MAX_BYTES, MAX_DURATION_MS, MAX_GPU_MS, MAX_TOKENS

if TYPE_CHECKING:
    from quotaloop.edge.arrival import Arrival
    from quotaloop.limiter.answer import Answer
    from quotaloop.quotas.policy import Kind

ANONYMOUS = "anonymous"  # the tenant of nobody's requests
_LOG = logging.getLogger("quotaloop.edge")
_CHECKS = {field.name: field for field in FIELDS}
_MOST_US = MAX_DURATION_MS * 1_000
_AMOUNTS = {  # and the most that an event may say
    **dict.fromkeys(TOKEN_CLASSES, MAX_TOKENS),
    **dict.fromkeys(("bytes_in", "bytes_out", "stream_messages"), MAX_BYTES),
    "gpu_us": MAX_GPU_MS * 1_000,
}
_amounts = attrgetter(*_AMOUNTS)
_check_status = _CHECKS["status"].check
_LONGEST = 1_024  # characters of a name that is looked at


class HeldAs(NamedTuple):
    """The names under which an attempt is reserved; its own may change while it is under way."""

    model: str
    api_version: str
    answer: Answer


class Exchange(Struct, eq=False, gc=False):
    """An attempt; the handler says what only it knows by the plain attributes, the edge counts the rest.

    Token classes are exclusive, as in the event contract; ``gpu_us`` is accelerator time in microseconds.
    """

    arrival: Arrival
    event_id: str
    arrived_ms: int
    arrived_ns: int
    _clock: Any
    protocol: str = ""  # that of the arrival unless the answer says more
    tenant: str = ANONYMOUS  # this, route and version until it is resolved
    route: str = UNMATCHED
    api_version: str = UNKNOWN
    version_source: str | None = None
    api_key_id: str | None = None
    retry_of: str | None = None
    operation: str | None = None
    model: str = "unknown"
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    gpu_us: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    stream_messages: int = 0
    wanted_tokens: int | None = None
    denied_by: str | None = None
    held_as: HeldAs | None = None
    held_ms: int = 0
    has_failed: bool = False
    failed_status: int = 500
    is_finished: bool = False
    _first_ns: int | None = None
    _first_is_token: bool = False

    def __post_init__(self) -> None:
        self.protocol = self.protocol or self.arrival.protocol

    def elapsed_ns(self) -> int:
        """Since it arrived."""
        return int(self._clock()) - self.arrived_ns

    def first_token(self) -> None:
        """Say that the first token is out now; else it is the first byte of a stream."""
        if not self._first_is_token:
            self._first_ns, self._first_is_token = self._clock(), True

    def fail(self, status: int = 500) -> None:
        """Say that it failed, as a stream does that tells of its error; ``status`` is for sessions, which have none."""
        self.has_failed, self.failed_status = True, status

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
            "status": status if _check_status(status) is None else 500,  # as clients take it (RFC 9110)
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
        for (name, most), amount in zip(_AMOUNTS.items(), _amounts(self), strict=True):
            if type(amount) is int and amount == 0:
                continue
            if type(amount) is not int or not 0 <= amount <= most:
                _LOG.error("%s of %s is %r, which is no amount; counted as 0", name, self.event_id, amount)
            elif name == "gpu_us":
                event["gpu_ms"] = amount / 1_000
            else:
                event[name] = amount


def costs_of(event: Mapping[str, Any]) -> dict[Kind, int]:
    """What limits count of an attempt in the end: tokens of all classes, and microseconds of compute."""
    gpu_ms: float = event.get("gpu_ms", 0)
    return {"tokens": sum([event.get(name, 0) for name in TOKEN_CLASSES]), "compute": round(gpu_ms * 1_000)}


@lru_cache(4_096)
def may_stand(name: str, value: str) -> bool:
    """May this value stand in that field of an event? What looks like a credential may in none."""
    return _CHECKS[name].check(value) is None and not found_in(value)
