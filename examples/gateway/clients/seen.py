"""What a client has seen of an answer so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from examples.gateway.clients.answer import Answer, Outcome


class Seen:
    """Begins when the attempt is sent; ``answer`` ends it."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._words: list[str] = []
        self._ttft_ms: float | None = None
        self._input_tokens = 0
        self._output_tokens = 0
        self.event_id: str | None = None
        self.last_event_id: str | None = None

    @property
    def tokens(self) -> int:
        """Tokens received."""
        return self._output_tokens

    def start(self, input_tokens: int) -> None:
        """The server counted the prompt."""
        self._input_tokens = input_tokens

    def token(self, text: str) -> None:
        """One token came."""
        if self._ttft_ms is None:
            self._ttft_ms = self._elapsed_ms()
        self._output_tokens += 1
        self._words.append(text)

    def whole(self, text: str, usage: Mapping[str, Any]) -> None:
        """All of it came at once."""
        self._words = [text]
        self._input_tokens = int(usage.get("input_tokens", 0))
        self._output_tokens = int(usage.get("output_tokens", 0))

    def answer(
        self,
        outcome: Outcome,
        status: int | None,
        *,
        problem: dict[str, Any] | None = None,
        retry_after_s: float | None = None,
        document: dict[str, Any] | None = None,
        reason: str | None = None,
        is_sent: bool = True,
    ) -> Answer:
        """The attempt is over."""
        return Answer(
            outcome=outcome,
            status=status,
            tokens=self._output_tokens,
            input_tokens=self._input_tokens,
            ttft_ms=self._ttft_ms,
            duration_ms=self._elapsed_ms(),
            retry_after_s=retry_after_s,
            problem=problem,
            event_id=self.event_id,
            text="".join(self._words),
            document=document,
            last_event_id=self.last_event_id,
            reason=reason,
            is_sent=is_sent,
        )

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._began) * 1000
