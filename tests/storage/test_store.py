"""What every store promises, held against each of them."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quotaloop.storage.address import open_store
from quotaloop.storage.hdfs import HdfsStore
from quotaloop.storage.local import LocalStore
from quotaloop.storage.store import Store
from tests.storage.stores import hdfs_store


@pytest.fixture(params=["local", pytest.param("hdfs", marks=pytest.mark.cluster)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(tmp_path / "a store")
    return hdfs_store(request.getfixturevalue("hdfs_cluster"))


def turns(store: Store, most: int) -> int:
    """How often to try what goes wrong now and then; a write to HDFS takes up to half a second."""
    return most if isinstance(store, LocalStore) else most // 5


def around(store: Store) -> Store:
    """The folder that the store lies in, alone."""
    if isinstance(store, HdfsStore):
        return open_store(store.url.rpartition("/")[0], webhdfs=store.webhdfs, user=store.user)
    assert isinstance(store, LocalStore)
    return LocalStore(store.root.parent)


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


@pytest.mark.parametrize("size", [0, 1, 5_000_000, 20_000_001])
def test_files_of_any_size_are_written_piece_by_piece_and_read_in_any_way(store: Store, size: int) -> None:
    data = os.urandom(size)
    with store.create() as pending:
        for start in range(0, size, 999_999):
            assert pending.write(data[start : start + 999_999]) == len(data[start : start + 999_999])
        assert pending.commit("file")
    (info,) = store.files("")
    assert info.size == size
    assert store.read("file") == data
    with store.open("file") as file:
        pieces = iter(lambda: file.read(77_777), b"")
        assert b"".join(pieces) == data
    with store.open("file") as file:
        assert b"".join(file) == data
        file.seek(size // 2)
        assert file.read() == data[size // 2 :]
        assert file.seek(0, os.SEEK_END) == file.tell() == size
    with store.all_on_disk(["file"]) as (path,):
        assert path.read_bytes() == data


def test_names_may_hold_what_has_a_meaning_elsewhere(store: Store) -> None:
    paths = [
        "a b/c",
        "100%/x",
        "%20",
        "#LATEST",
        "a#b",
        "why?/x",
        "a&b=c;d+e",
        "[x]*{y}",
        "~",
        "it's",
        "\u00e9 \u4e2d/\U0001f600",
    ]
    for path in paths:
        assert store.write_if_absent(path, path.encode())
    assert names(store) == sorted(paths)
    for path in paths:
        assert store.read(path) == path.encode()
        assert store.exists(path)
        with store.all_on_disk([path]) as (copy,):
            assert copy.read_bytes() == path.encode()
        store.replace(path, b"new")
        assert [info.size for info in store.files("") if info.path == path] == [3]
        store.delete(path)
    assert names(store) == []


def test_a_copy_on_disk_is_gone_when_nobody_needs_it(store: Store) -> None:
    store.write_if_absent("a", b"1")
    with store.all_on_disk(["a"]) as (path,):
        assert path.exists()
    assert path.exists() == isinstance(store, LocalStore)


def test_a_store_can_be_sent_to_another_process(store: Store) -> None:
    store.write_if_absent("a", b"1")
    there = pickle.loads(pickle.dumps(store))
    assert (there.read("a"), there.url) == (b"1", store.url)


def test_what_is_not_there_is_said_to_be_missing(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("none")
    with pytest.raises(FileNotFoundError):
        store.open("none")
    assert names(store) == names(store, "none") == []
    store.delete("none")


def test_a_file_is_on_disk_for_programs_that_open_paths(store: Store) -> None:
    store.write_if_absent("a/b", b"bytes")
    with store.all_on_disk(["a/b"]) as (path,):
        assert path.read_bytes() == b"bytes"
    with pytest.raises(FileNotFoundError), store.all_on_disk(["a/c"]):
        pass
    paths = [f"many/{number}" for number in range(20)]
    for path in paths:
        store.write_if_absent(path, path.encode())
    with store.all_on_disk([*paths, "a/b", *paths]) as files:
        assert [file.read_text() for file in files] == [*paths, "bytes", *paths]
    with pytest.raises(FileNotFoundError), store.all_on_disk([*paths, "a/c"]):
        pass
    with store.all_on_disk([]) as files:
        assert files == []


def test_the_first_to_take_a_name_keeps_it(store: Store) -> None:
    assert store.write_if_absent("claim", b"first")
    assert not store.write_if_absent("claim", b"second")
    assert store.read("claim") == b"first"
    with store.create() as pending:
        pending.write(b"third")
        assert not pending.commit("claim")
    assert store.read("claim") == b"first"
    assert names(store) == ["claim"]
    assert names(around(store)) == ["a store/claim"]  # the losers left nothing under other names


def test_a_folder_is_a_name_that_is_taken(store: Store) -> None:
    store.write_if_absent("claim/a", b"there")
    assert not store.write_if_absent("claim", b"late")
    assert names(around(store)) == ["a store/claim/a"]


def test_of_many_writers_at_once_exactly_one_wins(store: Store) -> None:
    start = threading.Barrier(8)
    won: list[int] = []

    def write(number: int) -> None:
        start.wait()
        if store.write_if_absent("x/claim", b"%d" % number):
            won.append(number)

    for attempt in range(turns(store, 20)):
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
    for turn in range(turns(store, 100)):
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
    half = b"half" * 2_500_000
    with store.create() as pending:
        pending.write(half)
        assert names(store) == []
    assert names(around(store)) == []

    def fail() -> None:
        with store.create() as pending:
            pending.write(half)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        fail()
    assert names(around(store)) == []


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
def test_paths_out_of_the_store_are_refused_by_every_verb(store: Store, path: str) -> None:
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
        lambda: store.all_on_disk([path]).__enter__(),
        lambda: store.all_on_disk([path]).__enter__(),
    ]
    for verb in verbs:
        with pytest.raises(ValueError, match="not a path inside"):
            verb()
    assert names(store) == ["a/x"]
    assert names(around(store)) == ["a store/a/x"]
