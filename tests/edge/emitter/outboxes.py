"""Outboxes as these tests have them, and how emitters to them are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet

Make = Callable[..., Emitter]


class Away(FolderOutlet):
    """An outbox that is away until it is told otherwise."""

    is_away = True
    asked = 0

    def send(self, segments: Any) -> bool:
        self.asked += 1
        if self.is_away:
            raise OSError(28, "No space left on device")
        return super().send(segments)
