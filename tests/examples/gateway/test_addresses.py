"""A gateway that listens at an address of IPv6 is reached there by every server it has."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from examples.gateway.clients.prompt import Prompt
from tests.examples.gateway.running_gateway import Gateway
from tests.examples.gateway.speaking import converse


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no loopback of IPv6")
def test_every_server_of_a_gateway_listens_at_an_address_of_ipv6(tmp_path: Path) -> None:
    protocols = ("http", "h2", "websocket", "grpc")
    gateway = Gateway(tmp_path, protocols, host="::1")
    try:
        gateway.start()
        assert gateway.url.startswith("http://[::1]:")
        for protocol in protocols:
            answer = asyncio.run(converse(gateway, protocol, protocol, Prompt("What is a class?", 3, 7)))
            assert answer.outcome == "ok", (protocol, answer)
    finally:
        gateway.kill()
