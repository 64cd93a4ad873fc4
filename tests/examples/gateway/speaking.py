"""One conversation by each protocol, over a connection of its own, as the tests of all protocols hold it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from examples.gateway.clients import http, sse
from examples.gateway.clients.answer import Answer
from examples.gateway.clients.connection import Connection
from examples.gateway.clients.prompt import Prompt
from examples.gateway.clients.rpc import Rpc
from examples.gateway.clients.rtc import Peer
from examples.gateway.clients.socket import Socket
from tests.examples.gateway.running_gateway import Gateway

STREAMED = ("sse", "h2-sse", "websocket", "grpc", "webrtc")
WHOLE = ("http", "h2")
ALL = (*WHOLE, *STREAMED)
IN_EVENTS = {"http": "http", "h2": "http", "sse": "sse", "h2-sse": "sse"}  # else the same word
_UNDER_WAY_S = 0.5  # an answer as a whole shows nothing of itself before it is there


async def converse(
    gateway: Gateway, protocol: str, tenant: str, prompt: Prompt, *, leave_after: int | None = None
) -> Answer:
    """One attempt (and for WebRTC its signalling); whoever leaves an answer as a whole leaves while it is made."""
    key = gateway.keys[tenant]
    if protocol == "grpc":
        async with Rpc(gateway.grpc, key) as rpc:
            return await rpc.converse(prompt, leave_after=leave_after)
    if protocol in ("websocket", "webrtc"):
        opened = await _opened(gateway, protocol, key)
        try:
            return await opened.converse(prompt, leave_after=leave_after)
        finally:
            await opened.close()
    is_http2 = protocol.startswith("h2")
    async with Connection(gateway.http2 if is_http2 else gateway.url, key, http2=is_http2) as connection:
        if protocol in STREAMED:
            return await sse.converse(connection, prompt, leave_after=leave_after)
        return (
            await _left(http.converse, connection, prompt) if leave_after else await http.converse(connection, prompt)
        )


async def _opened(gateway: Gateway, protocol: str, key: str) -> Socket | Peer:
    if protocol == "websocket":
        return await Socket.open(gateway.url, key)
    return await Peer.open(gateway.url, key, lambda _: None)


async def _left(
    ask: Callable[[Connection, Prompt], Awaitable[Answer]], connection: Connection, prompt: Prompt
) -> Answer:
    asking = asyncio.ensure_future(ask(connection, prompt))
    done, _ = await asyncio.wait([asking], timeout=_UNDER_WAY_S)
    assert not done, "the answer was there before its client could leave"
    asking.cancel()
    await asyncio.wait([asking])
    return Answer("cancelled", None)
