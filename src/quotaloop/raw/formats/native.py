"""Format ``native``: every line already is an event; nothing is parsed and nothing but line ends is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from quotaloop.errors import InputUnreadable

DERIVED: tuple[str, ...] = ()

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 30


def lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    r"""The lines as they are, split at newlines alone; memory is bounded by a chunk and the longest line.

    One ``\r`` before the newline is not part of the line, an empty line is a line, and so is a last line without a
    newline, which then keeps its ``\r``. Raises ``InputUnreadable`` for a line of more than 1 GiB.

    >>> import io
    >>> list(lines(io.BytesIO(b"a\r\n\nb"), "x.jsonl"))
    [b'a', b'', b'b']
    """
    begun: list[bytes] = []
    size = 0
    while chunk := stream.read(CHUNK_BYTES):
        ended = chunk.split(b"\n")
        unfinished = ended.pop()
        if ended:
            ended[0] = b"".join([*begun, ended[0]])
            begun, size = [], 0
            yield from (line.removesuffix(b"\r") for line in ended)
        begun.append(unfinished)
        size += len(unfinished)
        if size > MAX_LINE_BYTES:
            raise InputUnreadable(f"{name} has a line of more than {MAX_LINE_BYTES} bytes: it is no request log")
    if last := b"".join(begun):
        yield last
