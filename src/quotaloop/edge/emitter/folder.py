"""An outbox: a folder of files that ``quotaloop land files`` takes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from quotaloop.edge.emitter.segment import Segment
from quotaloop.storage.durable import make_folder, sync_folder


class FolderOutlet:
    """Moves each closed segment to ``<host>.<boot>.<first seq>.jsonl`` of a folder; that is its acknowledgement.

    A file there is whole and never changes; it outlives a power cut.
    """

    follows = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(self, segments: Sequence[Segment]) -> bool:
        """Move what is closed."""
        moved = False
        for segment in segments:
            if segment.is_closed:
                make_folder(self.folder)
                _move(segment, self.folder / f"{segment.host}.{segment.path.name}")
                segment.has_begun = segment.has_left = moved = True
        if moved:
            sync_folder(self.folder)
        return False

    def close(self) -> None:
        """Nothing is open."""

    def forked(self) -> None:
        """Nothing is shared."""


def _move(segment: Segment, target: Path) -> None:
    os.truncate(segment.path, segment.size)  # without half a line that a full disk has left
    _sync(segment.path)
    try:
        segment.path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(segment.path, target)
        segment.path.unlink()


def _copy(source: Path, target: Path) -> None:
    """To another file system: under a name that nobody looks for, until it is whole."""
    unfinished = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, unfinished)
    _sync(unfinished)
    unfinished.rename(target)
    sync_folder(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
