"""Peers of WebRTC: offers answered, data channels talked on, connections that nobody uses closed."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError, OperationError

from examples.gateway.parts import Parts
from examples.gateway.problems import Problem
from examples.gateway.talk import Talk
from examples.gateway.talk_ended import Ended
from quotaloop.edge import Session

CHANNEL = "conversation"
_LOG = logging.getLogger("gateway")
_MOST = 64  # connections at the same time
_MOST_OF_TENANT = 16
_WAITING = 64  # messages that came in and are not read yet
_OPEN_S = 30.0  # from the answer to an open channel
_BUFFERED = 65_536  # bytes that are on their way before senders wait
_NO_SDP = (ValueError, AssertionError, IndexError, KeyError, AttributeError, TypeError, ConnectionError)
_NOT_MINE = (InternalError, InvalidAccessError, InvalidStateError, OperationError)


class ChannelPeer:
    """A data channel as a talk sees it."""

    def __init__(self, channel: RTCDataChannel, session: Session) -> None:
        self._channel, self._session = channel, session
        self._received: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._has_room = asyncio.Event()
        channel.bufferedAmountLowThreshold = _BUFFERED // 2
        self._is_flooded = False
        channel.on("message", self._came)
        channel.on("bufferedamountlow", self._has_room.set)
        channel.on("close", self.left)

    async def receive(self) -> str | bytes:
        """The next message."""
        if (message := await self._received.get()) is None:
            raise Ended(1008, f"more than {_WAITING} messages came at once") if self._is_flooded else Ended(None)
        self._session.received(len(message.encode()) if isinstance(message, str) else len(message))
        return message

    async def send(self, text: str) -> None:
        """Send a message; back when not too much is on its way."""
        while self._channel.readyState == "open" and self._channel.bufferedAmount > _BUFFERED:
            self._has_room.clear()
            await self._has_room.wait()
        if self._channel.readyState != "open":
            raise Ended(None)
        self._channel.send(text)
        self._session.sent(len(text.encode()))

    def _came(self, message: str | bytes) -> None:
        if self._is_flooded:
            return
        if self._received.qsize() >= _WAITING:  # a data channel cannot be told to wait
            self._is_flooded = True
            self._received.put_nowait(None)
        else:
            self._received.put_nowait(message)

    def left(self) -> None:
        """The other side is gone."""
        self._session.client_gone()
        self._has_room.set()
        self._received.put_nowait(None)


class Peers:
    """All connections of WebRTC of a gateway."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._tasks: set[asyncio.Task[None]] = set()
        self._places: Counter[str] = Counter()  # by tenant, of those that negotiate too

    async def answer(self, offer: str, session: Session, tenant: str) -> str:
        """The answer to an offer; raises ``Problem`` 422 for what is none, 503 where there are too many."""
        if self._places.total() >= _MOST or self._places[tenant] >= _MOST_OF_TENANT:
            raise Problem(503, "There are too many peers", "come back later", {"Retry-After": "10"})
        self._places[tenant] += 1  # before anything is waited for
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        opened: asyncio.Future[ChannelPeer] = asyncio.get_running_loop().create_future()
        connection.on("datachannel", lambda channel: _open(opened, channel, session))
        try:
            await _negotiate(connection, offer)
        except BaseException:
            self._places[tenant] -= 1
            await connection.close()
            raise
        task = asyncio.create_task(self._serve(connection, opened, session))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._over(done, tenant))
        return str(connection.localDescription.sdp)

    async def close(self) -> None:
        """End all."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _over(self, task: asyncio.Task[None], tenant: str) -> None:
        self._tasks.discard(task)
        self._places -= Counter({tenant: 1})  # which forgets tenants that have none

    async def _serve(
        self, connection: RTCPeerConnection, opened: asyncio.Future[ChannelPeer], session: Session
    ) -> None:
        try:
            peer = await asyncio.wait_for(opened, _OPEN_S)
            connection.on("connectionstatechange", lambda: _changed(connection, peer))
            await Talk(peer, session, self._parts).run()
        except TimeoutError:
            _LOG.info("a peer opened no channel in %g s", _OPEN_S)
        except Exception:
            _LOG.exception("a conversation over WebRTC failed")
        finally:
            await connection.close()


async def _negotiate(connection: RTCPeerConnection, offer: str) -> None:
    if "m=application" not in offer or "m=audio" in offer or "m=video" in offer:
        raise Problem(422, "The offer cannot be answered", "it is to offer a data channel and nothing else")
    try:
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
    except (*_NO_SDP, *_NOT_MINE) as error:
        raise Problem(422, "The offer cannot be answered", "it is no SDP that can be read") from error


def _open(opened: asyncio.Future[ChannelPeer], channel: RTCDataChannel, session: Session) -> None:
    if channel.label == CHANNEL and not opened.done():
        opened.set_result(ChannelPeer(channel, session))  # listens from now on


def _changed(connection: RTCPeerConnection, peer: ChannelPeer) -> None:
    if connection.connectionState in ("failed", "closed"):
        peer.left()
