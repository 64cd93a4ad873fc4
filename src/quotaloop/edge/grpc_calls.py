"""What a call of gRPC is to the edge, whichever kind of server has it: how it arrives, is refused, and has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc import StatusCode

from quotaloop.edge.arrival import Arrival
from quotaloop.edge.edge import Edge
from quotaloop.edge.exchange import Exchange
from quotaloop.edge.ratelimit_fields import seconds
from quotaloop.edge.refusal import Refused

_REFUSED = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    503: StatusCode.UNAVAILABLE,
}
_AS_HTTP = {  # as google.rpc.Code maps them
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ABORTED: 409,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}


def arrival_of(details: Any) -> Arrival:
    """A call before its first message; the method, ``/package.Service/Name``, is the path."""
    pairs = [(name.encode(), _bytes(value)) for name, value in details.invocation_metadata or ()]
    return Arrival(protocol="grpc", method="POST", path=details.method, raw_headers=pairs)


def behaviour_of(handler: Any) -> Callable[..., Any]:
    """The function behind a method of whichever kind."""
    found: Callable[..., Any] = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    return found


class Messages:
    """What a call is sent and answers; ``are_broken`` once one of them could not be read or written."""

    def __init__(self) -> None:
        self.are_broken = False

    def watched(self, convert: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
        """The same conversion, whose failures show."""
        if convert is None:
            return None

        def watched(message: Any) -> Any:
            try:
                return convert(message)
            except Exception:
                self.are_broken = True
                raise

        return watched


def with_behaviour(handler: Any, behaviour: Callable[..., Any], messages: Messages) -> Any:
    """A method of the same kind, with another function behind it, and its messages watched."""
    kind = ("stream" if handler.request_streaming else "unary") + (
        "_stream" if handler.response_streaming else "_unary"
    )
    make: Callable[..., Any] = getattr(grpc, f"{kind}_rpc_method_handler")
    reads, writes = messages.watched(handler.request_deserializer), messages.watched(handler.response_serializer)
    return make(behaviour, reads, writes)


def initial_metadata(edge: Edge, exchange: Exchange) -> list[tuple[str, str]]:
    """What every answer says."""
    return [(name.decode(), value.decode()) for name, value in edge.fields(exchange)]


def refusal_of(refused: Refused, exchange: Exchange) -> tuple[StatusCode, str, tuple[tuple[str, str], ...]]:
    """The status of a refusal, its details, and its trailing metadata."""
    trailing = [("x-request-id", exchange.event_id), ("problem", refused.body().decode())]
    if refused.retry_after_ms:
        trailing.append(("retry-delay", f"{seconds(refused.retry_after_ms)}s"))
    code = _REFUSED.get(refused.status, StatusCode.FAILED_PRECONDITION)
    return code, str(refused.problem.get("detail") or refused.problem["title"]), tuple(trailing)


def no_method(path: str) -> tuple[StatusCode, str]:
    """The status of a call of a method that the server has not, and its details."""
    return StatusCode.UNIMPLEMENTED, f"there is no method {path}"


def when_cut(edge: Edge, messages: Messages) -> tuple[int, str]:
    """Status and outcome of a call that did not come to its end: the client left, unless something else is known."""
    if messages.are_broken:
        return 500, "error"
    return (503, "error") if edge.is_stopping else (499, "cancelled")


def when_raised(context: Any) -> tuple[int, str]:
    """Status and outcome of a call whose handler raised, as it does by ``abort``, too."""
    return _AS_HTTP.get(_code(context), 500), "error"


def when_done(context: Any, exchange: Exchange) -> tuple[int, str]:
    """Status and outcome of a call whose handler came to its end."""
    code = _code(context)
    if exchange.has_failed or code not in (None, StatusCode.OK):
        return _AS_HTTP.get(code, 500), "error"
    return 200, "ok"


def size_of(message: Any) -> int:
    """Bytes of a message, 0 where it cannot say."""
    size = getattr(message, "ByteSize", None)
    return int(size()) if callable(size) else len(message) if isinstance(message, bytes | bytearray) else 0


def _code(context: Any) -> Any:
    """The status that a handler has set, None where it has not."""
    code = context.code()
    return None if code in (None, 0) else code


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
