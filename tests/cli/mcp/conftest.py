"""Servers over both transports, over one store that is only looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.mcp.served import Asked, by_http, by_stdio
from tests.cli.mcp.stores import SINKS, stored
from tests.marts.handmade import Handmade


@pytest.fixture(scope="session")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Handmade:
    """The store; nobody changes it."""
    return stored(tmp_path_factory.mktemp("mcp") / "a store")


@pytest.fixture(scope="session", params=["stdio", "http"])
def asked(request: pytest.FixtureRequest, looked_at: Handmade) -> Iterator[Asked]:
    """A client of a server that changes nothing."""
    start = by_stdio if request.param == "stdio" else by_http
    with start(url(looked_at), QUOTALOOP_SINKS=SINKS) as it:
        yield it


@pytest.fixture
def made(looked_at: Handmade) -> Handmade:
    """What the command line is called on."""
    return looked_at


def url(made: Handmade) -> str:
    """The store as a flag."""
    return made.store.url.replace(" ", "%20")
