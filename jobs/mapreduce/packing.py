"""Columns to one line of bytes and back: what travels between the steps of the job.

A piece is an Arrow stream, compressed, in base64: no tab and no line end, so that every runner's protocol can carry it.
Words are dictionaries and integers as narrow as they go.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_NARROWER = ((127, pa.int8()), (2**15 - 1, pa.int16()), (2**31 - 1, pa.int32()))


def pack(table: pa.Table, note: Mapping[str, str] | None = None) -> bytes:
    """The table, and a note beside it, as bytes without tab or line end."""
    sink = pa.BufferOutputStream()
    if note:
        table = table.replace_schema_metadata(dict(note))
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue())


def unpack(piece: bytes) -> tuple[pa.Table, dict[str, str]]:
    """The table and its note."""
    table = pa.ipc.open_stream(pa.py_buffer(base64.b64decode(piece))).read_all()
    note = {name.decode(): text.decode() for name, text in (table.schema.metadata or {}).items()}
    return table, note


def narrow(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers, none negative, in the narrowest signed type that holds them."""
    greatest = pc.max(column).as_py() or 0
    for most, kind in _NARROWER:
        if greatest <= most:
            return column.cast(kind)
    return column


def encoded(column: pa.ChunkedArray, pieces: int) -> pa.ChunkedArray:
    """Strings as a dictionary where that pays, though each of ``pieces`` carries all of it."""
    words = pc.dictionary_encode(column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
    return pa.chunked_array([words]) if len(words.dictionary) * pieces <= len(column) else column


def key(*words: str | int) -> bytes:
    """A key of the shuffle; none of the words holds ``|``."""
    return "|".join(str(word) for word in words).encode()


def words_of(name: bytes) -> list[str]:
    """The words of a key."""
    return name.decode().split("|")


def longs(column: pa.ChunkedArray | pa.Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Integers as 64 bits; -1 stands for null, for nothing counted here is negative."""
    filled = pc.fill_null(column.cast(pa.int64()), -1)
    numbers: np.ndarray[tuple[int], np.dtype[np.int64]] = filled.to_numpy()
    return numbers
