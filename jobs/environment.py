"""The installed packages as one archive, for nodes that have Python alone; ``python -m jobs.environment`` says where.

Unpacked under the name ``environment``, its ``bin/python`` runs the node's own Python of the same version with these
packages. The project's own code is not in it: that travels as the zip of ``jobs.shipping``.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path
from sysconfig import get_platform

from jobs.shipping import cache
from quotaloop.errors import QuotaloopError

NAME = "environment"
PYTHON = f"./{NAME}/bin/python"
_ROOT = "quotaloop"
_EXTRAS = ("mapreduce", "backtest")
_LAUNCHER = f"""#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd -P)
export PYTHONPATH="$here/packages${{PYTHONPATH:+:$PYTHONPATH}}"
exec python{sys.version_info[0]}.{sys.version_info[1]} "$@"
"""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*(?:;(.*))?")


def archive() -> Path:
    """The archive of what is installed here; it is made once for the same files on the same kind of machine.

    Raises ``QuotaloopError`` for a package whose files nobody has listed.
    """
    found = sorted(_distributions().values(), key=lambda item: item.name.lower())
    listed = "".join(f"{item.name}=={item.version}\n{_listing(item)}" for item in found)
    digest = hashlib.sha256((get_platform() + listed + _LAUNCHER).encode()).hexdigest()[:16]
    target = cache() / f"quotaloop-environment-{digest}.tar.gz"
    if not target.exists():
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".making-", delete=False) as draft:
            _write(Path(draft.name), found)
        Path(draft.name).replace(target)
    return target


def _distributions() -> dict[str, Distribution]:
    """What the project needs on a node, with all that this needs in turn, as far as it is installed."""
    found: dict[str, Distribution] = {}
    left: list[tuple[str, tuple[str, ...]]] = [(_ROOT, _EXTRAS)]
    while left:
        name, extras = left.pop()
        try:
            item = distribution(name)
        except PackageNotFoundError:  # of an optional requirement
            continue
        if name != _ROOT:
            found[name] = item
        left.extend((wanted, ()) for wanted in _required(item, extras) if wanted not in found)
    return found


def _listing(item: Distribution) -> str:
    """The files of a package with their digests."""
    if not item.files:
        raise QuotaloopError(
            f"{item.name} was installed without a list of its files, so that it cannot be shipped: install it with pip"
        )
    return "".join(f"{file} {file.hash.value if file.hash else ''}\n" for file in item.files)


def _required(item: Distribution, extras: tuple[str, ...]) -> Iterator[str]:
    for line in item.requires or ():
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        marker = match[2] or ""
        if "extra" not in marker or any(f"'{extra}'" in marker.replace('"', "'") for extra in extras):
            yield match[1].lower().replace("_", "-")


def _write(target: Path, found: list[Distribution]) -> None:
    with tarfile.open(target, "w:gz", compresslevel=1) as tar:
        launcher = tarfile.TarInfo("bin/python")
        launcher.size, launcher.mode = len(_LAUNCHER.encode()), 0o755
        tar.addfile(launcher, BytesIO(_LAUNCHER.encode()))
        for item in found:
            for file in item.files or ():
                path = Path(str(file.locate()))
                if not file.parts[0].startswith("..") and "__pycache__" not in file.parts and path.is_file():
                    tar.add(path, f"packages/{file.as_posix()}", recursive=False)


if __name__ == "__main__":
    sys.stdout.write(f"{archive()}\n")
