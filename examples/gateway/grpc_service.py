"""The conversation by gRPC: a call is answered by a stream of tokens."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
from grpc import StatusCode
from pydantic import ValidationError

from examples.gateway.edge import BODY_BYTES
from examples.gateway.models import generator
from examples.gateway.parts import Parts
from examples.gateway.problems import Problem, invalid
from examples.gateway.proto.conversation_pb2 import ConverseReply, ConverseRequest, Done, Start, Token
from examples.gateway.proto.conversation_pb2_grpc import ConversationServicer, add_ConversationServicer_to_server
from examples.gateway.schemas import Asked
from quotaloop.edge import current
from quotaloop.edge.aio_grpc import MeteredInterceptor

_CODES = {
    404: StatusCode.NOT_FOUND,
    422: StatusCode.INVALID_ARGUMENT,
    500: StatusCode.INTERNAL,
    503: StatusCode.UNAVAILABLE,
}


class ConversationService(ConversationServicer):
    """Answers calls; limits and events are the interceptor's."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def Converse(  # noqa: N802 - its name in the .proto
        self, request: ConverseRequest, context: Any
    ) -> AsyncGenerator[ConverseReply, None]:
        """A start, tokens, and how it ended; a token counts once the next is asked for, as it has gone out then."""
        exchange = current()
        try:
            reply = await self._parts.begin(_asked(request), exchange)
            start = Start(id=reply.id, model=reply.model, input_tokens=exchange.input_tokens)
            yield ConverseReply(start=start)
            async with aclosing(reply.tokens()) as tokens:
                async for text in tokens:
                    yield ConverseReply(token=Token(text=text))
                    reply.sent()
        except Problem as problem:
            await _abort(context, problem)
        usage = reply.usage
        done = Done(
            finish_reason=reply.finish_reason, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens
        )
        yield ConverseReply(done=done)


def server(parts: Parts) -> grpc.aio.Server:
    """A server of the conversation, without a port yet."""
    options = [("grpc.max_receive_message_length", BODY_BYTES), ("grpc.so_reuseport", 0)]
    found = grpc.aio.server(interceptors=[MeteredInterceptor(parts.edge)], options=options)
    add_ConversationServicer_to_server(ConversationService(parts), found)  # type: ignore[no-untyped-call]
    return found


def _asked(request: ConverseRequest) -> Asked:
    """The request as the other protocols have it; raises ``Problem`` 422 where it does not fit."""
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    try:
        return Asked.model_validate(
            {
                "messages": messages,
                "model": request.model or generator.ID,
                "max_tokens": request.max_tokens or 64,
                "seed": request.seed if request.HasField("seed") else None,
            }
        )
    except ValidationError as error:
        raise Problem(422, "The request does not fit", invalid(error)["detail"]) from error


async def _abort(context: Any, problem: Problem) -> NoReturn:
    code = _CODES.get(problem.status_code, StatusCode.UNKNOWN)
    said = f"{problem.title}: {problem.detail}" if problem.detail else problem.title
    await context.abort(code, said, (("problem", json.dumps(problem.document())),))
    raise AssertionError("abort raises")
