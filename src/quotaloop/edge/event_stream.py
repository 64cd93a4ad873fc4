"""What passes in a stream of server-sent events, in whatever parts it is sent."""

from __future__ import annotations

_ERROR = (b"event: error", b"event:error")
_KEPT = len(_ERROR[0]) + 1  # of a line that is cut: as much as tells what it is
_SAYS_NOTHING = (b":", b"", b"\r")  # how comments begin and empty lines


class EventStream:
    r"""Counts events and finds ``event: error``; lines end with LF or CRLF and may be cut anywhere.

    >>> stream = EventStream()
    >>> [stream.feed(part) for part in (b": hello\n\n", b"data: 1\n\ndata: 2\n", b"\nevent: er", b"ror\n\n")]
    [(0, False), (1, True), (1, True), (1, True)]
    >>> stream.has_failed
    True
    """

    __slots__ = ("_has_fields", "_rest", "has_failed")

    def __init__(self) -> None:
        self.has_failed = False
        self._has_fields = False  # the event that has not ended
        self._rest = b""  # the start of the line that has not ended

    def feed(self, part: bytes) -> tuple[int, bool]:
        """Events that end with this part of the stream, and whether it holds more than comments and empty lines."""
        events, says = 0, False
        lines = (self._rest + part).replace(b"\r\n", b"\n").split(b"\n")
        rest = lines.pop()
        for line in lines:
            if not line:
                events += self._has_fields
                self._has_fields = False
            elif line[:1] != b":":
                self._has_fields = says = True
                if line in _ERROR:
                    self.has_failed = True
        self._rest = rest[:_KEPT]
        return events, says or rest[:1] not in _SAYS_NOTHING
