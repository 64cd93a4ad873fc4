"""One call of the command line: its settings, its work and how it answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from quotaloop.settings import Settings

if TYPE_CHECKING:
    from jobs.work import Work


@dataclass(frozen=True, slots=True)
class Call:
    """What stands before the command."""

    settings: Settings
    as_json: bool
    debug: bool

    def work(self, progress: Any = None) -> Work:
        """A run's work on the store of the settings."""
        from jobs.work import Work

        return Work(self.settings, progress) if progress else Work(self.settings)

    @contextmanager
    def working(self) -> Iterator[Work]:
        """Work with bars on standard error."""
        from quotaloop.terminal.bars import Bars

        with Bars() as progress:
            yield self.work(progress)

    def print(self, document: Any, text: Any) -> None:
        """The document as JSON, or the text (or rich renderable) for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
        else:
            Console().print(text)


def call_of(context: typer.Context) -> Call:
    """The call that a command belongs to."""
    call = context.find_root().obj
    assert isinstance(call, Call)
    return call
