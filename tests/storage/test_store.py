"""What every store promises, held against each of them, and the URLs by which they are opened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quotaloop.errors import UsageError
from quotaloop.storage.address import open_store
from quotaloop.storage.local import LocalStore
from quotaloop.storage.store import Store


def local(folder: Path) -> Store:
    return LocalStore(folder / "store")


STORES: dict[str, Callable[[Path], Store]] = {"local": local}


@pytest.fixture(params=STORES, ids=str)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


def names(store: Store, folder: str = "") -> list[str]:
    return [info.path for info in store.files(folder)]


def test_what_is_written_is_read(store: Store) -> None:
    assert store.write_if_absent("a/b/c.txt", b"one")
    assert store.read("a/b/c.txt") == b"one"
    with store.open("a/b/c.txt") as file:
        assert (file.read(1), file.read()) == (b"o", b"ne")
    assert store.exists("a/b/c.txt")
    assert store.exists("a/b")
    assert not store.exists("a/c")
    (info,) = store.files("a")
    assert (info.path, info.size) == ("a/b/c.txt", 3)
    assert info.modified_ms > 1_600_000_000_000


def test_what_is_not_there_is_said_to_be_missing(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("none")
    with pytest.raises(FileNotFoundError):
        store.open("none")
    assert names(store) == names(store, "none") == []
    store.delete("none")


def test_a_file_is_on_disk_for_programs_that_open_paths(store: Store) -> None:
    store.write_if_absent("a/b", b"bytes")
    with store.on_disk("a/b") as path:
        assert path.read_bytes() == b"bytes"
    with pytest.raises(FileNotFoundError), store.on_disk("a/c"):
        pass


def test_the_first_to_take_a_name_keeps_it(store: Store) -> None:
    assert store.write_if_absent("claim", b"first")
    assert not store.write_if_absent("claim", b"second")
    assert store.read("claim") == b"first"
    with store.create() as pending:
        pending.write(b"third")
        assert not pending.commit("claim")
    assert store.read("claim") == b"first"
    assert names(store) == ["claim"]


def test_of_many_writers_at_once_exactly_one_wins(store: Store) -> None:
    start = threading.Barrier(8)
    won: list[int] = []

    def write(number: int) -> None:
        start.wait()
        if store.write_if_absent("x/claim", b"%d" % number):
            won.append(number)

    for attempt in range(20):
        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == attempt + 1
        assert store.read("x/claim") == b"%d" % won[-1]
        store.delete("x")


def test_a_reader_of_a_replaced_file_sees_the_old_or_the_new_one_whole(store: Store) -> None:
    contents = [bytes([letter]) * 200_000 for letter in b"ab"]
    store.replace("CURRENT", contents[0])
    done = threading.Event()
    seen: list[bytes] = []

    def look() -> None:
        while not done.is_set():
            seen.append(store.read("CURRENT"))

    reader = threading.Thread(target=look)
    reader.start()
    for turn in range(100):
        store.replace("CURRENT", contents[turn % 2])
    done.set()
    reader.join()
    assert seen
    assert {content for content in seen if content not in contents} == set()
    assert names(store) == ["CURRENT"]


def test_files_are_listed_in_the_order_of_their_whole_paths(store: Store) -> None:
    paths = ["a/10", "a/9", "a-b", "a/b/c", "B", "a.txt", "a0", "raw/p=00010/x", "raw/p=00002/y"]
    for path in paths:
        store.write_if_absent(path, b"")
    assert names(store) == sorted(paths)
    assert names(store, "a") == ["a/10", "a/9", "a/b/c"]
    assert names(store, "raw") == ["raw/p=00002/y", "raw/p=00010/x"]


def test_a_file_in_the_making_has_no_name_and_without_a_commit_gets_none(store: Store) -> None:
    with store.create() as pending:
        pending.write(b"half")
        assert names(store) == []
    assert names(store) == []

    def fail() -> None:
        with store.create() as pending:
            pending.write(b"half")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail()
    assert names(store) == []


def test_files_in_the_making_are_told_apart(store: Store) -> None:
    with store.create() as one, store.create() as two:
        one.write(b"1")
        two.write(b"2")
        one.write(b"1")
        assert two.commit("two")
        assert one.commit("one")
    assert (store.read("one"), store.read("two")) == (b"11", b"2")


def test_a_folder_is_deleted_with_all_below_it_and_nothing_else(store: Store) -> None:
    for path in ("a/b/c", "a/d", "ab", "e"):
        store.write_if_absent(path, b"")
    store.delete("a")
    store.delete("e")
    assert names(store) == ["ab"]


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "a/..", ".."])
def test_paths_out_of_the_store_are_refused_by_every_verb(store: Store, path: str, tmp_path: Path) -> None:
    store.write_if_absent("a/x", b"")
    verbs: list[Callable[[], object]] = [
        lambda: store.read(path),
        lambda: store.open(path),
        lambda: store.exists(path),
        lambda: store.write_if_absent(path, b""),
        lambda: store.replace(path, b""),
        lambda: list(store.files(path)),
        lambda: store.delete(path),
        lambda: store.uri(path),
        lambda: store.on_disk(path).__enter__(),
    ]
    for verb in verbs:
        with pytest.raises(ValueError, match="not a path inside"):
            verb()
    assert names(store) == ["a/x"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


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
    assert names(open_store(url)) == []
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == 1  # it had begun


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///a/b", "/a/b"),
        ("file://localhost/a/b", "/a/b"),
        ("file:///a%20b/%C3%A9", "/a b/\u00e9"),
        ("/a/b", "/a/b"),
        ("/a b/%20", "/a b/%20"),
    ],
)
def test_a_file_url_and_a_plain_path_open_the_folder(url: str, path: str) -> None:
    store = open_store(url)
    assert isinstance(store, LocalStore)
    assert store.path("x") == Path(path) / "x"


@pytest.mark.parametrize("url", ["file:store", "store", "./store"])
def test_a_relative_path_is_taken_from_here(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store(url).write_if_absent("x", b"1")
    assert (tmp_path / "store" / "x").read_bytes() == b"1"


@pytest.mark.parametrize("url", ["", "file:", "file://", "file://host/a", "s3://bucket/a", "ftp:a"])
def test_other_urls_are_refused_as_a_wrong_call(url: str) -> None:
    with pytest.raises(UsageError, match="store"):
        open_store(url)
