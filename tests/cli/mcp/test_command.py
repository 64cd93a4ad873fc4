"""The command: what it writes, what it needs, and clients of the protocol before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import Call
from tests.cli.mcp.conftest import url
from tests.cli.mcp.served import connected, http_client
from tests.cli.mcp.test_http import GREETING
from tests.marts.handmade import Handmade


def test_nothing_but_the_protocol_is_on_standard_output(looked_at: Handmade) -> None:
    calls = [
        GREETING,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "sql", "arguments": {"query": "SELECT 1"}},
        },
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "none", "arguments": {}}},
    ]
    command = [sys.executable, "-m", "quotaloop", "--json", "--store", url(looked_at), "mcp"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for document in calls:
            server.stdin.write(json.dumps(document) + "\n")
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in range(3)]
        rest, _ = server.communicate()  # closes what it reads: the end
    assert {answer["id"] for answer in answers} == {1, 2, 3}
    assert {answer["jsonrpc"] for answer in answers} == {"2.0"}
    assert (rest, server.returncode) == ("", 0)


def test_a_client_of_the_protocol_before_is_served(place: str) -> None:
    with connected(http_client(place, mode="legacy")) as asked:
        assert asked.client.protocol_version < "2026"
        assert asked.answer("usage", tenant="b")["rows"][0][:2] == ["b", 12]
        assert asked.resource("quotaloop://release/current")["number"] == 2


@pytest.mark.parametrize("flag", ["--host", "--port", "--token-file", "--allow-origin", "--allow-host"])
def test_flags_of_http_without_it_are_a_wrong_call(flag: str, call: Call) -> None:
    said = call("mcp", flag, "0")
    assert (said.code, said.error.endswith("go with --http")) == (2, True)


@pytest.mark.parametrize("package", ["uvicorn", "mcp.server"])
def test_packages_that_are_not_installed_are_named_with_what_brings_them(
    package: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("quotaloop.cli.mcp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    said = call("mcp")
    assert (said.code, said.error) == (2, f"mcp needs {package}, which is not installed: pip install quotaloop[mcp]")


def test_other_commands_load_nothing_of_it() -> None:
    statement = "import sys, quotaloop.cli.entry; print([name for name in sys.modules if name.split('.')[0] in NAMES])"
    names = "NAMES = ('mcp', 'pydantic', 'starlette', 'uvicorn', 'anyio')"
    said = subprocess.run([sys.executable, "-c", f"{names}; {statement}"], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
