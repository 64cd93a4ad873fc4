"""A client of HTTP/2 that reads nothing is given up, and does not spoil the gateway's end."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived
from h2.settings import SettingCodes, Settings

from examples.gateway.slow_clients import Patience, TooSlow
from quotaloop.edge.asgi import Message, Receive, Scope, Send
from tests.examples.gateway.in_process import ASKED
from tests.examples.gateway.running_gateway import PATIENCE_S, Gateway


def test_a_client_that_was_given_up_is_not_waited_for_again() -> None:
    tried = list[str]()

    async def stuck(message: Message) -> None:
        tried.append(message["type"])
        await asyncio.Event().wait()

    async def app(_: Scope, __: Receive, send: Send) -> None:
        for kind in ("http.response.body", "http.response.end"):
            with suppress(TooSlow):
                await send({"type": kind})
        tried.append("done")

    asyncio.run(Patience(app, 0.01)({"type": "http"}, receive, stuck))
    assert tried == ["http.response.body", "done"]


async def receive() -> Message:
    """Nothing comes."""
    raise AssertionError


def asking_without_a_window(gateway: Gateway, tenant: str) -> socket.socket:
    """Ask for a stream, of which not a byte may be sent; its head has come."""
    address = urlsplit(gateway.http2)
    client = socket.create_connection((address.hostname, address.port))
    connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: 0})
    connection.initiate_connection()
    head = {":method": "POST", ":path": "/api/v2/conversation", ":authority": "gateway", ":scheme": "http"}
    fields = {"authorization": f"Bearer {gateway.keys[tenant]}", "content-type": "application/json"}
    connection.send_headers(1, list((head | fields).items()))
    connection.send_data(1, json.dumps({**ASKED, "stream": True}).encode(), end_stream=True)
    client.sendall(connection.data_to_send())
    client.settimeout(PATIENCE_S)
    while data := client.recv(65_536):
        if any(isinstance(event, ResponseReceived) for event in connection.receive_data(data)):
            return client
    raise AssertionError("the gateway has hung up")


def test_a_gateway_that_ends_does_not_wait_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, ["acme"], slow_s=PATIENCE_S * 10, graceful_s=0.2)
    try:
        gateway.start()
        with asking_without_a_window(gateway, "acme"):
            assert gateway.stop() == 0
        (event,) = (event for event in gateway.events() if event["tenant"] == "acme")
        assert event["outcome"] == "error"
        assert "Traceback" not in gateway.log
    finally:
        gateway.kill()


def test_a_client_of_http2_that_does_not_read_is_given_up(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, ["acme"], slow_s=0.3)
    try:
        gateway.start()
        with asking_without_a_window(gateway, "acme"):
            (event,) = gateway.events_of("acme", 1)
            assert event["outcome"] == "error"
            assert gateway.stop() == 0
        assert "Traceback" not in gateway.log
    finally:
        gateway.kill()
