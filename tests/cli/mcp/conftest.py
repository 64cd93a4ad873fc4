"""Servers over both transports, over one store that is only looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.mcp.served import Asked, by_stdio, connected, http_client, http_server
from tests.cli.mcp.stores import SINKS, stored
from tests.marts.handmade import Handmade

ORIGIN = "https://desk.example"


@pytest.fixture(scope="session")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Handmade:
    """The store; nobody changes it."""
    return stored(tmp_path_factory.mktemp("mcp") / "a store")


@pytest.fixture(scope="session")
def asked(looked_at: Handmade) -> Iterator[Asked]:
    """A client of a server that changes nothing, on standard input and output."""
    with by_stdio(url(looked_at), QUOTALOOP_SINKS=SINKS) as it:
        yield it


@pytest.fixture(scope="session")
def place(looked_at: Handmade) -> Iterator[str]:
    """The URL of a server that one foreign page, and one other name, are known to."""
    flags = ("--allow-origin", ORIGIN, "--allow-host", "Quotas.example")
    with http_server(url(looked_at), *flags, QUOTALOOP_SINKS=SINKS) as found:
        yield found


@pytest.fixture(scope="session", params=["stdio", "http"])
def asked_by_both(request: pytest.FixtureRequest) -> Iterator[Asked]:
    """The same client, and one over HTTP: for what a transport could change."""
    if request.param == "stdio":
        yield request.getfixturevalue("asked")
        return
    with connected(http_client(request.getfixturevalue("place"))) as it:
        yield it


@pytest.fixture
def made(looked_at: Handmade) -> Handmade:
    """What the command line is called on."""
    return looked_at


def url(made: Handmade) -> str:
    """The store as a flag."""
    return made.store.url.replace(" ", "%20")
