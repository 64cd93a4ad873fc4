"""A conversation over a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect

from examples.gateway.parts import Parts, parts_of
from examples.gateway.talk import Talk
from examples.gateway.talk_ended import Ended
from quotaloop.edge import Session

router = APIRouter()
_LOG = logging.getLogger("gateway")
_CLOSING_S = 10.0  # that a peer has to take what is on its way, and the close frame behind it


class _SocketPeer:
    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> str | bytes:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise Ended(None)
        text = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def send(self, text: str) -> None:
        try:
            await self._socket.send_text(text)
        except (WebSocketDisconnect, OSError) as error:
            raise Ended(None) from error


@router.websocket("/api/{version}/conversation/ws")
async def converse(socket: WebSocket, parts: Annotated[Parts, Depends(parts_of)]) -> None:
    """Talk until either closes; whose it is and which version has been settled at the handshake."""
    session: Session = socket.scope["quotaloop.session"]
    await socket.accept()
    try:
        ended = await Talk(_SocketPeer(socket), session, parts).run()
    except Exception:
        _LOG.exception("a conversation over a WebSocket failed")
        ended = Ended(1011, "the gateway failed")
    if ended.code is not None:
        await _close(socket, ended)


async def _close(socket: WebSocket, ended: Ended) -> None:
    try:
        await asyncio.wait_for(socket.close(ended.code or 1000, ended.reason), _CLOSING_S)
    except (TimeoutError, RuntimeError, OSError, WebSocketDisconnect):  # it is gone, or reads nothing
        _LOG.info("a WebSocket could not be closed in time: %s", ended.reason)
