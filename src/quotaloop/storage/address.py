"""From a store's URL to the store."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from quotaloop.errors import UsageError
from quotaloop.settings import Settings
from quotaloop.storage.local import LocalStore
from quotaloop.storage.store import Store

_WEB_PORT = 9870  # of a NameNode, unless configured otherwise


def store_of(settings: Settings) -> Store:
    """The store that the settings name."""
    return open_store(settings.store, webhdfs=settings.webhdfs, user=settings.hdfs_user, patience_ms=settings.patience)


def open_store(url: str, *, webhdfs: str = "", user: str = "", patience_ms: int = Settings().patience) -> Store:
    """The store behind ``hdfs://host:port/path``, ``file:///path``, a relative ``file:path`` or a plain path.

    ``UsageError`` for others. ``webhdfs``: the NameNode's web server, by default port 9870 of the host; ``user``: by
    default ``HADOOP_USER_NAME``, or who runs this.
    """
    parts = urlsplit(url)
    if parts.scheme == "hdfs":
        return _hdfs(url, parts, webhdfs, user, patience_ms)
    if parts.scheme in ("", "file"):
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"store {url!r}: a file URL names no host; write file:///path")
        path = unquote(parts.path) if parts.scheme else url
        if not path:
            raise UsageError("the store's URL is empty; write file:///path")
        return LocalStore(Path(path))
    known = "write file:///path or hdfs://host:port/path"
    raise UsageError(f"store {url!r}: scheme {parts.scheme!r} is not known; {known}")


def _hdfs(url: str, parts: SplitResult, webhdfs: str, user: str, patience_ms: int) -> Store:
    from quotaloop.storage.hdfs import HdfsStore  # its imports take a while, and most stores are folders

    path = unquote(parts.path)
    if not parts.hostname or not path.strip("/") or ".." in path.split("/"):
        raise UsageError(f"store {url!r}: write hdfs://host:port/path, with a folder for a path")
    if webhdfs and any(urlsplit(one).scheme not in ("http", "https") for one in webhdfs.split(";")):
        raise UsageError(f"setting webhdfs: {webhdfs!r} is not the address of a web server; write http://host:port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return HdfsStore(
        parts.netloc,
        path,
        webhdfs=webhdfs or f"http://{host}:{_WEB_PORT}",
        user=user or os.environ.get("HADOOP_USER_NAME") or getpass.getuser(),
        patience_ms=patience_ms,
    )
