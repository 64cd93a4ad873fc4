"""Where Envoy's rate limit service reads its rules: whole generations of files, and a link to the one in force."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from pathlib import Path

from quotaloop.errors import CheckRefused
from quotaloop.faults import reached
from quotaloop.storage.durable import make_folder, sync_folder

LINK = "current"  # what the service has as its RUNTIME_ROOT
FILE = "config/quotaloop.yaml"
_GENERATION = re.compile(r"([0-9]{10})-[0-9a-f]{32}")
_UNFINISHED = re.compile(r"\.current-[0-9a-f]{32}")


class Delivery:
    """A folder with ``current``, a link that is replaced in one rename: the old rules are in force, then the new ones.

    A generation is a folder ``<10-digit epoch>-<id>`` beside it, with ``<subdirectory>/config/quotaloop.yaml`` in it;
    it is never changed, and that of before stays for who is still reading it. Two deliveries at once are kept apart by
    the lease of a run. Raises ``OSError``.
    """

    def __init__(self, folder: Path, subdirectory: str) -> None:
        self.folder = folder
        self.link = folder / LINK
        self._subdirectory = subdirectory

    def epoch(self) -> int | None:
        """The greatest of what lies there, in force or not."""
        return max((_epoch(name) for name in self._generations()), default=None)

    def differences(self, epoch: int, data: bytes) -> list[str]:
        """What is not as if this had been put there last; for somebody to read."""
        try:
            name = self._linked()
        except CheckRefused as error:
            return [str(error)]
        if name is None:
            return [f"{self.link} is missing"]
        found = []
        if _epoch(name) != epoch:
            found.append(f"{self.link} holds policy {_epoch(name)}")
        elif self._files(name) != {FILE: data}:
            found.append(f"{self.link} is not policy {epoch} as published, somebody changed it")
        cut_off = sorted({_epoch(other) for other in self._generations() if _epoch(other) > _epoch(name)})
        return found + [f"a push of policy {other} was cut off" for other in cut_off]

    def put(self, epoch: int, data: bytes) -> None:
        """Make this the one in force, also after a power cut; raises ``CheckRefused`` where ``current`` is not ours."""
        before = self._linked()
        make_folder(self.folder)
        name = f"{epoch:010d}-{uuid.uuid4().hex}"
        file = self.folder / name / self._subdirectory / FILE
        make_folder(file.parent)
        reached("envoy_sink:begun")
        with open(file, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        sync_folder(file.parent)
        reached("envoy_sink:written")
        self._lead_to(name)
        reached("envoy_sink:linked")
        self._forget_all_but(name, before)

    def announce(self) -> None:
        """Put the link there once more, which makes a service read again that has missed it."""
        if name := self._linked():
            self._lead_to(name)

    def _lead_to(self, name: str) -> None:
        new = self.folder / f".{LINK}-{uuid.uuid4().hex}"
        new.symlink_to(name)
        reached("envoy_sink:link_made")
        new.replace(self.link)
        sync_folder(self.folder)

    def _linked(self) -> str | None:
        if not os.path.lexists(self.link):
            return None
        name = str(self.link.readlink()) if self.link.is_symlink() else ""
        if not _GENERATION.fullmatch(name):
            raise CheckRefused(f"{self.link} is not a link that this sink made: give it a folder of its own")
        return name

    def _generations(self) -> list[str]:
        try:
            return [path.name for path in self.folder.iterdir() if _GENERATION.fullmatch(path.name)]
        except FileNotFoundError:
            return []

    def _files(self, name: str) -> dict[str, bytes]:
        """All that the service would read of a generation."""
        root = self.folder / name / self._subdirectory
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def _forget_all_but(self, name: str, before: str | None) -> None:
        for path in list(self.folder.iterdir()):
            if _UNFINISHED.fullmatch(path.name):
                path.unlink(missing_ok=True)
            elif _GENERATION.fullmatch(path.name) and path.name not in (name, before):
                shutil.rmtree(path, ignore_errors=True)


def _epoch(name: str) -> int:
    return int(name.split("-")[0])
