"""The connections that HTTP's clients keep open, over HTTP/1.1 or HTTP/2, and how their answers are read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

from examples.gateway.clients.answer import Answer
from examples.gateway.clients.seen import Seen

# A connection is given up by this side before the server's five seconds end, so that no request meets its closing.
_KEPT_S = 2.0


class Connection:
    """To one gateway with one key; cleartext HTTP/2 is spoken with prior knowledge. As a context it is closed."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        http2: bool = False,
        timeout_s: float = 60,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url, self.key, self._http2, self._timeout_s = url, key, http2, timeout_s
        self.client = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {key}"},
            http1=not http2,
            http2=http2,
            timeout=httpx.Timeout(timeout_s, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEPT_S),
            transport=transport,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what is open; what is under way ends."""
        await self.client.aclose()

    async def ask(self, method: str, path: str, note: Callable[[Seen, dict[str, Any]], None], **sent: Any) -> Answer:
        """One request whose answer is a document, of which ``note`` takes down what it says."""
        seen = Seen()
        try:
            response = await self.client.request(method, path, **sent)
        except httpx.HTTPError as error:
            return broken(seen, error)
        if response.status_code >= 400:
            return failed(seen, response)
        document = _document(seen, response)
        if document is None:
            return seen.answer("error", response.status_code, reason="no JSON object")
        note(seen, document)
        return seen.answer("ok", response.status_code, document=document)

    @asynccontextmanager
    async def to_leave(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client whose stream can be left: for HTTP/2 one of its own, as httpcore sends no RST_STREAM."""
        if not self._http2:
            yield self.client
            return
        async with Connection(self.url, self.key, http2=True, timeout_s=self._timeout_s) as alone:
            yield alone.client


def failed(seen: Seen, response: httpx.Response) -> Answer:
    """What a status from 400, whose body has been read, means."""
    problem = _document(seen, response)
    return seen.answer(
        "refused" if response.status_code == 429 else "error",
        response.status_code,
        problem=problem,
        retry_after_s=_seconds(response.headers.get("retry-after")),
        reason=None if problem else f"status {response.status_code} without a problem",
    )


def broken(seen: Seen, error: httpx.HTTPError) -> Answer:
    """What a connection that failed means."""
    is_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)
    return seen.answer("error", None, reason=type(error).__name__, is_sent=is_sent)


def _document(seen: Seen, response: httpx.Response) -> dict[str, Any] | None:
    seen.event_id = response.headers.get("x-request-id")
    try:
        document = json.loads(response.content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _seconds(text: str | None) -> float | None:
    """``Retry-After`` as a number; its form as a date is not used by the gateway."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
