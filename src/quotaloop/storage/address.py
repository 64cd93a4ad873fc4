"""From a store's URL to the store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from quotaloop.errors import UsageError
from quotaloop.storage.local import LocalStore
from quotaloop.storage.store import Store


def open_store(url: str) -> Store:
    """The store behind ``file:///path``, a relative ``file:path`` or a plain path; ``UsageError`` for other schemes."""
    parts = urlsplit(url)
    if parts.scheme in ("", "file"):
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"store {url!r}: a file URL names no host; write file:///path")
        path = unquote(parts.path) if parts.scheme else url
        if not path:
            raise UsageError("the store's URL is empty; write file:///path")
        return LocalStore(Path(path))
    raise UsageError(f"store {url!r}: scheme {parts.scheme!r} is not known; write file:///path")
