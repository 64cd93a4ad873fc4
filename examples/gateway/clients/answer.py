"""What a client got for one attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from quotaloop.errors import ServiceUnreachable

Outcome = Literal["ok", "refused", "error", "cancelled"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One attempt as its client saw it; times are from the moment it was sent.

    ``refused`` is a limit's no, ``cancelled`` that the client left. ``status`` is of HTTP or what a gRPC code means
    there, None where nothing came. ``reason`` says what broke where the server did not, ``is_sent`` is False where
    it is certain that nothing reached the server, ``last_event_id`` is where a stream can be taken up again.
    """

    outcome: Outcome
    status: int | None
    tokens: int = 0
    input_tokens: int = 0
    ttft_ms: float | None = None
    duration_ms: float = 0.0
    retry_after_s: float | None = None
    problem: dict[str, Any] | None = None
    event_id: str | None = None
    text: str = ""
    document: dict[str, Any] | None = None
    last_event_id: str | None = None
    reason: str | None = None
    is_sent: bool = True


class NotOpened(ServiceUnreachable):
    """A connection that is to carry exchanges did not come about; ``answer`` is what its opening got."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"the connection was not opened: {answer.reason or answer.problem or answer.status}")
        self.answer = answer
