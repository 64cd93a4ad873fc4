"""The raw files of a store, compressed once more: what of a landing is compression alone."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

from isal import isal_zlib

from bench.meter import phase
from bench.ours import WORK

_CHUNK = 1 << 20


def compress(data: bytes) -> int:
    """Bytes that come out, by the compressor and level of a landing."""
    compressor = isal_zlib.compressobj(level=2, wbits=31)
    size = sum(len(compressor.compress(data[start : start + _CHUNK])) for start in range(0, len(data), _CHUNK))
    return size + len(compressor.flush())


if __name__ == "__main__":
    contents = [gzip.decompress(path.read_bytes()) for path in sorted(Path(sys.argv[1]).glob("raw/*/*/*.gz"))]
    with phase(WORK):
        for content in contents:
            compress(content)
