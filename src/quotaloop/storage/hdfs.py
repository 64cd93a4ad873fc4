"""The store on HDFS, through WebHDFS: the NameNode's rename gives the two atomic verbs."""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from quotaloop.errors import ServiceUnreachable
from quotaloop.storage.hdfs_rename import is_there, rename_if_absent, rename_over
from quotaloop.storage.hdfs_streams import Download, Upload, downloaded, uploaded
from quotaloop.storage.store import FileInfo
from quotaloop.storage.webhdfs import MISSING, RemoteError, Unavailable, WebHdfs

IN_THE_MAKING = "_tmp"  # folder for files without a name yet; never listed
_READ_AT_ONCE = 1 << 20
_SENT_AT_ONCE = 4 << 20  # a smaller file is written in one piece, which can be tried again
_AT_ONCE = 8  # requests of one call


class HdfsPending:
    """A temporary file of this writer alone."""

    def __init__(self, store: HdfsStore) -> None:
        self._store = store
        self._held = bytearray()
        self._sent = 0
        self._upload: Upload | None = None
        self._path: str | None = None

    def write(self, data: bytes, /) -> int:
        """Append bytes; raises ``ServiceUnreachable`` if what was sent before is lost."""
        self._held += data
        if len(self._held) >= _SENT_AT_ONCE:
            self._send()
        return memoryview(data).nbytes

    def commit(self, path: str) -> bool:
        """Rename if absent when all of it is there."""
        target = self._store.path(path)
        if self._upload is None:
            self._path = uploaded(self._store.web, self._store.making, self._held)
        else:
            self._send()
            with self._streaming():
                self._upload.finish()
            self._upload = None
        assert self._path is not None
        won = rename_if_absent(self._store.web, self._path, target)
        if not won:
            self._remove(self._store.web)
        self._path = None
        return won

    def discard(self) -> None:
        """Remove what was not committed, unless HDFS does not answer: nobody sees it there."""
        if self._upload is not None:
            self._upload.abandon()
        self._remove(self._store.hasty)

    def _remove(self, web: WebHdfs) -> None:
        if self._path is not None:
            with suppress(ServiceUnreachable, RemoteError):
                web.call("delete", self._path, recursive=False)

    def _send(self) -> None:
        web = self._store.web
        with self._streaming():
            if self._upload is None:
                self._upload = web.patiently(
                    f"write to {self._store.making}",
                    lambda client, failed: Upload(client, self._store.making, failed, web.only_timeouts),
                )
                self._path = self._upload.path
            self._upload.send(self._held)
        self._sent += len(self._held)
        self._held = bytearray()

    @contextmanager
    def _streaming(self) -> Iterator[None]:
        try:
            yield
        except Unavailable as error:
            raise ServiceUnreachable(
                f"{error} A file was cut off after {self._sent} bytes and is not visible; run it again"
            ) from error


class HdfsStore:
    """A folder on HDFS. Names may hold what they like but ``:`` and ``/``, which HDFS does not take in a name.

    ``authority`` is the ``host:port`` that Hadoop's own clients use, ``webhdfs`` the NameNode's web server, or several
    with ``;`` between them. The store travels to other processes; connections do not.
    """

    def __init__(self, authority: str, root: str, *, webhdfs: str, user: str, patience_ms: int) -> None:
        self.authority, self.root = authority, posixpath.normpath(f"/{root.strip('/')}")
        self.webhdfs, self.user, self.patience_ms = webhdfs, user, patience_ms
        self.url = f"hdfs://{authority}{quote(self.root)}"
        self.making = f"{self.root}/{IN_THE_MAKING}"
        self._connected: tuple[int, WebHdfs] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_connected": None}

    @property
    def web(self) -> WebHdfs:
        """The connections of this process."""
        if self._connected is None or self._connected[0] != os.getpid():
            self._connected = os.getpid(), WebHdfs(self.webhdfs, self.user, self.patience_ms)
        return self._connected[1]

    @property
    def hasty(self) -> WebHdfs:
        """The same without patience: to clean up behind what failed already."""
        return WebHdfs(self.webhdfs, self.user, 0)

    def path(self, path: str) -> str:
        """Where a file of the store lies on HDFS; raises ``ValueError`` outside the store."""
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"{path!r} is not a path inside the store")
        return posixpath.normpath(posixpath.join(self.root, path))

    def uri(self, path: str) -> str:
        """An ``hdfs:`` address as Hadoop reads it: nothing in it is escaped."""
        return f"hdfs://{self.authority}{self.path(path)}"

    def exists(self, path: str) -> bool:
        """Is a file or folder of that name there?"""
        return is_there(self.web, self.path(path))

    def open(self, path: str) -> BinaryIO:
        """Open for reading, in one stream as long as nobody seeks; raises ``FileNotFoundError``."""
        with _missing(path):
            return cast(BinaryIO, io.BufferedReader(Download(self.web, self.path(path)), _READ_AT_ONCE))

    def read(self, path: str) -> bytes:
        """The whole file; raises ``FileNotFoundError``."""
        with _missing(path):
            return downloaded(self.web, self.path(path))

    @contextmanager
    def all_on_disk(self, paths: Sequence[str]) -> Iterator[list[Path]]:
        """Copies in a temporary folder of this machine, a few fetched at a time."""
        with tempfile.TemporaryDirectory(prefix="quotaloop-") as folder:
            copies = [Path(folder, f"{number}-{posixpath.basename(path)}") for number, path in enumerate(paths)]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for _ in pool.map(self._copy, paths, copies):
                    pass
            yield copies

    @contextmanager
    def create(self) -> Iterator[HdfsPending]:
        """Begin a file in the folder of unnamed files."""
        pending = HdfsPending(self)
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
        rename_over(self.web, uploaded(self.web, self.making, data), target)

    def files(self, folder: str) -> Iterator[FileInfo]:
        """All files below a folder, in the order of their paths."""
        start = posixpath.relpath(self.path(folder), self.root) if folder else "."
        found: list[FileInfo] = []
        level = ["" if start == "." else start]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            while level:
                below: list[str] = []
                for parent, statuses in zip(level, self._listings(pool, level), strict=True):
                    for status in statuses:
                        path = posixpath.join(parent, status["pathSuffix"])
                        if status["type"] == "FILE":
                            found.append(FileInfo(path, status["length"], status["modificationTime"]))
                        elif path != IN_THE_MAKING:
                            below.append(path)
                level = below
        return iter(sorted(found, key=lambda info: info.path))

    def delete(self, path: str) -> None:
        """Remove a file or a folder with all below it."""
        self.web.call("delete", self.path(path), recursive=True)

    def _copy(self, path: str, target: Path) -> None:
        with self.open(path) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, _READ_AT_ONCE)

    def _listings(self, pool: ThreadPoolExecutor, folders: list[str]) -> Iterable[list[dict[str, Any]]]:
        return pool.map(self._listing, folders) if len(folders) > 1 else map(self._listing, folders)

    def _listing(self, folder: str) -> list[dict[str, Any]]:
        """What lies in a folder; nothing if it is no folder, or vanished."""
        try:
            statuses = self.web.call("list_status", self.path(folder), "FileStatuses", "FileStatus")
        except RemoteError as error:
            if error.kind == MISSING or "is not a directory" in str(error):
                return []
            raise
        return [status for status in statuses if status["pathSuffix"]]


@contextmanager
def _missing(path: str) -> Iterator[None]:
    try:
        yield
    except RemoteError as error:
        if error.kind == MISSING:
            raise FileNotFoundError(path) from error
        raise
