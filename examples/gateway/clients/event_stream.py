"""Server-sent events out of bytes, as the HTML standard reads them (section 9.2.6, "Interpreting an event stream")."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple


class Event(NamedTuple):
    """One event; ``last_id`` is of this event or of the last one before it that had one."""

    kind: str
    data: str
    last_id: str | None


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    """Events as they come; comments are read over, an event that is not ended by an empty line is dropped."""
    kind, data, last_id = "", list[str](), None
    async for line in _lines(chunks):
        if not line:
            if data:
                yield Event(kind or "message", "\n".join(data), last_id)
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            last_id = value


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Lines that are ended by LF, CR or both; a CR at the end of a chunk waits for the LF that may follow."""
    rest = b""
    async for chunk in chunks:
        whole = (rest + chunk).splitlines(keepends=True)
        rest = whole.pop() if whole and not whole[-1].endswith(b"\n") else b""
        for line in whole:
            yield line.rstrip(b"\r\n").decode()
