"""A folder of its own for a demonstration, made anew each time."""

from __future__ import annotations

import shutil
from pathlib import Path

from quotaloop.errors import UsageError

_MARKER = ".made-by-a-quotaloop-demonstration"


def fresh_folder(folder: Path) -> Path:
    """The folder, empty; what an earlier demonstration left is removed, and nothing else: else ``UsageError``."""
    folder = folder.resolve()
    if folder.exists():
        if not (folder / _MARKER).exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} holds what no demonstration made: name a new folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARKER).touch()
    return folder
