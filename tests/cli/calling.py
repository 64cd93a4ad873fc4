"""The command line in this process, as the installed program calls it."""

from __future__ import annotations

import sys

import pytest

from quotaloop.cli import main


def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """``quotaloop`` with these words: exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["quotaloop", *words])
    capsys.readouterr()
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, *capsys.readouterr()
