"""The command line, called in this process as the installed program calls it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import called
from tests.marts.handmade import DAY, Handmade, at


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output, which is a line of its own; only what JSON knows."""
        assert self.out.count("\n") == 1
        assert self.out.endswith("\n")
        return json.loads(self.out, parse_constant=_no_json)

    @property
    def error(self) -> str:
        """The one line that ends standard error, with progress alone before it; nothing on standard output."""
        assert self.out == ""
        *progress, last = self.err.splitlines()
        assert last.startswith("quotaloop: ")
        assert not any(line.startswith(("quotaloop: ", "Traceback", " ")) for line in progress)
        return last.removeprefix("quotaloop: ")


Call = Callable[..., Said]


def _no_json(word: str) -> Any:
    raise AssertionError(f"{word} is not JSON")


@pytest.fixture
def made(tmp_path: Path) -> Handmade:
    """The store that is called on, empty at first."""
    return Handmade(tmp_path / "a store")


@pytest.fixture
def released(made: Handmade) -> Handmade:
    """A store with a release of one row."""
    made.add("usage_hourly", {"hour": at(0), "tenant": "a", "requests": 3}, hours=[DAY])
    made.add_ledger({"topic": "t", "lines": 10, "accepted": 10, "end_offset": 10})
    made.counted(DAY)
    made.publish()
    return made


@pytest.fixture
def call(made: Handmade, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the command line with these words; ``--store`` is said by the environment."""
    for name in [*os.environ]:
        if name.startswith("QUOTALOOP_") or name in ("FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("QUOTALOOP_STORE", made.store.url.replace(" ", "%20"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Said:
        return Said(*called(monkeypatch, capsys, *words))

    return run
