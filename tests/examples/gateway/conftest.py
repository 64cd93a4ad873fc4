"""The gateway that tests talk to: the real one, in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.examples.gateway.running_gateway import Gateway
from tests.examples.gateway.speaking import ALL

_CASES = ("success", "leaves", "fragile", "refused")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One that takes 10 ms a token; each protocol and case has a tenant, so that limits are its own."""
    tenants = [f"{protocol}-{case}" for protocol in (*ALL, "multipart") for case in _CASES]
    tenants.append("webrtc-floods")
    yield from _running(Gateway(tmp_path_factory.mktemp("gateway"), tenants, pace_ms=10))


@pytest.fixture(scope="module")
def tight_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One that lets each tenant, one a protocol, make a single request a minute."""
    tenants = (*ALL, "multipart")
    yield from _running(Gateway(tmp_path_factory.mktemp("tight"), tenants, safe_requests=1))


def _running(made: Gateway) -> Iterator[Gateway]:
    try:
        made.start()
        yield made
    finally:
        made.kill()
