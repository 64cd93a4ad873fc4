"""POST /conversation: an answer of the text model, as a whole or streamed."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse

from examples.gateway.leaving import until_left
from examples.gateway.openapi import Responses, errors
from examples.gateway.parts import Parts, parts_of
from examples.gateway.routes.content_types import json_alone
from examples.gateway.schemas import ConversationReply, ConversationRequest, Message
from examples.gateway.sse import EventStream, event, events_of
from examples.gateway.streaming import Mark, Reply
from quotaloop.edge import current

_LEFT = 499  # nobody gets it, the event has it
_USAGE: dict[str, Any] = {"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}
_STREAM = b"".join(
    [
        event("start", {"id": "5a1f-1", "model": "markov", "input_tokens": 5}),
        event("token", {"text": "However"}, "7.1"),
        event("done", {"finish_reason": "length", "usage": _USAGE}),
    ]
).decode()
_EVENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "event": {"enum": ["start", "token", "done", "error"]},
        "id": {"type": "string", "description": "of a token: the place to go on after"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_ANSWERS: Responses = {
    200: {
        "model": ConversationReply,
        "description": "The answer; with `stream`, as events `start`, `token`, ..., `done` or `error`",
        "content": {"text/event-stream": {"schema": _EVENT, "example": _STREAM}},
    },
    **errors(400, 401, 404, 413, 415, 422, 429, 500, 503),
}
_Last = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        pattern=r"^([0-9a-f]{1,14}\.[0-9]{1,4})?$",
        description="the id of the last event that was got: the same request goes on after it",
    ),
]
router = APIRouter(tags=["conversation"], dependencies=[Depends(json_alone)], responses=_ANSWERS)


@router.post("/api/v1/conversation", response_model=None, operation_id="conversation_v1")
@router.post("/api/v2/conversation", response_model=None, operation_id="conversation_v2")
async def conversation(
    asked: ConversationRequest,
    request: Request,
    parts: Annotated[Parts, Depends(parts_of)],
    last_event_id: _Last = "",
) -> Response:
    """Goes on from the messages with words out of Python's help texts; the same seed gives the same words."""
    exchange = current()
    mark = _mark(last_event_id) if asked.stream and last_event_id else None
    reply = await parts.begin(asked, exchange, mark)
    if asked.stream:
        return EventStream(events_of(reply, exchange), parts.settings.heartbeat_s)
    answer = await until_left(_whole(reply), request.receive)
    return JSONResponse(answer.model_dump()) if answer else Response(status_code=_LEFT)


async def _whole(reply: Reply) -> ConversationReply:
    async with aclosing(reply.tokens()) as tokens:
        texts = [text async for text in tokens]
    reply.sent_whole(len(texts))
    return ConversationReply(
        id=reply.id,
        model=reply.model,
        message=Message(role="assistant", content="".join(texts)),
        finish_reason=reply.finish_reason,
        usage=reply.usage,
    )


def _mark(said: str) -> Mark:
    seed, _, number = said.partition(".")
    return Mark(int(seed, 16), int(number))
