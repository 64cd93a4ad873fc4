"""Conversations over a WebRTC data channel, one after another; the offer is posted with the key."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription

from examples.gateway.clients import frames
from examples.gateway.clients.answer import Answer, NotOpened
from examples.gateway.clients.connection import Connection
from examples.gateway.clients.prompt import Prompt
from examples.gateway.clients.seen import Seen

SIGNALLING = "/api/v1/conversation/rtc"
_OPEN_S = 15.0


class Peer:
    """An open data channel; candidates are the addresses of this host's interfaces, no server is asked for more."""

    def __init__(self, connection: RTCPeerConnection, channel: RTCDataChannel) -> None:
        self.is_open = True
        self._connection, self._channel = connection, channel
        self._names = map(str, itertools.count(1))
        self._received: asyncio.Queue[str | None] = asyncio.Queue()
        self._opened = asyncio.Event()
        channel.on("open", self._opened.set)
        channel.on("message", self._received.put_nowait)
        channel.on("close", self._lost)
        connection.on("connectionstatechange", self._changed)

    @classmethod
    async def open(cls, url: str, key: str, signalled: Callable[[Answer], None]) -> Self:
        """``url`` is the gateway's, of HTTP; raises ``NotOpened``.

        ``signalled`` is given what the offer's POST got: an attempt of its own at the gateway.
        """
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer = cls(connection, connection.createDataChannel("conversation"))
        try:
            signalling = await peer._offer(url, key)
            signalled(signalling)
            await peer._accept(signalling)
        except BaseException:
            await peer.close()
            raise
        return peer

    async def converse(self, prompt: Prompt, *, leave_after: int | None = None) -> Answer:
        """Token by token; the peer is closed after ``leave_after`` of them, and then of no more use."""
        answer = await frames.exchange(prompt, next(self._names), self._send, self._receive, leave_after)
        if answer.outcome == "cancelled":
            await self.close()
        return answer

    async def close(self) -> None:
        """Tell the other side, and let go of the ports."""
        self.is_open = False
        await self._connection.close()

    async def _offer(self, url: str, key: str) -> Answer:
        await self._connection.setLocalDescription(await self._connection.createOffer())
        offer = self._connection.localDescription
        async with Connection(url, key) as http:
            return await http.ask("POST", SIGNALLING, _nothing, json={"sdp": offer.sdp, "type": offer.type})

    async def _accept(self, signalling: Answer) -> None:
        """Raises ``NotOpened`` with an answer that says of an exchange that it was not sent."""
        answer = signalling.document
        if answer is None:
            raise NotOpened(replace(signalling, event_id=None, is_sent=False))
        await self._connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        try:
            await asyncio.wait_for(self._opened.wait(), _OPEN_S)
        except TimeoutError as error:
            raise NotOpened(Answer("error", None, reason="the channel did not open", is_sent=False)) from error

    async def _send(self, text: str) -> None:
        if not self.is_open:
            raise frames.Gone("the channel is closed")
        self._channel.send(text)

    async def _receive(self) -> str:
        text = await self._received.get()
        if text is None:
            raise frames.Gone("the channel was closed")
        return text

    def _lost(self) -> None:
        self.is_open = False
        self._received.put_nowait(None)

    def _changed(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._lost()


def _nothing(seen: Seen, document: dict[str, Any]) -> None:
    """An answer to an offer holds nothing that is counted."""
