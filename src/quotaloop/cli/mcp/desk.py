"""Where calls of clients are answered: each in a thread, a few at a time, and what goes wrong in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter, get_cancelled_exc_class
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from mcp.types import CallToolResult, TextContent
from rich.console import Console

from quotaloop.errors import QuotaloopError
from quotaloop.events.credentials import redact_text
from quotaloop.settings import Settings
from quotaloop.terminal.output import spelled_out

if TYPE_CHECKING:
    from jobs.work import Work

_AT_ONCE = 4  # calls; others wait for a place
_WIDTH = 5_000  # columns of a text, so that no number of a table is cut
_LONGEST = 1900  # characters of an error

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Answer:
    """A document as ``--json`` prints it, beside what is printed for people; ``error`` where it tells of a failure."""

    document: Mapping[str, Any]
    shown: Any
    error: QuotaloopError | None = None


@dataclass(frozen=True)
class Desk:
    """Answers calls over the store of the settings; what is in force is looked up anew for each."""

    settings: Settings
    _places: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_AT_ONCE))

    async def tool(self, call: Callable[[Work], Answer], *, stop: Callable[[], None] | None = None) -> CallToolResult:
        """What a tool answers; raises ``ToolError`` with the one line of an error of ours.

        Where the client does not wait any more, ``stop`` ends the call; without one it goes on to its end.
        """
        try:
            return await self._called(lambda work: _result(call(work)), stop)
        except QuotaloopError as error:
            raise ToolError(line(str(error))) from error

    async def resource(self, call: Callable[[Work], Mapping[str, Any]]) -> str:
        """A resource as JSON; raises ``ResourceError`` with the one line of an error of ours."""
        try:
            return await self._called(lambda work: json.dumps(_plain(call(work)), ensure_ascii=False, indent=1))
        except QuotaloopError as error:
            raise ResourceError(line(str(error))) from error

    async def _called(self, call: Callable[[Work], Made], stop: Callable[[], None] | None = None) -> Made:
        try:
            return await anyio.to_thread.run_sync(
                lambda: call(self._work()), limiter=self._places, abandon_on_cancel=stop is not None
            )
        except get_cancelled_exc_class():
            if stop is not None:
                stop()
            raise

    def _work(self) -> Work:
        from jobs.work import Work

        return Work(self.settings)


def line(said: str) -> str:
    """What an error says in one line, without credentials and with nothing in it that a terminal would obey."""
    return spelled_out(" ".join(redact_text(said).split()))[:_LONGEST]


def text_of(shown: Any) -> str:
    """What the command line would print into a file."""
    console = Console(file=StringIO(), width=_WIDTH, force_terminal=False, color_system=None)
    with console.capture() as printed:
        console.print(shown)
    return "\n".join(row.rstrip() for row in printed.get().splitlines())


def _result(answer: Answer) -> CallToolResult:
    content: list[Any] = [TextContent(type="text", text=text_of(answer.shown))]
    if answer.error is not None:
        content.append(TextContent(type="text", text=line(str(answer.error))))
    return CallToolResult(
        content=content, structured_content=_plain(answer.document), is_error=answer.error is not None
    )


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with nothing but what JSON has, as ``--json`` prints it."""
    found: dict[str, Any] = json.loads(json.dumps(document, ensure_ascii=False, default=str))
    return found
