"""Format ``native``: every line already is an event; nothing is parsed and nothing but line ends is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

DERIVED: tuple[str, ...] = ()

CHUNK_BYTES = 1 << 20


def lines(stream: BinaryIO, name: str) -> Iterator[bytes]:  # noqa: ARG001 - every format is told the name
    r"""The lines as they are, split at newlines alone; memory is bounded by a chunk and the longest line.

    One ``\r`` before the newline is not part of the line, an empty line is a line, and so is a last line without a
    newline, which then keeps its ``\r``.

    >>> import io
    >>> list(lines(io.BytesIO(b"a\r\n\nb"), "x.jsonl"))
    [b'a', b'', b'b']
    """
    begun: list[bytes] = []
    while chunk := stream.read(CHUNK_BYTES):
        ended = chunk.split(b"\n")
        begun.append(ended.pop())
        if ended:
            unfinished = begun.pop()
            ended[0] = b"".join([*begun, ended[0]])
            begun = [unfinished]
            yield from (line.removesuffix(b"\r") for line in ended)
    if last := b"".join(begun):
        yield last
