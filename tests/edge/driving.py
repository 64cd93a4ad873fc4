"""A server of ASGI that a test moves by hand, message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]

ACME = (b"authorization", b"Bearer acme-key")


@dataclass
class Client:
    """The other side of one request or connection: what it sends, and what it got."""

    sent: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    got: list[Message] = field(default_factory=list)
    is_gone: bool = False
    raised: BaseException | None = None

    async def receive(self) -> Message:
        """What the server hands to the application."""
        return await self.sent.get()

    async def send(self, message: Message) -> None:
        """What the application hands to the server."""
        self.got.append(dict(message))

    def leave(self) -> None:
        """Hang up."""
        self.sent.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        """Of the answer."""
        return int(next(message["status"] for message in self.got if message["type"].endswith("response.start")))

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer, the last of each name."""
        start = next(message for message in self.got if message["type"].endswith(("response.start", ".accept")))
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def body(self) -> bytes:
        """Of the answer."""
        return b"".join(message.get("body", b"") for message in self.got if message["type"].endswith("response.body"))


def scope_of(
    path: str, *, kind: str = "http", method: str = "POST", headers: Sequence[tuple[bytes, bytes]] = (ACME,)
) -> Message:
    """A scope as servers make it."""
    path, _, query = path.partition("?")
    found: Message = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": list(headers),
        "extensions": {"websocket.http.response": {}} if kind == "websocket" else {},
    }
    return found | ({"method": method} if kind == "http" else {"subprotocols": []})


async def ask(app: Application, scope: Message, *parts: bytes) -> Client:
    """A request with this body, to its end; what the application raised is kept."""
    client = Client()
    for number, part in enumerate(parts or (b"",), start=1):
        more = number < len(parts)
        client.sent.put_nowait({"type": "http.request", "body": part, "more_body": more})
    await finish(client, app, scope)
    return client


async def finish(client: Client, app: Application, scope: Message) -> None:
    """Let the application run to its end."""
    try:
        await app(scope, client.receive, client.send)
    except BaseException as error:
        client.raised = error


async def until(is_so: Callable[[], bool]) -> None:
    """Give way until it is so; a test that waits in vain fails."""
    for _ in range(10_000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never was so")


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel as a server does that ends."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
