"""Are published files still what they were when they were published?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from quotaloop.errors import InputUnreadable
from quotaloop.marts.release import FileEntry
from quotaloop.storage.store import Store

_AT_ONCE = 64  # files that are on this machine together


@contextmanager
def copies(store: Store, entries: Iterable[FileEntry]) -> Iterator[dict[str, Path]]:
    """Published files on this machine, by their paths in the store; raises ``InputUnreadable`` for one that is gone."""
    wanted = {entry.path: entry for entry in entries}
    with ExitStack() as stack:
        try:
            files = stack.enter_context(store.all_on_disk(list(wanted)))
        except FileNotFoundError as error:
            raise gone(wanted[error.args[0]]) from error
        yield dict(zip(wanted, files, strict=True))


def check_copy(path: Path, entry: FileEntry) -> None:
    """Raise ``InputUnreadable`` if what lies on this disk for a published file has another SHA-256."""
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
            raise _changed(entry, "checksum mismatch")


def check_files(store: Store, entries: Iterable[FileEntry]) -> None:
    """Raise ``InputUnreadable`` if one of these files is gone or has another SHA-256; all of them are read."""
    wanted = list(entries)
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        with copies(store, some) as here:
            for entry in some:
                check_copy(here[entry.path], entry)


def check_sizes(store: Store, entries: Iterable[FileEntry]) -> None:
    """Raise ``InputUnreadable`` if one of these files is gone or has another size; none of them is opened."""
    wanted = {entry.path: entry for entry in entries}
    folders = {"/".join(path.split("/")[:2]) for path in wanted}
    sizes = {info.path: info.size for folder in folders for info in store.files(folder) if info.path in wanted}
    for path, entry in sorted(wanted.items()):
        if path not in sizes:
            raise gone(entry)
        if sizes[path] != entry.bytes:
            raise _changed(entry, f"{sizes[path]} bytes, not {entry.bytes}")


def gone(entry: FileEntry) -> InputUnreadable:
    """That a published file is not there."""
    return InputUnreadable(f"{entry.path} is gone, and a release lists it; bring it back from a copy")


def _changed(entry: FileEntry, what: str) -> InputUnreadable:
    return InputUnreadable(f"{entry.path} is not the file that was published ({what}); bring it back from a copy")
