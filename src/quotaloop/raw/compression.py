"""How raw files are compressed: quickly, and to the same bytes for the same lines."""

from __future__ import annotations

from typing import Any

from isal import isal_zlib

_GZIP = 31  # window bits that ask zlib for a gzip member; its header carries no time and no name
_LEVEL = 2


def compressor() -> Any:
    """An object with ``compress`` and ``flush``, for one file."""
    return isal_zlib.compressobj(level=_LEVEL, wbits=_GZIP)
