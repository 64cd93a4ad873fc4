"""The code as one zip: what Spark's ``--py-files`` and mrjob ship; ``python -m jobs.shipping`` says where it is."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from zipimport import zipimporter

PACKAGES = ("quotaloop", "jobs")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can state


def code_zip() -> Path:
    """The zip of ``quotaloop`` and ``jobs`` as they are imported here; same code, same bytes, same path.

    It is made once a digest of the code, in the cache directory. Called from code that itself was imported from such a
    zip, it is that one.
    """
    shipped = imported_from_zip()
    if shipped is not None:
        return shipped
    files = [(name, path.read_bytes()) for name, path in _files()]
    digest = hashlib.sha256()
    for name, content in files:
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(content), content))
    target = cache() / f"quotaloop-code-{digest.hexdigest()[:16]}.zip"
    if not target.exists():
        _write(target, files)
    return target


def imported_from_zip() -> Path | None:
    """The zip that this process imports ``quotaloop`` from, if it does."""
    spec = find_spec(PACKAGES[0])
    return Path(spec.loader.archive) if spec and isinstance(spec.loader, zipimporter) else None


def _files() -> Iterator[tuple[str, Path]]:
    """Modules and data of the packages with their names in the zip, in order."""
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"package {package} cannot be found, so that it cannot be shipped")
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            inner = path.relative_to(root)
            hidden = any(part == "__pycache__" or part.startswith(".") for part in inner.parts)
            if path.is_file() and not hidden and path.suffix != ".pyc":
                yield f"{package}/{inner.as_posix()}", path


def _write(target: Path, files: list[tuple[str, bytes]]) -> None:
    """Under a name of its own, then renamed: whoever sees the target sees all of it."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".making-")
    try:
        with os.fdopen(handle, "wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive:
            for inner, content in files:
                entry = zipfile.ZipInfo(inner, _EPOCH)
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                archive.writestr(entry, content)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)


def cache() -> Path:
    """The user's cache directory, or one of this user alone beside other temporary files."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    for folder in (Path(home) / "quotaloop", Path(tempfile.gettempdir()) / f"quotaloop-{os.getuid()}"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="quotaloop-"))


if __name__ == "__main__":
    sys.stdout.write(f"{code_zip()}\n")
