"""The base of a cluster's ports: given, free, or the one that it had before."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from servers.failure import Failure
from servers.layout import DEFAULT_BASE, LOOPBACK
from servers.roster import PORTS

STEP = 100
# Below what Linux gives to clients on their way out (32768 and above), above what well-known servers have.
FREE_BASES = range(20000, 32000, STEP)


def base_of(folder: Path, wanted: str | None) -> int:
    """The base of the cluster in ``folder``: as ``wanted`` ("free", a number), else as remembered, else the default."""
    remembered = _remembered(folder)
    if wanted is None:
        return remembered or DEFAULT_BASE
    if wanted == "free":
        return remembered or _free()
    if not wanted.isdigit() or not 1024 <= int(wanted) <= 65535 - max(PORTS.values()):
        raise Failure(f"--ports {wanted}: neither `free` nor a number from 1024 to {65535 - max(PORTS.values())}")
    return int(wanted)


def remember(folder: Path, base: int) -> None:
    """Write the base and every port to ``ports.json``."""
    ports = {name: base + step for name, step in PORTS.items()}
    (folder / "ports.json").write_text(json.dumps({"base": base, **ports}, indent=2) + "\n", encoding="utf-8")


def taken(base: int, names: set[str]) -> list[int]:
    """Those of the named ports that somebody listens on."""
    return [base + PORTS[name] for name in sorted(names, key=PORTS.__getitem__) if not _bindable(base + PORTS[name])]


def _remembered(folder: Path) -> int | None:
    path = folder / "ports.json"
    return int(json.loads(path.read_text(encoding="utf-8"))["base"]) if path.exists() else None


def _free() -> int:
    for base in random.sample(FREE_BASES, len(FREE_BASES)):
        if not taken(base, set(PORTS)):
            return base
    raise Failure(f"no {len(PORTS)} ports are free together from {FREE_BASES[0]} to {FREE_BASES[-1]}")


def _bindable(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
