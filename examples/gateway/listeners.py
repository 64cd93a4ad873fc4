"""Servers of ASGI in this event loop: uvicorn for HTTP/1.1 and WebSocket, hypercorn for HTTP/2 in cleartext."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import hypercorn.asyncio
import uvicorn

from examples.gateway.talk import MOST_BYTES
from quotaloop.edge.asgi import Application, Message, Receive, Scope, Send

_LOG = logging.getLogger("gateway")
_CUT_S = 1  # for what has not ended when a server is told to
_IDLE_S = 30
_PING_S = 20.0  # as uvicorn's


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is a free one. Raises ``OSError`` where it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With a protocol of 0, asyncio would not know it for TCP and leave Nagle's algorithm on: 40 ms in every stream.
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(1_024)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found


@asynccontextmanager
async def http1(app: Application, listener: socket.socket) -> AsyncIterator[None]:
    """uvicorn, as long as the block lasts; signals are not its business."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws_max_size=MOST_BYTES,
        ws_per_message_deflate=False,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_CUT_S,
    )
    server = _Uvicorn(config)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def http2(app: Application, listener: socket.socket) -> AsyncIterator[None]:
    """hypercorn, as long as the block lasts: HTTP/2 with prior knowledge, and HTTP/1.1."""
    config = hypercorn.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = _CUT_S
    config.keep_alive_timeout = _IDLE_S
    config.websocket_ping_interval = _PING_S
    config.websocket_max_message_size = MOST_BYTES
    config.include_server_header = False
    config.errorlog = logging.getLogger("gateway.http2")
    config.loglevel = "WARNING"
    stop = asyncio.Event()
    served: Any = _without_lifespan(app)
    serving = asyncio.create_task(hypercorn.asyncio.serve(served, config, shutdown_trigger=stop.wait, mode="asgi"))
    try:
        yield
    finally:
        stop.set()
        try:
            await serving
        except* Exception as errors:  # connections whose client does not let them end; all answers have been cut
            _LOG.warning("HTTP/2 did not end cleanly: %s", errors.exceptions[0])


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _without_lifespan(app: Application) -> Application:
    """The application for a second server: it begins and ends with the process, not with that server."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        while True:
            kind: str = (await receive())["type"]
            done: Message = {"type": f"{kind}.complete"}
            await send(done)
            if kind == "lifespan.shutdown":
                return

    return served
