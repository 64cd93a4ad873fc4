"""Servers as a client starts them, and the official client, called without ``await``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import httpx2
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

TOKEN = "a-token-of-this-test-alone"


class Asked:
    """A connected client."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal = portal
        self.client = client

    def tool(self, name: str, **arguments: Any) -> CallToolResult:
        """What a tool answers."""
        found = self._portal.call(partial(self.client.call_tool, name, arguments))
        assert isinstance(found, CallToolResult)
        return found

    def begun(self, name: str, **arguments: Any) -> Future[CallToolResult]:
        """A call whose answer is not waited for."""
        return self._portal.start_task_soon(partial(self.client.call_tool, name, arguments))

    def answer(self, name: str, **arguments: Any) -> Any:
        """The structured content of an answer that is no error."""
        found = self.tool(name, **arguments)
        assert not found.is_error, text(found)
        return found.structured_content

    def error(self, name: str, **arguments: Any) -> str:
        """The one line of an error."""
        found = self.tool(name, **arguments)
        assert found.is_error, found.structured_content
        assert "\n" not in text(found)
        return text(found).removeprefix(f"Error executing tool {name}: ")

    def resource(self, uri: str) -> Any:
        """A resource that is JSON."""
        (found,) = self._portal.call(partial(self.client.read_resource, uri)).contents
        assert found.mime_type == "application/json"
        return json.loads(found.text)

    def prompt(self, name: str, **arguments: str) -> str:
        """The one message of a prompt."""
        (found,) = self._portal.call(partial(self.client.get_prompt, name, arguments)).messages
        assert found.role == "user"
        return str(found.content.text)

    def names(self, kind: str) -> list[str]:
        """Names of ``tools``, ``prompts``, ``resources`` or ``resource_templates``."""
        return [item.name for item in self.listed(kind)]

    def listed(self, kind: str) -> list[Any]:
        """All of a kind."""
        return list(getattr(self._portal.call(getattr(self.client, f"list_{kind}")), kind))


def text(found: CallToolResult) -> str:
    """The text of an answer."""
    return "\n".join(part.text for part in found.content)


@contextmanager
def connected(client: AbstractAsyncContextManager[Client]) -> Iterator[Asked]:
    """A client on an event loop of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client) as entered:
        yield Asked(portal, entered)


@contextmanager
def by_stdio(store: str, *words: str, **environment: str) -> Iterator[Asked]:
    """A client of a process that it starts."""
    command = ["-m", "quotaloop", "--store", store, "mcp", *words]
    with connected(Client(StdioServerParameters(command=sys.executable, args=command, env=environment))) as it:
        yield it


@asynccontextmanager
async def http_client(url: str, token: str = TOKEN, mode: str = "auto") -> Any:
    """The client of a server over HTTP, with this token."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@contextmanager
def http_server(store: str, *words: str, code: int | None = None, **environment: str) -> Iterator[str]:
    """The URL of a server of its own, which is ended by SIGTERM afterwards, with this code."""
    command = [sys.executable, "-m", "quotaloop", "--store", store, "mcp", "--http", "--port", "0", *words]
    surroundings = os.environ | {"QUOTALOOP_MCP_TOKEN": TOKEN} | environment
    with subprocess.Popen(command, env=surroundings, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            said = iter(server.stderr.readline, "")
            yield next(line for line in said if "listening on" in line).split()[-1]
        finally:
            server.terminate()
            server.communicate()
    assert code in (None, server.returncode)
