"""The end of a talk."""

from __future__ import annotations


class Ended(Exception):
    """The connection is to be closed with this code (RFC 6455, 7.4) and reason; ``code`` None: it is closed already."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason
