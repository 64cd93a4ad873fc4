"""Every protocol against the real gateway: one attempt is one event, with the outcome and the tokens its client saw."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from examples.gateway.clients import upload
from examples.gateway.clients.answer import Answer
from examples.gateway.clients.connection import Connection
from examples.gateway.clients.prompt import Prompt, Version
from examples.gateway.clients.rtc import Peer
from tests.examples.gateway.in_process import ASKED
from tests.examples.gateway.running_gateway import PATIENCE_S, Gateway
from tests.examples.gateway.speaking import ALL, IN_EVENTS, STREAMED, WHOLE, converse

pytestmark = pytest.mark.slow

SHORT = Prompt("What is a class?", 12, 7)  # five tokens
LONG = Prompt("What is a class?", 1_000, 7)  # ten seconds at 10 ms a token
FRAGILE = Prompt("What is a class?", 12, 7, "fragile")


def only_event(gateway: Gateway, protocol: str, tenant: str) -> dict[str, Any]:
    """The one event of a tenant's one attempt, beside that of its signalling."""
    offers = int(protocol == "webrtc")
    found = gateway.events_of(tenant, 1 + offers)
    signalling = [event for event in found if event.get("operation") == "signal"]
    assert [(event["protocol"], event["outcome"]) for event in signalling] == [("http", "ok")] * offers
    (event,) = (event for event in found if event.get("operation") != "signal")
    assert event["protocol"] == IN_EVENTS.get(protocol, protocol)
    assert event.get("ttft_ms", 0) <= event["duration_ms"]
    return event


def uploaded(gateway: Gateway, tenant: str, content: bytes, version: Version = Version("v2")) -> Answer:  # noqa: B008
    async def story() -> Answer:
        async with Connection(gateway.url, gateway.keys[tenant]) as connection:
            return await upload.classify(connection, content, version)

    return asyncio.run(story())


@pytest.mark.parametrize("protocol", ALL)
def test_an_answer_is_one_event_with_the_tokens_that_its_client_got(gateway: Gateway, protocol: str) -> None:
    tenant = f"{protocol}-success"
    answer = asyncio.run(converse(gateway, protocol, tenant, SHORT))
    assert (answer.outcome, answer.tokens, answer.input_tokens) == ("ok", 12, 5)
    event = only_event(gateway, protocol, tenant)
    assert (event["outcome"], event["status"], event["output_tokens"], event["input_tokens"]) == ("ok", 200, 12, 5)
    assert (event["model"], event["operation"]) == ("markov", "chat")
    assert event["event_id"] == (answer.event_id or event["event_id"])
    assert event["gpu_ms"] > 0
    assert ("ttft_ms" in event) is (protocol in STREAMED)


def test_the_same_prompt_and_seed_get_the_same_text_by_every_protocol(gateway: Gateway) -> None:
    answers = [asyncio.run(converse(gateway, protocol, f"{protocol}-success", SHORT)) for protocol in ALL]
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].text.startswith("It selects")


@pytest.mark.parametrize("version", [Version("v1"), Version("v2"), Version("v2", in_header=True)])
def test_an_upload_is_one_event(gateway: Gateway, version: Version) -> None:
    before = len(gateway.events_of("multipart-success", 0))
    content, digit = upload.picture(3)
    answer = uploaded(gateway, "multipart-success", content, version)
    assert (answer.outcome, answer.text) == ("ok", str(digit))
    *_, event = gateway.events_of("multipart-success", before + 1)
    assert (event["outcome"], event["status"], event["event_id"]) == ("ok", 200, answer.event_id)
    assert (event["route"], event["api_version"]) == (f"/api/{version.name}/image_classify", version.name)
    assert (event["operation"], event["model"]) == ("image_classify", "digits")
    assert event["bytes_in"] > len(content)


