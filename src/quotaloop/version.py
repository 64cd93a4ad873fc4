"""The version of everything that can change a row: the package's number and a digest of its code."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

import quotaloop
from quotaloop.settings import Settings

# What takes part in making rows; a change elsewhere (a message, a sink) does not make a day be built again.
_ROWS = (
    ("quotaloop", ("events", "parsed", "marts")),
    ("jobs", ("spark",)),
)


@cache
def code_version() -> str:
    """For example ``0.1.0+3f9a1c20b7de``."""
    digest = hashlib.sha256()
    for package, rooms in _ROWS:
        root = resources.files(package)
        for room in rooms:
            _digest(root / room, room, digest)
    for module in ("latency.py", "raw/record.py"):
        digest.update(resources.files(quotaloop).joinpath(module).read_bytes())
    return f"{quotaloop.__version__}+{digest.hexdigest()[:12]}"


@cache
def checks_version() -> str:
    """A digest of the code that counts again and judges; what another one left behind is not used."""
    digest = hashlib.sha256()
    for room in ("mapreduce", "audit"):
        _digest(resources.files("jobs") / room, room, digest)
    return digest.hexdigest()[:12]


def fingerprint(settings: Settings) -> str:
    """One word for code version and the settings that touch rows; carried over is only what has the same."""
    document = json.dumps([code_version(), settings.rows_only()], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()[:16]


def _digest(folder: Traversable, name: str, digest: hashlib._Hash) -> None:
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        path = f"{name}/{entry.name}"
        if entry.is_dir() and not entry.name.startswith("_"):
            _digest(entry, path, digest)
        elif entry.name.endswith(".py"):
            digest.update(path.encode() + b"\0" + entry.read_bytes() + b"\0")
