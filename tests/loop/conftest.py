"""The engines that every run of these tests finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loop.stores import Loop


@pytest.fixture
def loop(engines: None, tmp_path: Path) -> Loop:  # noqa: ARG001 - the engines are open while it is used
    """An empty store; its path has a space in it, as a user's may."""
    return Loop(tmp_path / "a store")
