"""An event loop whose clock jumps to the next timer: hours pass in no time, and every time is exact."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.SelectSelector):
    """Instead of waiting for a timer, it moves the clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing will ever happen: the test waits for itself")
        self.now_s += max(timeout, 0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


def in_virtual_time(made: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns; its clock is that of its loop and begins at 0."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(made)
