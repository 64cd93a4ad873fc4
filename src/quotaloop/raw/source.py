"""Files as users have them: plain, gzip or zstd, opened as what they hold and no further than is safe."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import zstandard
from isal import igzip, isal_zlib

from quotaloop.errors import InputUnreadable

_MAGIC = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
# The stub of isal takes its exception for an instance.
_DAMAGE = (EOFError, zlib.error, zstandard.ZstdError, igzip.BadGzipFile, cast(type[Exception], isal_zlib.IsalError))
_CHUNK = 1 << 20
_SIP = 1024  # compressed bytes at a time: a zstd block of 4 bytes may hold 128 KB
_SMALL = 64 * 1024 * 1024  # below this size no inflation is a bomb


def sha256(path: Path) -> str:
    """SHA-256 of the file's bytes as they lie on disk; raises ``InputUnreadable``."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputUnreadable(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def open_source(path: Path, *, max_bytes: int, max_inflation: int) -> Iterator[BinaryIO]:
    """The file's content, decompressed by its extension.

    Raises ``InputUnreadable``, naming the file, if it is cut off or damaged, if its extension does not fit what it
    holds, if a compressed file lies inside, or if it inflates beyond ``max_bytes`` or ``max_inflation`` times its size.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(4)
            file.seek(0)
            suffix = path.suffix if path.suffix in _MAGIC.values() else ""
            if _kind(head) != suffix and (head or suffix):
                raise InputUnreadable(f"{path} is not what its extension says; rename it and land it again")
            inner = cast(BinaryIO, _decompressed(file, suffix))
            limit = min(max_bytes, max(_SMALL, path.stat().st_size * max_inflation)) if suffix else max_bytes
            yield cast(BinaryIO, io.BufferedReader(_Bounded(inner, path, limit), _CHUNK))
    except _DAMAGE as error:
        raise InputUnreadable(f"{path} is cut off or damaged: {error}; nothing of it was landed") from error
    except OSError as error:
        raise InputUnreadable(f"{path} cannot be read: {error.strerror or error}") from error


def _kind(head: bytes) -> str:
    return next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), "")


def _decompressed(file: BinaryIO, suffix: str) -> io.IOBase | BinaryIO:
    if suffix == ".gz":
        return cast(io.IOBase, igzip.IGzipFile(fileobj=file, mode="rb"))
    if suffix == ".zst":
        return cast(io.IOBase, _WholeFrames(file))
    return file


class _WholeFrames(io.RawIOBase):
    """A zstd stream that knows when its last frame was cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = zstandard.ZstdDecompressor().decompressobj()
        self._fresh = True
        self._pending = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._pending:
            compressed = self._decoder.unused_data or self._file.read(_SIP)
            if self._decoder.eof and compressed:
                self._decoder = zstandard.ZstdDecompressor().decompressobj()
                self._fresh = True
            if not compressed:
                if not self._decoder.eof and not self._fresh:
                    raise EOFError("the last zstd frame is not complete")
                return 0
            self._fresh = False
            self._pending = self._decoder.decompress(compressed)
        taken = self._pending[: len(buffer)]
        buffer[: len(taken)] = taken
        self._pending = self._pending[len(taken) :]
        return len(taken)


class _Bounded(io.RawIOBase):
    """Stops at the limit, and at a compressed file inside a compressed file."""

    def __init__(self, inner: BinaryIO, path: Path, limit: int) -> None:
        self._inner = inner
        self._path = path
        self._limit = limit
        self._seen = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._inner.read(len(buffer))
        if self._seen == 0 and self._path.suffix in _MAGIC.values() and _kind(data[:4]):
            raise InputUnreadable(f"{self._path} holds another compressed file; unpack it first")
        self._seen += len(data)
        if self._seen > self._limit:
            raise InputUnreadable(f"{self._path} inflates beyond {self._limit} bytes; nothing of it was landed")
        buffer[: len(data)] = data
        return len(data)
