"""A conversation by messages: one answer at a time, closed by the code that says why, slow peers given up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from examples.gateway.outbox import Outbox
from examples.gateway.talk import Talk
from examples.gateway.talk_ended import Ended
from quotaloop.edge import Arrival, Session
from tests.examples.gateway.in_process import ASKED, AUTHORIZED, InProcess

PATIENCE_S = 20.0


class FakePeer:
    """A peer in the process: ``said`` is what it sends next, ``got`` what it was sent; it may stop reading."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.got: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self._arrived = asyncio.Condition()

    async def receive(self) -> str | bytes:
        if (message := await self.said.get()) is None:
            raise Ended(None)
        return message

    async def send(self, text: str) -> None:
        await self.reads.wait()
        self.got.append(json.loads(text))
        async with self._arrived:
            self._arrived.notify_all()

    def say(self, kind: str = "message", **fields: Any) -> None:
        self.said.put_nowait(json.dumps({"type": kind, **(ASKED if kind == "message" else {}), **fields}))

    async def has(self, *kinds: str) -> None:
        """Wait until it has got a message of each of these types."""
        async with self._arrived:
            found = self._arrived.wait_for(lambda: set(kinds) <= {message["type"] for message in self.got})
            await asyncio.wait_for(found, PATIENCE_S)

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.got]


@asynccontextmanager
async def talking(gateway: InProcess) -> AsyncIterator[tuple[FakePeer, Session, asyncio.Task[Ended]]]:
    """A peer that talks to a gateway, and how the talk will have ended."""
    raw = [(name.encode(), value.encode()) for name, value in AUTHORIZED.items()]
    arrival = Arrival(protocol="websocket", method="GET", path="/api/v2/conversation/ws", raw_headers=raw)
    opened = gateway.parts.edge.arrive(arrival)
    gateway.parts.edge.resolve(opened, gateway.parts.edge.match(arrival.path))
    session, peer = Session(gateway.parts.edge, opened, protocol="websocket"), FakePeer()
    talk = asyncio.create_task(Talk(peer, session, gateway.parts).run())
    try:
        yield peer, session, talk
    finally:
        talk.cancel()
        await asyncio.gather(talk, return_exceptions=True)


def tell(
    gateway: InProcess, story: Callable[[FakePeer, Session, asyncio.Task[Ended]], Awaitable[Any]]
) -> tuple[FakePeer, Any]:
    """Tell a story of a peer; the peer as it is then, and what the story says."""

    async def told() -> tuple[FakePeer, Any]:
        async with talking(gateway) as (peer, session, talk):
            found = await asyncio.wait_for(story(peer, session, talk), PATIENCE_S)
            return peer, found

    return asyncio.run(told())


def ended_by(gateway: InProcess, *messages: str | bytes) -> Ended:
    """How a talk ends in which a peer sends this."""

    async def story(peer: FakePeer, _: Session, talk: asyncio.Task[Ended]) -> Ended:
        for message in messages:
            peer.said.put_nowait(message)
        return await talk

    return tell(gateway, story)[1]  # type: ignore[no-any-return]


def test_a_message_is_answered_token_by_token_under_its_id() -> None:
    gateway = InProcess()

    async def story(peer: FakePeer, *_: Any) -> None:
        peer.say(id="a")
        await peer.has("done")

    peer, _ = tell(gateway, story)
    assert peer.kinds() == ["start", *["token"] * 12, "done"]
    assert {message["id"] for message in peer.got} == {"a"}
    text = "".join(message["text"] for message in peer.got[1:-1])
    assert text == InProcess().converse().json()["message"]["content"]
    assert peer.got[-1]["usage"] == {"input_tokens": 5, "output_tokens": 12, "total_tokens": 17}
    event = gateway.event
    assert (event["outcome"], event["output_tokens"], event["operation"]) == ("ok", 12, "chat")
    assert (event["tenant"], event["api_version"], event["protocol"]) == ("acme", "v2", "websocket")


def test_messages_are_answered_one_after_another_and_pings_meanwhile() -> None:
    async def story(peer: FakePeer, *_: Any) -> None:
        peer.say(id="a")
        peer.say(id="b")
        await peer.has("start")
        peer.say("ping", id="p")
        await peer.has("pong")
        while peer.kinds().count("done") < 2:
            await asyncio.sleep(0.01)

    gateway = InProcess(pace_ms=5)
    peer, _ = tell(gateway, story)
    assert peer.kinds().index("pong") < peer.kinds().index("done")
    ids = [message["id"] for message in peer.got if message["type"] != "pong"]
    assert ids == ["a"] * 14 + ["b"] * 14
    assert len(gateway.written.events) == 2


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{}", 1003),
        ("no json", 1007),
        ("[" * 50_000, 1007),
        ("[]", 1007),
        ("null", 1007),
        ('{"type": "other"}', 1007),
        ('{"type": "ping", "id": {}}', 1007),
        (json.dumps({"type": "ping", "id": "x" * 129}), 1007),
        ('"' + "x" * 65_536 + '"', 1009),
        ('"' + "é" * 32_768 + '"', 1009),
    ],
)
def test_what_is_no_message_ends_the_talk(message: str | bytes, code: int) -> None:
    assert ended_by(InProcess(), message).code == code