@pytest.mark.parametrize("protocol", ALL)
def test_a_refusal_is_one_event_that_names_the_limit(tight_gateway: Gateway, protocol: str) -> None:
    """One request a minute: the second one is refused, which for WebRTC is the exchange after the signalling."""
    first = [] if protocol == "webrtc" else [asyncio.run(converse(tight_gateway, protocol, protocol, SHORT))]
    assert all(answer.outcome == "ok" for answer in first)
    answer = asyncio.run(converse(tight_gateway, protocol, protocol, SHORT))
    assert (answer.outcome, answer.status, answer.tokens) == ("refused", 429, 0)
    assert 0 < (answer.retry_after_s or 0) <= 60
    assert (answer.problem or {})["limits"][0]["kind"] == "requests"
    let_in, event = tight_gateway.events_of(protocol, 2)
    assert let_in["outcome"] == "ok"
    assert (event["outcome"], event["status"], event["denied_by"]) == ("denied", 429, "requests")
    assert event["wanted_tokens"] == 5 + 12
    assert event.get("output_tokens", 0) == 0
    assert "ttft_ms" not in event
    # A stream that never began is an HTTP answer.
    assert event["protocol"] in {IN_EVENTS.get(protocol, protocol), "http" if "sse" in protocol else ""}


def test_a_refused_upload_is_one_event(tight_gateway: Gateway) -> None:
    content, _ = upload.picture(3)
    assert uploaded(tight_gateway, "multipart", content).outcome == "ok"
    answer = uploaded(tight_gateway, "multipart", content)
    assert (answer.outcome, answer.status) == ("refused", 429)
    _, event = tight_gateway.events_of("multipart", 2)
    assert (event["outcome"], event["denied_by"], event["event_id"]) == ("denied", "requests", answer.event_id)


@pytest.mark.parametrize("protocol", ALL)
def test_a_client_that_leaves_in_the_middle_has_cancelled_and_is_charged_what_it_saw(
    gateway: Gateway, protocol: str
) -> None:
    tenant = f"{protocol}-leaves"
    answer = asyncio.run(converse(gateway, protocol, tenant, LONG, leave_after=3))
    assert answer.outcome == "cancelled"
    event = only_event(gateway, protocol, tenant)
    assert event["outcome"] == "cancelled"
    assert event["input_tokens"] == 5
    assert answer.tokens <= event.get("output_tokens", 0) < 1_000
    if protocol in STREAMED:
        assert answer.tokens == 3
        assert "ttft_ms" in event


def test_a_client_that_leaves_in_the_middle_of_its_upload_has_cancelled(gateway: Gateway) -> None:
    tenant, address = "multipart-leaves", urlsplit(gateway.url)
    head = (
        "POST /api/v2/image_classify HTTP/1.1\r\nHost: gateway\r\n"
        f"Authorization: Bearer {gateway.keys[tenant]}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    )
    with socket.create_connection((address.hostname, address.port)) as upload_of:
        upload_of.sendall(head.encode())
    (event,) = gateway.events_of(tenant, 1)
    assert (event["outcome"], event["route"]) == ("cancelled", "/api/v2/image_classify")


@pytest.mark.parametrize("protocol", ALL)
def test_a_model_that_fails_in_the_middle_is_an_error_with_the_tokens_before_it(
    gateway: Gateway, protocol: str
) -> None:
    tenant = f"{protocol}-fragile"
    answer = asyncio.run(converse(gateway, protocol, tenant, FRAGILE))
    assert answer.outcome == "error"
    event = only_event(gateway, protocol, tenant)
    assert (event["outcome"], event["model"], event["input_tokens"]) == ("error", "fragile", 5)
    if protocol in STREAMED:
        assert (answer.tokens, event["output_tokens"]) == (3, 3)
        assert "ttft_ms" in event
    else:
        assert event["status"] == answer.status == 500


def test_a_peer_of_webrtc_that_sends_more_than_may_wait_is_cut_off_and_nothing_else_is(gateway: Gateway) -> None:
    tenant = "webrtc-floods"

    async def flood() -> None:
        peer = await Peer.open(gateway.url, gateway.keys[tenant], lambda _: None)
        try:
            for number in range(200):
                await peer._send(json.dumps({"type": "message", "id": str(number), **ASKED, "max_tokens": 1_000}))
            while peer.is_open:
                await asyncio.wait_for(peer._received.get(), PATIENCE_S)
        finally:
            await peer.close()

    asyncio.run(flood())
    answer = asyncio.run(converse(gateway, "webrtc", tenant, SHORT))
    assert answer.outcome == "ok"
    events = gateway.events_of(tenant, 3)
    assert [event["outcome"] for event in events if event.get("operation") == "signal"] == ["ok", "ok"]
    *cut, last = (event for event in events if event.get("operation") != "signal")
    assert (last["outcome"], last["output_tokens"]) == ("ok", 12)
    assert len(cut) <= 1  # of 200, one could be under way
    assert all(event["outcome"] != "ok" for event in cut)


def test_an_upload_that_is_no_picture_is_an_error(gateway: Gateway) -> None:
    answer = uploaded(gateway, "multipart-fragile", b"\x89PNG, but no picture")
    assert (answer.outcome, answer.status) == ("error", 422)
    (event,) = gateway.events_of("multipart-fragile", 1)
    assert (event["outcome"], event["status"], event["event_id"]) == ("error", 422, answer.event_id)


async def _ended_meanwhile(gateway: Gateway, prompt: Prompt) -> dict[str, Answer]:
    """Ask by every protocol, and end the gateway when all are under way: later and shorter ones have been answered."""
    asked = {name: asyncio.create_task(converse(gateway, name, name, prompt)) for name in ALL}
    await asyncio.gather(*(converse(gateway, name, f"{name}-later", SHORT) for name in ALL))
    assert not any(task.done() for task in asked.values())
    gateway.terminate()
    return dict(zip(asked, await asyncio.gather(*asked.values()), strict=True))


def _tenants() -> list[str]:
    return [*ALL, *(f"{name}-later" for name in ALL)]


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[Gateway, dict[str, Answer]]:
    """A gateway that was ended, with little patience, while every protocol had an answer under way; and these."""
    return _stopped(Gateway(tmp_path_factory.mktemp("cut"), _tenants(), pace_ms=10, graceful_s=0.2), LONG)


@pytest.fixture(scope="module")
def drained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Gateway, dict[str, Answer]]:
    """The same with time enough for answers of a second and a half."""
    prompt = Prompt("What is a class?", 150, 7)
    return _stopped(Gateway(tmp_path_factory.mktemp("drained"), _tenants(), pace_ms=10, graceful_s=20), prompt)


