"""The store on a local disk: what it keeps when a process, a disk or a folder fails."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from quotaloop.storage.local import LocalStore
from quotaloop.storage.store import Store


def names(store: Store, folder: str = "") -> list[str]:
    return [info.path for info in store.files(folder)]


def test_a_writer_that_is_killed_leaves_nothing_that_can_be_seen(tmp_path: Path) -> None:
    program = """
        import os, signal, sys
        from quotaloop.storage.address import open_store
        store = open_store(sys.argv[1])
        with store.create() as pending:
            pending.write(b"half a file")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    url = f"file://{tmp_path}/store"
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program), url], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert names(LocalStore(tmp_path / "store")) == []
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 1  # it had begun


def test_a_disk_that_takes_no_more_keeps_nothing_half_written(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.replace("CURRENT", b"old")
    verbs: list[Callable[[], object]] = [
        lambda: store.write_if_absent("a", b"new"),
        lambda: store.replace("CURRENT", b"new"),
    ]
    for verb in verbs:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                verb()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.read("CURRENT") == b"old"
    assert names(LocalStore(tmp_path)) == ["store/CURRENT"]


def test_new_folders_are_synced_and_those_that_are_there_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink()))

    def folders() -> list[Path]:
        return sorted({path for path in synced if path.is_dir()})

    store = LocalStore(tmp_path / "new" / "store")
    store.write_if_absent("a/b/file", b"")
    above = [tmp_path, tmp_path / "new", store.root, store.root / "a"]
    assert folders() == [*above, store.root / "a" / "b"]
    synced.clear()
    store.write_if_absent("a/b/other", b"")
    assert folders() == [store.root / "a" / "b"]


@pytest.mark.parametrize(("number", "is_said"), [(errno.EACCES, True), (errno.EIO, True), (errno.ENOENT, False)])
def test_a_folder_that_cannot_be_read_is_an_error_and_not_a_short_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_said: bool
) -> None:
    store = LocalStore(tmp_path)
    for path in ("raw/p=0/x", "raw/p=1/x"):
        store.write_if_absent(path, b"")
    scandir = os.scandir

    def spoiled(path: str) -> object:
        if str(path).endswith("p=1"):
            raise OSError(number, os.strerror(number), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", spoiled)
    if is_said:
        with pytest.raises(OSError, match=os.strerror(number)):
            store.files("raw")
    else:
        assert names(store, "raw") == ["raw/p=0/x"]
