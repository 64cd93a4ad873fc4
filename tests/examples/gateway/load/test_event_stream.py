"""Server-sent events are read as the HTML standard says, wherever the network cuts them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from examples.gateway.clients.event_stream import Event, events

STREAM = (
    b'event: start\ndata: {"id": 1}\n\n'
    b": heartbeat\n\n"
    b'id: 2a.1\r\nevent: token\r\ndata: {"text": "caf\xc3\xa9 \xe2\x80\xa8"}\r\n\r\n'
    b"data:one\rdata: two\r\r"
    b"event: done\ndata\n\n"
    b'event: token\ndata: {"text": "cut off"}\n'
)
EVENTS = [
    Event("start", '{"id": 1}', None),
    Event("token", '{"text": "café \u2028"}', "2a.1"),
    Event("message", "one\ntwo", "2a.1"),
    Event("done", "", "2a.1"),
]


def read(chunks: list[bytes]) -> list[Event]:
    async def arriving() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def collected() -> list[Event]:
        return [event async for event in events(arriving())]

    return asyncio.run(collected())


def test_events_are_read_with_comments_left_out_and_the_last_id_kept() -> None:
    assert read([STREAM]) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_it_does_not_matter_how_the_stream_is_cut(size: int) -> None:
    assert read([STREAM[place : place + size] for place in range(0, len(STREAM), size)]) == EVENTS


def test_nothing_holds_no_event() -> None:
    assert read([]) == read([b""]) == read([b"\n\n\n"]) == []
