"""What long work says about itself: stages with a total, steps done; silent unless somebody listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener; the command line's draws bars."""

    def begin(self, stage: str, total: int | None = None, unit: str = "") -> None:
        """A stage begins; ``total`` in ``unit`` if it is known."""

    def advance(self, done: int) -> None:
        """So many units more."""

    def note(self, text: str) -> None:
        """What the stage is at."""

    def end(self) -> None:
        """The stage is over."""


class Silence:
    """Nobody listens."""

    def begin(self, stage: str, total: int | None = None, unit: str = "") -> None:
        """Nothing."""

    def advance(self, done: int) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""
