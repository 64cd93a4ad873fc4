"""Makes one tenant's calls, over the connections that it keeps for each protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

from examples.gateway.clients import http, sse, upload
from examples.gateway.clients.answer import Answer, NotOpened
from examples.gateway.clients.connection import Connection
from examples.gateway.clients.prompt import Version
from examples.gateway.clients.rpc import Rpc
from examples.gateway.clients.rtc import Peer
from examples.gateway.clients.socket import Socket
from examples.gateway.load.plan import Call
from examples.gateway.load.pool import Pool


@dataclass(frozen=True, slots=True)
class Target:
    """Where a gateway is: URLs of HTTP/1.1 and HTTP/2, ``host:port`` of gRPC."""

    url: str
    http2: str
    grpc: str


class Caller:
    """One tenant: an HTTP connection pool a protocol, a gRPC channel, ``sockets`` WebSockets a version, one peer.

    ``signalling`` holds what each offer of a peer got. As a context it is closed.
    """

    def __init__(self, target: Target, key: str, *, sockets: int = 8) -> None:
        self.signalling: list[Answer] = []
        self._http = {
            "http": Connection(target.url, key),
            "http2": Connection(target.http2, key, http2=True),
            "multipart": Connection(target.url, key),
            "sse": Connection(target.url, key),
        }
        self._rpc = Rpc(target.grpc, key)
        self._sockets = {
            name: Pool(sockets, partial(Socket.open, target.url, key, Version(name))) for name in ("v1", "v2")
        }
        self._peers = Pool(1, partial(Peer.open, target.url, key, self.signalling.append))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for sockets in self._sockets.values():
            await sockets.close()
        await self._peers.close()
        for connection in self._http.values():
            await connection.close()
        await self._rpc.close()

    @property
    def waits_s(self) -> list[float]:
        """How long calls waited for a WebSocket or a peer, those that did."""
        return self._peers.waits_s + [wait_s for pool in self._sockets.values() for wait_s in pool.waits_s]

    async def call(self, call: Call) -> Answer:
        """One attempt; a connection that cannot be opened is an error of the call that needed it."""
        try:
            return await self._way(call.protocol)(call)
        except NotOpened as failed:
            return failed.answer

    async def warm(self) -> None:
        """Open the peer before the clock runs: its keys and candidates take longer than any call."""
        try:
            async with self._peers.lend():
                pass
        except NotOpened:
            return  # noted among the signalling; each call will try again, and count it

    def _way(self, protocol: str) -> Callable[[Call], Awaitable[Answer]]:
        ways = {
            "http": self._json,
            "http2": self._json,
            "multipart": self._upload,
            "sse": self._events,
            "websocket": self._socket,
            "grpc": self._grpc,
            "webrtc": self._webrtc,
        }
        return ways[protocol]

    async def _json(self, call: Call) -> Answer:
        return await http.converse(self._http[call.protocol], call.prompt, call.version)

    async def _upload(self, call: Call) -> Answer:
        content, _ = upload.picture(call.picture)
        return await upload.classify(self._http["multipart"], content, call.version)

    async def _events(self, call: Call) -> Answer:
        return await sse.converse(self._http["sse"], call.prompt, call.version, leave_after=call.leave_after)

    async def _grpc(self, call: Call) -> Answer:
        return await self._rpc.converse(call.prompt, leave_after=call.leave_after)

    async def _socket(self, call: Call) -> Answer:
        async with self._sockets[call.version.name].lend() as socket:
            return await socket.converse(call.prompt, leave_after=call.leave_after)

    async def _webrtc(self, call: Call) -> Answer:
        async with self._peers.lend() as peer:
            return await peer.converse(call.prompt, leave_after=call.leave_after)
