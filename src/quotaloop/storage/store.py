"""What the pipeline needs of a file system: few verbs, each atomic.

Paths are relative to the store's root, with ``/`` between names. A file, once committed under its name, is never
changed; the one exception is :meth:`Store.replace`, which exists for pointers that are one rename.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A committed file: its path relative to the store, its size in bytes, its last change in epoch milliseconds."""

    path: str
    size: int
    modified_ms: int


class Pending(Protocol):
    """A file being written under a name nobody reads."""

    def write(self, data: bytes, /) -> int:
        """Append bytes."""

    def commit(self, path: str) -> bool:
        """Rename to ``path`` if nothing is there: True; else leave what is there and drop this one: False."""


class Store(Protocol):
    """A root folder of a local or distributed file system."""

    url: str

    def uri(self, path: str) -> str:
        """The address by which Spark and other readers of the same file system open ``path``."""

    def exists(self, path: str) -> bool:
        """Is a file or folder of that name there?"""

    def open(self, path: str) -> BinaryIO:
        """Open for reading; raises ``FileNotFoundError``."""

    def read(self, path: str) -> bytes:
        """The whole file; raises ``FileNotFoundError``."""

    def all_on_disk(self, paths: Sequence[str]) -> AbstractContextManager[list[Path]]:
        """The files on a disk of this machine, in this order, as long as the context lasts; ``FileNotFoundError``."""

    def create(self) -> AbstractContextManager[Pending]:
        """Begin a file; what was not committed when the context ends is gone."""

    def write_if_absent(self, path: str, data: bytes) -> bool:
        """Commit ``data`` as ``path`` in one rename if nothing is there; says whether it did."""

    def replace(self, path: str, data: bytes) -> None:
        """Put ``data`` in the place of ``path`` in one rename; a reader sees the old file or the new one, whole."""

    def files(self, folder: str) -> Iterator[FileInfo]:
        """All files below a folder, in the order of their paths, without those in the making; none if it is absent."""

    def delete(self, path: str) -> None:
        """Remove a file or a folder with all below it; nothing if it is absent."""


def read_files(store: Store, paths: Sequence[str]) -> list[bytes]:
    """The whole of each of many small files, fetched together; raises ``FileNotFoundError``."""
    with store.all_on_disk(paths) as files:
        return [file.read_bytes() for file in files]
