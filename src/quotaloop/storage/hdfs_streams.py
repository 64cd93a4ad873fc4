"""Bytes from and to DataNodes: a stream that is cut off is resumed or is an error, never a short file."""

from __future__ import annotations

import http.client
import io
import json
import uuid
from collections.abc import Collection
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

from hdfs import HdfsError

from quotaloop.errors import QuotaloopError, ServiceUnreachable
from quotaloop.storage.webhdfs import Client, Unavailable, WebHdfs, keeping_away, translated

_RESUMES = 5  # of one stream
_CREATED = 201
_CHUNK = 1 << 20


class Download(io.RawIOBase):
    """A file as it is sent. Cut off, it goes on from where it got to; only whole does it come to its end."""

    def __init__(self, web: WebHdfs, path: str) -> None:
        super().__init__()
        self._web, self._path = web, path
        self._position, self._resumes = 0, 0
        self._response: Any = None
        self._size: int | None = None
        self._connect()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, for the price of a new request."""
        return True

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on from another offset."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size or 0}[whence]
        target = max(0, start + offset)
        if target != self._position:
            self._disconnect()
            self._position = target
        return target

    def readinto(self, buffer: Any, /) -> int:
        """Fill a part of the buffer; 0 at the end of the file. Raises ``ServiceUnreachable``."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, (self._size or 0) - self._position))
        while wanted:
            if self._response is None:
                self._connect()
            try:
                with translated(self._response.url, f"read {self._path}", datanode=True):
                    data = self._response.raw.read(wanted)
                    if not data:
                        raise ConnectionError(f"cut off at byte {self._position} of {self._size}")
            except Unavailable as error:
                self._resume(error)
                continue
            view[: len(data)] = data
            self._position += len(data)
            return len(data)
        return 0

    def close(self) -> None:
        """Let the DataNode go."""
        self._disconnect()
        super().close()

    def _resume(self, error: Unavailable) -> None:
        self._disconnect()
        self._resumes += 1
        if self._resumes > _RESUMES:
            raise ServiceUnreachable(f"{error} (cut off {self._resumes} times)") from error
        self._connect([error.datanode] if error.datanode else [])

    def _connect(self, failed: Collection[str] = ()) -> None:
        def attempt(client: Client, failed: set[str]) -> Any:
            return client._open(self._path, offset=self._position, **keeping_away(failed))

        self._response = self._web.patiently(f"open {self._path}", attempt, failed)
        announced = self._response.headers.get("content-length")
        left = int(announced) if announced is not None else self._length() - self._position
        if self._size is not None and self._position + left != self._size:
            raise QuotaloopError(f"{self._path} was replaced while it was being read; read it again")
        self._size = self._position + left

    def _length(self) -> int:
        return int(self._web.call("get_file_status", self._path, "FileStatus", "length"))

    def _disconnect(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


class Upload:
    """A new file in a folder, in one stream; ``finish`` returns when all of it is there.

    Every attempt has a name of its own: one that was given up and wakes up later spoils no other.
    """

    def __init__(self, client: Client, folder: str, failed: set[str], timeouts: tuple[float, float]) -> None:
        self.path = f"{folder}/{uuid.uuid4().hex}"
        self._place = client._create(self.path, overwrite=False, **keeping_away(failed)).headers["location"]
        parts = urlsplit(self._place)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        assert parts.hostname is not None
        self._connection = kind(parts.hostname, parts.port, timeout=timeouts[0])
        with translated(self._place, f"create {self.path}", datanode=True):
            self._connection.connect()
            self._connection.sock.settimeout(timeouts[1])
            self._connection.putrequest("PUT", f"{parts.path}?{parts.query}")
            self._connection.putheader("Content-Type", "application/octet-stream")
            self._connection.putheader("Transfer-Encoding", "chunked")
            self._connection.endheaders()

    def send(self, data: bytes | bytearray) -> None:
        """Append bytes; raises ``Unavailable`` and ``RemoteError``."""
        with translated(self._place, f"write {self.path}", datanode=True):
            try:
                for start in range(0, len(data), _CHUNK):  # each of them is to be taken in time
                    piece = data[start : start + _CHUNK]
                    self._connection.send(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)))
            except (BrokenPipeError, ConnectionResetError):
                with suppress(OSError, http.client.HTTPException):
                    self._answer()  # if it said why it hung up
                raise

    def finish(self) -> None:
        """End the file; raises ``Unavailable`` and ``RemoteError``."""
        with translated(self._place, f"write {self.path}", datanode=True):
            self._connection.send(b"0\r\n\r\n")
            self._answer()
        self.abandon()

    def abandon(self) -> None:
        """Let the DataNode go."""
        self._connection.close()

    def _answer(self) -> None:
        response = self._connection.getresponse()
        said = response.read()
        if response.status != _CREATED:
            raise _error(said)


def downloaded(web: WebHdfs, path: str) -> bytes:
    """The whole of a file, tried again from its beginning if it is cut off: of one that is replaced never a mixture."""

    def attempt(client: Client, failed: set[str]) -> bytes:
        response = client._open(path, **keeping_away(failed))
        with closing(response), translated(response.url, f"read {path}", datanode=True):
            data: bytes = response.raw.read()
            announced = int(response.headers.get("content-length", len(data)))
            if len(data) != announced:
                raise ConnectionError(f"cut off at byte {len(data)} of {announced}")
            return data

    return web.patiently(f"open {path}", attempt)


def uploaded(web: WebHdfs, folder: str, data: bytes | bytearray) -> str:
    """Write a new file in a folder, tried again if it is cut off; its path."""

    def attempt(client: Client, failed: set[str]) -> str:
        upload = Upload(client, folder, failed, web.timeouts)
        try:
            upload.send(data)
            upload.finish()
        finally:
            upload.abandon()
        return upload.path

    return web.patiently(f"write to {folder}", attempt)


def _error(said: bytes) -> HdfsError:
    remote: dict[str, str] = {}
    with suppress(ValueError, KeyError, TypeError):
        remote = json.loads(said)["RemoteException"]
    return HdfsError(remote.get("message", "") or said[:200], exception=remote.get("exception"))
