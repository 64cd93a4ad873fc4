"""Files of a recount on Hadoop, through the store: mrjob's own way starts a Java program for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from mrjob.fs.base import Filesystem
from mrjob.fs.composite import CompositeFilesystem
from mrjob.fs.hadoop import HadoopFilesystem
from mrjob.fs.local import LocalFilesystem

from quotaloop.storage.store import Store

SCRATCH = "_tmp/mrjob"  # of the store: nobody lists it
_CHUNK = 1 << 20


class StoreFilesystem(Filesystem):  # type: ignore[misc]  # mrjob has no types
    """The verbs of mrjob that a job needs, for addresses within a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._root = store.uri("x").removesuffix("x")

    def can_handle_path(self, path: str) -> bool:
        """Does it lie in the store?"""
        return path.startswith(self._root)

    def ls(self, path: str) -> Iterator[str]:
        """The file, or all files below the folder."""
        inner = self._inner(path)
        found = [self._store.uri(info.path) for info in self._store.files(inner)]
        return iter(found or ([path] if self._store.exists(inner) else []))

    def exists(self, path: str) -> bool:
        """Is a file or folder of that name there?"""
        return self._store.exists(self._inner(path))

    def mkdir(self, path: str) -> None:
        """Nothing: folders come with their files."""

    def put(self, source: str, path: str) -> None:
        """Copy a local file."""
        with open(source, "rb") as file, self._store.create() as pending:
            while data := file.read(_CHUNK):
                pending.write(data)
            if not pending.commit(self._inner(path)):
                raise OSError(f"{path} is there already")

    def rm(self, path: str) -> None:
        """Remove a file, or a folder with all below it."""
        self._store.delete(self._inner(path))

    def _cat_file(self, path: str) -> Iterator[bytes]:
        with self._store.open(self._inner(path)) as file:
            while data := file.read(_CHUNK):
                yield data

    def _inner(self, path: str) -> str:
        return path.removeprefix(self._root).rstrip("/")


def files_of(store: Store, hadoop_bin: Any) -> CompositeFilesystem:
    """The store's files first, then what mrjob can do itself."""
    composite = CompositeFilesystem()
    composite.add_fs("store", StoreFilesystem(store))
    composite.add_fs("hadoop", HadoopFilesystem(hadoop_bin))
    composite.add_fs("local", LocalFilesystem())
    return cast(CompositeFilesystem, composite)