def test_more_messages_than_may_wait_end_the_talk() -> None:
    """One is answered, eight wait, the tenth is too many."""
    message = json.dumps({"type": "message", "id": "a", **ASKED})
    assert ended_by(InProcess(pace_ms=10_000), *[message] * 20).code == 1008


@pytest.mark.parametrize(
    ("changed", "status"),
    [({"max_tokens": 0}, 422), ({"extra": 1}, 422), ({"model": "gpt"}, 404), ({"model": "fragile"}, 500)],
)
def test_what_cannot_be_answered_is_told_and_the_talk_goes_on(changed: dict[str, Any], status: int) -> None:
    async def story(peer: FakePeer, *_: Any) -> None:
        peer.say(id="a", **changed)
        await peer.has("error")
        peer.say(id="b")
        await peer.has("done")

    gateway = InProcess()
    peer, _ = tell(gateway, story)
    (error,) = (message for message in peer.got if message["type"] == "error")
    assert (error["id"], error["problem"]["status"]) == ("a", status)
    assert [event["outcome"] for event in gateway.written.events] == ["error", "ok"]


def test_over_a_limit_a_message_is_refused_and_the_talk_goes_on() -> None:
    async def story(peer: FakePeer, *_: Any) -> None:
        peer.say(id="a")
        peer.say(id="b")
        await peer.has("done", "refused")
        peer.say("ping")
        await peer.has("pong")

    gateway = InProcess(safe_requests=1)
    peer, _ = tell(gateway, story)
    (refused,) = (message for message in peer.got if message["type"] == "refused")
    assert (refused["id"], refused["problem"]["status"]) == ("b", 429)
    assert [event["outcome"] for event in gateway.written.events] == ["ok", "denied"]


def test_a_peer_that_leaves_has_cancelled_and_is_charged_what_it_was_sent() -> None:
    async def story(peer: FakePeer, session: Session, talk: asyncio.Task[Ended]) -> int:
        peer.say(id="a", max_tokens=1_000)
        await peer.has("token")
        session.client_gone()
        peer.said.put_nowait(None)
        assert (await talk).code is None
        return peer.kinds().count("token")

    gateway = InProcess(pace_ms=20)
    _, got = tell(gateway, story)
    assert (gateway.event["outcome"], gateway.event["output_tokens"]) == ("cancelled", got)


def test_a_peer_that_does_not_read_is_given_up_and_not_charged_what_waits() -> None:
    """It reads until the first token, then nothing: what waits for it is bounded, and after a while it is too slow."""

    async def story(peer: FakePeer, _: Session, talk: asyncio.Task[Ended]) -> tuple[Ended, int]:
        peer.say(id="a", max_tokens=1_000)
        await peer.has("token")
        peer.reads.clear()
        got = peer.kinds().count("token")
        ended = await talk
        return ended, got

    gateway = InProcess(slow_s=0.05, pace_ms=1)
    peer, (ended, got) = tell(gateway, story)
    assert ended.code == 1013
    assert peer.kinds().count("token") == got == gateway.event["output_tokens"]
    assert gateway.event["outcome"] == "error"


def test_a_gateway_that_ends_lets_answers_end_and_closes() -> None:
    async def story(peer: FakePeer, _: Session, talk: asyncio.Task[Ended]) -> Ended:
        peer.say(id="a")
        await peer.has("start")
        assert await gateway.parts.lifecycle.drain(PATIENCE_S)
        return await talk

    gateway = InProcess(pace_ms=5)
    peer, ended = tell(gateway, story)
    assert ended.code == 1001
    assert peer.kinds()[-1] == "done"
    assert gateway.event["outcome"] == "ok"


def test_a_gateway_that_cannot_wait_says_so() -> None:
    async def story(peer: FakePeer, _: Session, talk: asyncio.Task[Ended]) -> Ended:
        peer.say(id="a", max_tokens=1_000)
        peer.say(id="b", max_tokens=1_000)
        await peer.has("token")
        assert not await gateway.parts.lifecycle.drain(0)
        gateway.parts.edge.stopping()
        await gateway.parts.lifecycle.cut()
        return await talk

    gateway = InProcess(pace_ms=20)
    peer, ended = tell(gateway, story)
    assert ended.code == 1001
    assert (peer.got[-1]["type"], peer.got[-1]["problem"]["status"]) == ("error", 503)
    assert gateway.event["outcome"] == "error"


def test_a_slow_peer_that_still_reads_is_waited_for() -> None:
    """Each message takes it longer than nothing at all may take: as long as one goes out, it is no end."""
    sent: list[str] = []

    async def slowly(text: str) -> None:
        await asyncio.sleep(0.03)
        sent.append(text)

    async def story() -> None:
        outbox = Outbox(slowly, slow_s=0.1)
        running = asyncio.create_task(outbox.run())
        for number in range(70):
            await outbox.put({"number": number})
        await outbox.flush()
        running.cancel()

    asyncio.run(story())
    assert [json.loads(text)["number"] for text in sent] == list(range(70))
