"""A conversation by JSON messages, one answer at a time: what a WebSocket and a data channel have in common."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any, Protocol

from pydantic import ValidationError

from examples.gateway.edge import estimated
from examples.gateway.outbox import Outbox
from examples.gateway.parts import Parts
from examples.gateway.problems import Problem, invalid
from examples.gateway.schemas import Asked
from examples.gateway.talk_ended import Ended
from quotaloop.edge import Estimate, Refused, Session

MOST_BYTES = 65_536  # of a message
_MOST_ID = 128  # characters; it is repeated with every token
_WAITING = 8  # messages that wait while one is answered


class Peer(Protocol):
    """The other side of a connection; both raise ``Ended`` once it is gone."""

    async def receive(self) -> str | bytes:
        """The next message."""
        ...

    async def send(self, text: str) -> None:
        """Send one; back when there is room for more."""
        ...


class Talk:
    """Answers one peer until either has enough."""

    def __init__(self, peer: Peer, session: Session, parts: Parts) -> None:
        self._peer, self._session, self._parts = peer, session, parts
        self._inbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._outbox = Outbox(peer.send, parts.settings.slow_s)

    async def run(self) -> Ended:
        """Talk; returns how it ended: with what code the connection is to be closed, None where it is."""
        tasks = [asyncio.create_task(work()) for work in (self._read, self._answer, self._outbox.run)]
        try:
            with self._parts.lifecycle.told(self._stop):
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return _ended(done)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self) -> None:
        """Answer what waits, no more."""
        self._inbox.put_nowait(None)

    async def _read(self) -> None:
        while True:
            message = _parsed(await self._peer.receive())
            if message["type"] == "ping":
                await self._outbox.put({"type": "pong", "id": message.get("id")})
            elif self._inbox.qsize() >= _WAITING:
                raise Ended(1008, f"more than {_WAITING} messages wait")
            else:
                self._inbox.put_nowait(message)

    async def _answer(self) -> None:
        while (message := await self._inbox.get()) is not None:
            name = message.get("id")
            try:
                await self._converse(name, message)
            except Refused as refused:
                await self._outbox.put({"type": "refused", "id": name, "problem": refused.problem})
            if self._parts.lifecycle.is_cut:
                break
        await self._outbox.flush()
        raise Ended(1001, "the gateway is going away")

    async def _converse(self, name: Any, message: dict[str, Any]) -> None:
        """One answer, or why there is none; both are an attempt."""
        try:
            asked = Asked.model_validate({key: value for key, value in message.items() if key not in ("type", "id")})
        except ValidationError as error:
            await self._fail(name, invalid(error))
            return
        estimate = estimated([one.content for one in asked.messages], asked.max_tokens, asked.model)
        async with self._session.exchange(estimate, operation="chat") as exchange:
            try:
                reply = await self._parts.begin(asked, exchange)
                start = {"id": name, "model": reply.model, "input_tokens": exchange.input_tokens}
                await self._outbox.put({"type": "start", **start})
                async with aclosing(reply.tokens()) as tokens:
                    async for text in tokens:
                        await self._outbox.put({"type": "token", "id": name, "text": text}, reply.sent)
                await self._outbox.flush()  # what is counted has gone out
            except Problem as problem:
                exchange.fail(problem.status_code)
                await self._outbox.put({"type": "error", "id": name, "problem": problem.document()})
            else:
                usage = reply.usage.model_dump()
                done = {"id": name, "finish_reason": reply.finish_reason, "usage": usage}
                await self._outbox.put({"type": "done", **done})
            await self._outbox.flush()

    async def _fail(self, name: Any, problem: dict[str, Any]) -> None:
        async with self._session.exchange(Estimate(), operation="chat") as exchange:
            exchange.fail(int(problem["status"]))
            await self._outbox.put({"type": "error", "id": name, "problem": problem})
            await self._outbox.flush()


def _parsed(text: str | bytes) -> dict[str, Any]:
    """A message; raises ``Ended`` for what is none."""
    if isinstance(text, bytes):
        raise Ended(1003, "messages are text")
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise Ended(1009, f"a message has at most {MOST_BYTES:,} bytes")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Ended(1007, "messages are JSON") from None
    if not isinstance(message, dict) or message.get("type") not in ("message", "ping"):
        raise Ended(1007, "a message has the type message or ping")
    name = message.get("id")
    if not isinstance(name, str | int | None) or len(str(name)) > _MOST_ID:
        raise Ended(1007, f"the id of a message is a string of at most {_MOST_ID} characters")
    return message


def _ended(done: set[asyncio.Task[None]]) -> Ended:
    """How it ended; raises what nobody expected."""
    errors = [error for task in done if (error := task.exception()) is not None]
    for error in errors:
        if not isinstance(error, Ended):
            raise error
    ends = [error for error in errors if isinstance(error, Ended)]
    return next((end for end in ends if end.code is None), ends[0])
