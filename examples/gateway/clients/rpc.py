"""Conversations by gRPC: one channel carries many calls at the same time, each streamed by the server."""

from __future__ import annotations

import json
from typing import Any, Self

import grpc

from examples.gateway.clients.answer import Answer
from examples.gateway.clients.prompt import Prompt
from examples.gateway.clients.seen import Seen
from examples.gateway.proto.conversation_pb2 import ConverseReply, ConverseRequest, Message

METHOD = "/quotaloop.gateway.v1.Conversation/Converse"
# A channel of its own TCP connection, past every proxy; nothing is sent again, also not by gRPC itself.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0))
_AS_HTTP = {  # as the comments of google.rpc.Code map them
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class Rpc:
    """To one gateway (``host:port``) with one key, in cleartext. As a context it is closed."""

    def __init__(self, target: str, key: str, *, timeout_s: float = 60) -> None:
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._timeout_s = timeout_s
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._converse = self._channel.unary_stream(
            METHOD,
            request_serializer=ConverseRequest.SerializeToString,
            response_deserializer=ConverseReply.FromString,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; what is under way ends."""
        await self._channel.close()

    async def converse(self, prompt: Prompt, *, leave_after: int | None = None) -> Answer:
        """Token by token; the call is cancelled after ``leave_after`` of them."""
        seen = Seen()
        request = ConverseRequest(
            messages=[Message(role="user", content=prompt.text)],
            model=prompt.model,
            max_tokens=prompt.max_tokens,
            seed=prompt.seed,
        )
        call = self._converse(request, metadata=self._metadata, timeout=self._timeout_s)
        try:
            return await _read(seen, call, leave_after)
        except grpc.aio.AioRpcError as error:
            return _failed(seen, error)
        finally:
            call.cancel()  # of a call that has ended it does nothing


async def _read(seen: Seen, call: Any, leave_after: int | None) -> Answer:
    seen.event_id = _value(await call.initial_metadata(), "x-request-id")
    is_done = False
    async for reply in call:
        part = reply.WhichOneof("part")
        if part == "start":
            seen.start(reply.start.input_tokens)
        elif part == "token":
            seen.token(reply.token.text)
            if seen.tokens == leave_after:
                return seen.answer("cancelled", None)
        elif part == "done":
            is_done = True
    return seen.answer("ok", 200) if is_done else seen.answer("error", 200, reason="the stream ended early")


def _failed(seen: Seen, error: grpc.aio.AioRpcError) -> Answer:
    """A status other than OK; the gateway tells why in trailing metadata, as a problem."""
    trailing = error.trailing_metadata()
    wait, problem = _value(trailing, "retry-delay"), _value(trailing, "problem")
    return seen.answer(
        "refused" if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else "error",
        _AS_HTTP.get(error.code(), 500),
        problem=json.loads(problem) if problem else None,
        retry_after_s=float(wait.removesuffix("s")) if wait else None,
        reason=None if problem else error.code().name,
        is_sent=not _never_connected(error),
    )


def _never_connected(error: grpc.aio.AioRpcError) -> bool:
    """Without a connection gRPC ends a call itself; there is no mark of it but its words."""
    details = error.details() or ""
    return error.code() is grpc.StatusCode.UNAVAILABLE and "failed to connect to all addresses" in details


def _value(metadata: Any, name: str) -> str | None:
    return next((str(value) for key, value in metadata or () if key == name), None)
