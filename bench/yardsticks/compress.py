"""The raw files of a store, compressed once more: what of a landing is compression alone."""

from __future__ import annotations

import sys
from gzip import decompress
from pathlib import Path

from bench.meter import phase
from bench.ours import WORK
from quotaloop.raw.compression import compressor

_CHUNK = 1 << 20


def compress(data: bytes) -> int:
    """Bytes that come out, by the compressor and level of a landing."""
    gzip = compressor()
    size = sum(len(gzip.compress(data[start : start + _CHUNK])) for start in range(0, len(data), _CHUNK))
    return size + len(gzip.flush())


if __name__ == "__main__":
    contents = [decompress(path.read_bytes()) for path in sorted(Path(sys.argv[1]).glob("raw/*/*/*.gz"))]
    with phase(WORK):
        for content in contents:
            compress(content)
