"""From a store's URL to the store."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from quotaloop.errors import UsageError
from quotaloop.hosts import in_address
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
    parts = _parts(url, "store")
    if parts.scheme and set(url) & set("#?"):
        raise UsageError(f"store {url!r}: in a URL, write %23 for # and %3F for ?")
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
    if webhdfs and not all(_is_web_server(one) for one in webhdfs.split(";")):
        raise UsageError(f"setting webhdfs: {webhdfs!r} is not the address of a web server; write http://host:port")
    if parts.netloc.endswith(":"):
        raise UsageError(f"store {url!r}: there is no port after the colon; write hdfs://host:port/path")
    host = in_address(parts.hostname)
    return HdfsStore(
        parts.netloc,
        path,
        webhdfs=webhdfs or f"http://{host}:{_WEB_PORT}",
        user=user or os.environ.get("HADOOP_USER_NAME") or getpass.getuser(),
        patience_ms=patience_ms,
    )


def _is_web_server(address: str) -> bool:
    parts = _parts(address, "setting webhdfs")
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _parts(url: str, what: str) -> SplitResult:
    """The parts of a URL; raises ``UsageError`` where its host or its port cannot be one."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - looks whether it is a number of a port
    except ValueError as error:
        raise UsageError(f"{what} {url!r}: {error}") from error
    return parts
