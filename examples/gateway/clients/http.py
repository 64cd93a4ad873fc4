"""Conversations and lists of models as JSON, over HTTP/1.1 or HTTP/2."""

from __future__ import annotations

from typing import Any

from examples.gateway.clients.answer import Answer
from examples.gateway.clients.connection import Connection
from examples.gateway.clients.prompt import V2, Prompt, Version
from examples.gateway.clients.seen import Seen


async def converse(
    connection: Connection, prompt: Prompt, version: Version = V2, *, retry_of: str | None = None
) -> Answer:
    """The whole message at once; ``retry_of`` is the event of the first attempt that this one repeats."""
    body = {**prompt.body(), "stream": False}
    path = version.path("conversation")
    headers = version.headers | ({"x-retry-of": retry_of} if retry_of else {})
    return await connection.ask("POST", path, _message, json=body, headers=headers)


async def models(connection: Connection, version: Version = V2) -> Answer:
    """The models there are; ``text`` holds their ids, one a line."""
    return await connection.ask("GET", version.path("models"), _models, headers=version.headers)


def _message(seen: Seen, document: dict[str, Any]) -> None:
    seen.whole(document["message"]["content"], document["usage"])


def _models(seen: Seen, document: dict[str, Any]) -> None:
    seen.whole("\n".join(model["id"] for model in document["models"]), {})
