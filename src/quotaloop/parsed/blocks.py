"""Whole raw lines in blocks of a few tens of megabytes, decompressed as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, cast

from isal import igzip

BLOCK_BYTES = 32 * 1024 * 1024


def blocks(stream: BinaryIO, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Blocks that end with a line end; longer than ``size`` only for a line that is."""
    rest = [b""]
    with igzip.IGzipFile(fileobj=stream, mode="rb") as lines:
        while data := cast(bytes, lines.read(size)):
            cut = data.rfind(b"\n") + 1
            if cut:
                rest.append(data[:cut])
                yield b"".join(rest)
                rest = []
            rest.append(data[cut:])
    last = b"".join(rest)
    if last:
        yield last if last.endswith(b"\n") else last + b"\n"
