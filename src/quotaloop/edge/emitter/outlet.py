"""Where segments go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from quotaloop.edge.emitter.segment import Segment


class Outlet(Protocol):
    """Called by one thread alone, but for ``forked``."""

    follows: bool
    """Are lines taken from a segment that is still open?"""

    def send(self, segments: Sequence[Segment]) -> bool:
        """Take what can be taken of all that waits, oldest first, and say on the segments what is acknowledged.

        True while acknowledgements are on their way: it is to be called again soon. It waits for a fraction of a second
        at most. Raises ``ServiceUnreachable`` or ``OSError``, and goes on when called again, from the oldest.
        """
        ...

    def close(self) -> None:
        """Take no more; what is on its way may or may not arrive, and stays in the spool."""
        ...

    def forked(self) -> None:
        """This is a child of the process that used the outlet: begin anew, and touch nothing that it shares."""
        ...
