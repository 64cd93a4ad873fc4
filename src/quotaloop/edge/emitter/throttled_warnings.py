"""What goes wrong again and again, said once a minute."""

from __future__ import annotations

import logging
import time

_EVERY_S = 60.0


class ThrottledWarnings:
    """Warnings of one place; those between are counted and said with the next."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)
        self._next_s = 0.0
        self._unsaid = 0

    def say(self, text: str) -> None:
        """Log a warning, unless one was logged within the last minute."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more since the last warning)" if self._unsaid else ""
        self._next_s, self._unsaid = now_s + _EVERY_S, 0
        self._log.warning("%s%s", text, more)
