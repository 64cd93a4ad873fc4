"""The messages of an exchange over a WebSocket or a data channel: JSON texts, one exchange at a time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from examples.gateway.clients.answer import Answer
from examples.gateway.clients.prompt import Prompt
from examples.gateway.clients.seen import Seen


class Gone(ConnectionError):
    """The other side is not there any more; its words say how it left."""


async def exchange(
    prompt: Prompt,
    name: str,
    send: Callable[[str], Awaitable[None]],
    receive: Callable[[], Awaitable[str]],
    leave_after: int | None,
) -> Answer:
    """One message and what comes of it under its ``name``; ``send`` and ``receive`` raise ``Gone``."""
    seen = Seen()
    try:
        await send(json.dumps({"type": "message", "id": name, **prompt.body()}))
    except Gone as gone:
        return seen.answer("error", None, reason=str(gone), is_sent=False)
    try:
        while True:
            frame = json.loads(await receive())
            answer = _taken(seen, frame) if frame.get("id") == name else None
            if answer is not None:
                return answer
            if seen.tokens == leave_after:
                return seen.answer("cancelled", None)
    except Gone as gone:
        return seen.answer("error", None, reason=str(gone))


def _taken(seen: Seen, frame: dict[str, Any]) -> Answer | None:
    """What a frame adds; the answer, if it is the last one."""
    kind, problem = frame["type"], frame.get("problem")
    if kind == "start":
        seen.start(frame["input_tokens"])
    elif kind == "token":
        seen.token(frame["text"])
    elif kind == "done":
        return seen.answer("ok", 200, document=frame)
    elif kind in ("refused", "error"):
        status = problem.get("status") if problem else None
        is_limit = kind == "refused" and status in (429, None)
        return seen.answer(
            "refused" if is_limit else "error", status, problem=problem, retry_after_s=_wait_s(problem or {})
        )
    return None


def _wait_s(problem: dict[str, Any]) -> float | None:
    """Until all limits that said no will say yes."""
    waits = [limit["retry_after_s"] for limit in problem.get("limits", ()) if limit.get("retry_after_s") is not None]
    return max(waits, default=None)
