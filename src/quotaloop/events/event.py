"""The event as the rest of the pipeline sees it: valid, defaults filled in, in whole microseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

FORMAT = "quotaloop/event@1"
TOKEN_CLASSES = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


class Event(msgspec.Struct, frozen=True, gc=False):
    """One accepted or duplicate line. ``ts`` is epoch ms; ``_us`` are whole microseconds; None means absent.

    Two lines have the same content exactly if their events are equal.
    """

    event_id: str
    ts: int
    tenant: str
    route: str
    api_version: str
    status: int
    duration_us: int
    method: str
    protocol: str
    version_source: str | None
    operation: str | None
    model: str
    outcome: str
    denied_by: str | None
    ttft_us: int | None
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int
    wanted_tokens: int | None
    gpu_us: int
    bytes_in: int
    bytes_out: int
    stream_messages: int
    retry_of: str | None
    api_key_id: str | None
    host: str | None
    boot: str | None
    seq: int | None
    prev_boot: str | None
    prev_seq: int | None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a line is not an event: ``late``, or the reason of its quarantine."""

    reason: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """An event, and the names of the fields in its line that are unknown."""

    event: Event
    unknown_fields: tuple[str, ...] = field(default=())


LATE = Rejection("late")
