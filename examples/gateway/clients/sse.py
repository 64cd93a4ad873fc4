"""Conversations as server-sent events, over HTTP/1.1 or HTTP/2; they can be left, and taken up again."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack

import httpx

from examples.gateway.clients.answer import Answer
from examples.gateway.clients.connection import Connection, broken, failed
from examples.gateway.clients.event_stream import events
from examples.gateway.clients.prompt import V2, Prompt, Version
from examples.gateway.clients.seen import Seen


async def converse(
    connection: Connection,
    prompt: Prompt,
    version: Version = V2,
    *,
    leave_after: int | None = None,
    last_event_id: str | None = None,
) -> Answer:
    """Token by token; the connection is dropped after ``leave_after`` of them.

    With ``last_event_id`` of an answer to the same prompt and seed the server goes on behind that token.
    """
    headers = {**version.headers, "accept": "text/event-stream"}
    if last_event_id is not None:
        headers["last-event-id"] = last_event_id
    seen = Seen()
    try:
        async with AsyncExitStack() as stack:
            client = connection.client
            if leave_after is not None:
                client = await stack.enter_async_context(connection.to_leave())
            body = {**prompt.body(), "stream": True}
            asked = client.stream("POST", version.path("conversation"), json=body, headers=headers)
            return await _read(seen, await stack.enter_async_context(asked), leave_after)
    except httpx.HTTPError as error:
        return broken(seen, error)


async def _read(seen: Seen, response: httpx.Response, leave_after: int | None) -> Answer:
    status = response.status_code
    if status >= 400:
        await response.aread()
        return failed(seen, response)
    seen.event_id = response.headers.get("x-request-id")
    async for event in events(response.aiter_bytes()):
        data = json.loads(event.data)
        if event.kind == "start":
            seen.start(data["input_tokens"])
        elif event.kind == "token":
            seen.token(data["text"])
            seen.last_event_id = event.last_id
            if seen.tokens == leave_after:
                return seen.answer("cancelled", status)
        elif event.kind == "done":
            return seen.answer("ok", status, document=data)
        elif event.kind == "error":
            return seen.answer("error", status, problem=data)
    return seen.answer("error", status, reason="the stream ended early")