def _stopped(gateway: Gateway, prompt: Prompt) -> tuple[Gateway, dict[str, Answer]]:
    try:
        gateway.start()
        answers = asyncio.run(_ended_meanwhile(gateway, prompt))
        assert gateway.stop() == 0, gateway.log
    finally:
        gateway.kill()
    return gateway, answers


def left_behind(gateway: Gateway, protocol: str) -> dict[str, Any]:
    """The one event of a protocol's long answer; the gateway has ended."""
    (event,) = (e for e in gateway.events() if e["tenant"] == protocol and e.get("operation") != "signal")
    return event


@pytest.mark.parametrize("protocol", ALL)
def test_what_the_gateways_end_cuts_off_is_an_error_and_not_the_clients_doing(
    cut: tuple[Gateway, dict[str, Answer]], protocol: str
) -> None:
    gateway, answers = cut
    answer, event = answers[protocol], left_behind(gateway, protocol)
    assert (answer.outcome, event["outcome"]) == ("error", "error")
    assert event["input_tokens"] == 5
    if protocol in STREAMED:
        assert 0 < answer.tokens == event["output_tokens"] < 1_000
        assert event["ttft_ms"] <= event["duration_ms"]


@pytest.mark.parametrize("protocol", ALL)
def test_what_ends_in_the_time_that_is_left_is_answered_whole(
    drained: tuple[Gateway, dict[str, Answer]], protocol: str
) -> None:
    gateway, answers = drained
    answer, event = answers[protocol], left_behind(gateway, protocol)
    assert (answer.outcome, event["outcome"]) == ("ok", "ok")
    assert 100 < answer.tokens == event["output_tokens"] <= 150


def test_an_ended_gateway_has_told_all_of_its_events(drained: tuple[Gateway, dict[str, Answer]]) -> None:
    """A long and a short answer a protocol, and for WebRTC two offers; numbered without a hole."""
    gateway, _ = drained
    assert [event["seq"] for event in gateway.events()] == list(range(1, 2 * len(ALL) + 2 + 1))


def test_events_before_a_kill_come_out_after_the_next_start(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, ["acme"])
    try:
        gateway.start()
        answers = [asyncio.run(converse(gateway, protocol, "acme", SHORT)) for protocol in WHOLE]
        gateway.kill()
        gateway.start()
        events = gateway.events_of("acme", len(answers))
        assert [event["event_id"] for event in events] == [answer.event_id for answer in answers]
        assert gateway.stop() == 0
    finally:
        gateway.kill()
