"""Over HTTP only those are answered who have the token, know the server's name, and come from no foreign page."""

from __future__ import annotations

import socket
import traceback
from pathlib import Path

import httpx2
import pytest

from quotaloop.cli.mcp.door import is_loopback
from tests.cli.conftest import Call
from tests.cli.mcp.conftest import ORIGIN, url
from tests.cli.mcp.served import TOKEN, connected, http_client, http_server
from tests.marts.handmade import Handmade

GREETING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}
RIGHT = {"Authorization": f"Bearer {TOKEN}"}


def greeted(place: str, headers: dict[str, str], method: str = "POST") -> httpx2.Response:
    """What the server answers to the first words of a client with these headers."""
    body = GREETING if method == "POST" else None
    return httpx2.request(method, place, json=body, headers=ACCEPT | headers, timeout=60)


def test_who_has_the_token_is_answered(place: str) -> None:
    found = greeted(place, RIGHT)
    assert found.status_code == 200
    assert '"serverInfo"' in found.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"X-Authorization": f"Bearer {TOKEN}"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_who_has_not_is_told_that_a_token_is_needed(method: str, headers: dict[str, str], place: str) -> None:
    found = greeted(place, headers, method)
    assert found.status_code == 401
    assert found.headers["WWW-Authenticate"] == 'Bearer realm="quotaloop"'
    assert "serverInfo" not in found.text


def test_no_path_is_answered_without_the_token(place: str) -> None:
    for path in ("/", "/mcp/", "/docs", "/.well-known/oauth-protected-resource"):
        assert greeted(place.replace("/mcp", path), {}).status_code == 401


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_may_be_spelled_in_any_case(scheme: str, place: str) -> None:
    assert greeted(place, {"Authorization": f"{scheme} {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"{ORIGIN}.evil.example", "http://desk.example", "null", "http://127.0.0.1:1"]
)
def test_a_foreign_page_is_refused_even_with_the_token(origin: str, place: str) -> None:
    assert greeted(place, RIGHT | {"Origin": origin}).status_code == 403


def test_a_page_that_is_allowed_may_ask(place: str) -> None:
    found = greeted(place, RIGHT | {"Origin": ORIGIN})
    assert (found.status_code, found.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert greeted(place, asks | {"Origin": ORIGIN}, "OPTIONS").status_code == 200
    assert greeted(place, asks | {"Origin": "https://evil.example"}, "OPTIONS").status_code == 403
    assert greeted(place, {"Origin": ORIGIN}).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil.example"]
)
def test_a_foreign_name_is_refused_as_after_dns_rebinding(host: str, place: str) -> None:
    assert greeted(place, RIGHT | {"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:5", "quotas.example", "QUOTAS.example:80"]
)
def test_names_of_the_server_are_its_own(host: str, place: str) -> None:
    assert greeted(place, RIGHT | {"Host": host}).status_code == 200


def test_the_official_client_is_refused_with_another_token(place: str) -> None:
    with pytest.raises(Exception) as refused, connected(http_client(place, "another-token-altogether")):  # noqa: PT011
        pass
    assert "401" in "".join(traceback.format_exception(refused.value))  # in a group of errors


def test_the_token_may_be_in_a_file_and_sigterm_is_no_failure(looked_at: Handmade, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file-0123456789\n")
    with http_server(url(looked_at), "--token-file", str(tmp_path / "token"), code=0) as found:
        assert greeted(found, RIGHT).status_code == 401  # the flag has precedence over the environment
        with connected(http_client(found, "from-a-file-0123456789")) as asked:
            assert asked.answer("usage", tenant="b")["release"] == 2


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (None, "--http needs a token"),
        ("", "--http needs a token"),
        ("short", "the token is too weak"),
        ("long enough but spaced", "the token is too weak"),
        ("genügend-lang-0123456789", "the token is too weak"),
    ],
)
def test_without_a_good_token_the_server_does_not_start(
    token: str | None, says: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    if token is not None:
        monkeypatch.setenv("QUOTALOOP_MCP_TOKEN", token)
    said = call("mcp", "--http", "--port", "0")
    assert said.code == 2
    assert said.error.startswith(says)
    assert not token or token not in said.error


def test_a_token_file_that_cannot_be_read_is_a_wrong_call(call: Call, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("none", "binary", "."):
        said = call("mcp", "--http", "--token-file", str(tmp_path / name))
        assert (said.code, "cannot be read" in said.error) == (2, True)


def test_a_port_that_is_taken_is_a_wrong_call(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUOTALOOP_MCP_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = call("mcp", "--http", "--port", str(port))
    assert said.code == 2
    assert said.error.startswith(f"cannot listen on 127.0.0.1, port {port}: ")
    assert call("mcp", "--http", "--port", "70000").code == 2


def test_to_listen_beyond_this_machine_is_warned_of(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUOTALOOP_MCP_TOKEN", TOKEN)
    said = call("mcp", "--http", "--host", "192.0.2.1", "--port", "0")  # an address that nobody has
    assert said.code == 2
    assert "warning: 192.0.2.1 is reached from other machines" in said.err
    assert "warning" not in call("mcp", "--http", "--port", "70000").err


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_told_from_other_addresses(host: str, is_one: bool) -> None:
    assert is_loopback(host) is is_one
