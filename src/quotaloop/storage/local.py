"""The store on a local disk: POSIX link and rename give the two atomic verbs."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from quotaloop.storage.durable import make_folder, sync_folder
from quotaloop.storage.store import FileInfo

IN_THE_MAKING = "_tmp"  # folder for files without a name yet; never listed


class LocalPending:
    """A temporary file on the store's own file system."""

    def __init__(self, store: LocalStore, path: Path) -> None:
        self._store = store
        self._path = path
        self._file = open(path, "wb")  # noqa: SIM115 - closed by commit or by the context of create()

    def write(self, data: bytes, /) -> int:
        """Append bytes."""
        return self._file.write(data)

    def commit(self, path: str) -> bool:
        """Flush to disk, then rename if absent."""
        return self._store.link_if_absent(self.finished(), path)

    def finished(self) -> Path:
        """Flush to disk; where it lies."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._path

    def discard(self) -> None:
        """Remove what was not committed."""
        with suppress(OSError):  # a full disk does not take the rest of it either
            self._file.close()
        self._path.unlink(missing_ok=True)


class LocalStore:
    """A folder on a local disk."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = f"file://{quote(str(self.root))}"

    def path(self, path: str) -> Path:
        """Where a file of the store lies on this machine; raises ``ValueError`` outside the store."""
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path!r} is not a path inside the store")
        return self.root / path

    def uri(self, path: str) -> str:
        """A ``file:`` address as Hadoop reads it: nothing in it is escaped."""
        return f"file://{self.path(path)}"

    def exists(self, path: str) -> bool:
        """Is a file or folder of that name there?"""
        return self.path(path).exists()

    def open(self, path: str) -> BinaryIO:
        """Open for reading; raises ``FileNotFoundError``."""
        return open(self.path(path), "rb")

    def read(self, path: str) -> bytes:
        """The whole file; raises ``FileNotFoundError``."""
        return self.path(path).read_bytes()

    @contextmanager
    def all_on_disk(self, paths: Sequence[str]) -> Iterator[list[Path]]:
        """The files where they lie."""
        files = [self.path(path) for path in paths]
        for file, path in zip(files, paths, strict=True):
            if not file.is_file():
                raise FileNotFoundError(path)
        yield files

    @contextmanager
    def create(self) -> Iterator[LocalPending]:
        """Begin a file in the folder of unnamed files."""
        folder = self.root / IN_THE_MAKING
        make_folder(folder)
        pending = LocalPending(self, folder / uuid.uuid4().hex)
        try:
            yield pending
        finally:
            pending.discard()

    def write_if_absent(self, path: str, data: bytes) -> bool:
        """Commit ``data`` as ``path`` if nothing is there."""
        with self.create() as pending:
            pending.write(data)
            return pending.commit(path)

    def replace(self, path: str, data: bytes) -> None:
        """Put ``data`` in the place of ``path`` in one rename."""
        target = self.path(path)
        make_folder(target.parent)
        with self.create() as pending:
            pending.write(data)
            pending.finished().replace(target)
        sync_folder(target.parent)

    def link_if_absent(self, source: Path, path: str) -> bool:
        """A hard link fails where a name is taken, which a rename would not; the old name goes after it."""
        target = self.path(path)
        make_folder(target.parent)
        try:
            os.link(source, target)
        except FileExistsError:
            source.unlink(missing_ok=True)
            return False
        source.unlink()
        sync_folder(target.parent)
        return True

    def files(self, folder: str) -> Iterator[FileInfo]:
        """All files below a folder, in the order of their paths; raises ``OSError`` where one cannot be looked into."""
        start = self.path(folder) if folder else self.root
        found: list[FileInfo] = []
        for parent, names, files in os.walk(start, onerror=_unless_gone):
            if Path(parent) == self.root and IN_THE_MAKING in names:
                names.remove(IN_THE_MAKING)
            for name in files:
                file = Path(parent, name)
                try:
                    status = file.stat()
                except FileNotFoundError:  # somebody cleaned up between the listing and now
                    continue
                relative = file.relative_to(self.root).as_posix()
                found.append(FileInfo(relative, status.st_size, status.st_mtime_ns // 1_000_000))
        return iter(sorted(found, key=lambda info: info.path))

    def delete(self, path: str) -> None:
        """Remove a file or a folder with all below it."""
        target = self.path(path)
        if target.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        else:
            target.unlink(missing_ok=True)


def _unless_gone(error: OSError) -> None:
    """A folder may vanish while it is listed; without one that is there the listing would be short."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
