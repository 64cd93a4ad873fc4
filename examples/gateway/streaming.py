"""An answer of the text model, token by token: one code makes and counts it for every protocol."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal

from examples.gateway.lifecycle import Lifecycle
from examples.gateway.models.generator import MOST_PROMPT
from examples.gateway.models.loaded import Models, Writes
from examples.gateway.models.tokens import tokens_of
from examples.gateway.problems import Problem
from examples.gateway.schemas import MOST_SEED, Asked, Message, Usage
from quotaloop.edge import Exchange

_SHORT = 4_096  # characters that are cut into tokens in the event loop
_SLICE = 16  # tokens without letting others in
_LOOK_S = 0.1  # how often a pause looks whether it is cut


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in an answer: that of this seed, after so many tokens."""

    seed: int
    tokens: int = 0


class Reply:
    """One answer. Who sends it says ``sent`` after each token that has gone out: what is not sent is not counted.

    ``usage`` is of what was sent here: of an answer taken up again, not of what had been sent before.
    """

    def __init__(
        self, model: Writes, asked: Asked, mark: Mark, exchange: Exchange, lifecycle: Lifecycle, pace_ms: float
    ) -> None:
        self.id, self.model, self.mark = exchange.event_id, asked.model, mark
        self._writes, self._asked = model, asked
        self._exchange, self._lifecycle, self._pace_s = exchange, lifecycle, pace_ms / 1_000
        self._prompt: Sequence[str] = ()
        self._spent_ns = 0

    async def read(self) -> None:
        """Cut the prompt into tokens; raises ``Problem`` 422 for one that is too long."""
        characters = sum(len(message.content) for message in self._asked.messages)
        prompt, spent_ns = (
            _cut(self._asked.messages) if characters <= _SHORT else await asyncio.to_thread(_cut, self._asked.messages)
        )
        self._spend(spent_ns)
        if len(prompt) > MOST_PROMPT:
            raise Problem(422, "The prompt is too long", f"{len(prompt):,} tokens; the model reads {MOST_PROMPT:,}")
        self._prompt = prompt
        self._exchange.input_tokens = len(prompt)

    async def tokens(self) -> AsyncGenerator[str, None]:
        """The tokens after the mark; others get their turn meanwhile. Raises ``Problem`` where it fails or is cut."""
        texts = self._writes.texts(self._prompt, self.mark.seed, self._asked.max_tokens, self.mark.tokens)
        number = 0
        with self._lifecycle.answering():
            while True:
                began_ns = time.thread_time_ns()
                text = next(texts, None)
                self._spend(time.thread_time_ns() - began_ns)
                if text is None:
                    return
                await self._pause(number)
                yield text
                number += 1

    def sent(self) -> None:
        """One more token has gone out."""
        self._exchange.output_tokens += 1
        self._exchange.first_token()

    def sent_whole(self, tokens: int) -> None:
        """All tokens go out at once."""
        self._exchange.output_tokens = tokens

    @property
    def next_place(self) -> str:
        """The id of the token that is sent next: whoever has got it goes on after it."""
        return f"{self.mark.seed:x}.{self.mark.tokens + self._exchange.output_tokens + 1}"

    @property
    def finish_reason(self) -> Literal["length", "stop"]:
        """Did the answer end by itself or by ``max_tokens``?"""
        whole = self.mark.tokens + self._exchange.output_tokens
        return "length" if whole >= self._asked.max_tokens else "stop"

    @property
    def usage(self) -> Usage:
        """What it is charged for."""
        read, wrote = self._exchange.input_tokens, self._exchange.output_tokens
        return Usage(input_tokens=read, output_tokens=wrote, total_tokens=read + wrote)

    async def _pause(self, number: int) -> None:
        left_s = self._pace_s
        if not left_s and number % _SLICE == 0:
            await asyncio.sleep(0)
        while left_s > 0 and not self._lifecycle.is_cut:
            await asyncio.sleep(min(left_s, _LOOK_S))
            left_s -= _LOOK_S
        if self._lifecycle.is_cut:
            raise Problem(503, "The gateway is going away", "take it up again elsewhere", {"Retry-After": "1"})

    def _spend(self, spent_ns: int) -> None:
        self._spent_ns += spent_ns
        self._exchange.gpu_us = self._spent_ns // 1_000


async def begin(
    models: Models,
    asked: Asked,
    exchange: Exchange,
    lifecycle: Lifecycle,
    pace_ms: float,
    mark: Mark | None = None,
) -> Reply:
    """An answer whose prompt is read; raises ``Problem`` for an unknown model or a prompt that is too long.

    Without a mark it begins at the first token, by the seed asked for, or one that is drawn.
    """
    model = models.text(asked.model)
    exchange.model = asked.model
    seed = secrets.randbelow(MOST_SEED + 1) if asked.seed is None else asked.seed
    reply = Reply(model, asked, mark or Mark(seed), exchange, lifecycle, pace_ms)
    await reply.read()
    return reply


def _cut(messages: Sequence[Message]) -> tuple[list[str], int]:
    """The tokens of all messages, and the processor time that it took, ns."""
    began_ns = time.thread_time_ns()
    found = [token for message in messages for token in tokens_of(message.content)]
    return found, time.thread_time_ns() - began_ns
