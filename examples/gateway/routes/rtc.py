"""POST /conversation/rtc: an offer of WebRTC is answered; its data channel carries the conversation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from examples.gateway.openapi import errors
from examples.gateway.parts import Parts, parts_of
from examples.gateway.routes.content_types import json_alone
from examples.gateway.rtc import Peers
from examples.gateway.schemas import Description, RtcAnswer
from quotaloop.edge import Session, current

router = APIRouter(tags=["conversation"], dependencies=[Depends(json_alone)])


@router.post(
    "/api/v1/conversation/rtc",
    operation_id="conversation_rtc",
    responses=errors(400, 401, 413, 415, 422, 429, 500, 503),
)
async def offer(asked: Description, request: Request, parts: Annotated[Parts, Depends(parts_of)]) -> RtcAnswer:
    """Answers an offer of a data channel; the messages on it are those of the WebSocket."""
    peers: Peers = request.app.state.peers
    session = Session(parts.edge, current(), protocol="webrtc")
    return RtcAnswer(sdp=await peers.answer(asked.sdp, session, current().tenant))
