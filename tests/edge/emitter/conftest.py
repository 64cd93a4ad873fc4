"""Emitters over one spool, and their outbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet
from tests.edge.emitter.outboxes import Make


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def emitter(tmp_path: Path, outbox: Path) -> Iterator[Make]:
    """Makes emitters of host gw-1 over one spool; all are closed."""
    made: list[Emitter] = []

    def make(**options: Any) -> Emitter:
        options = {"host": "gw-1", "outlet": FolderOutlet(outbox), **options}
        made.append(Emitter(tmp_path / "spool", **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
