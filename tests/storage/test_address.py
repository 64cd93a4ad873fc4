"""The URLs by which stores are opened, and those that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from quotaloop.errors import UsageError
from quotaloop.storage.address import open_store
from quotaloop.storage.hdfs import HdfsStore
from quotaloop.storage.local import LocalStore


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


@pytest.mark.parametrize("url", ["/a#b", "/a?b", "a#b"])
def test_a_plain_path_holds_what_has_a_meaning_in_a_url(url: str) -> None:
    store = open_store(url)
    assert isinstance(store, LocalStore)
    assert store.root == Path(url).absolute()


@pytest.mark.parametrize("url", ["file:store", "store", "./store"])
def test_a_relative_path_is_taken_from_here(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_store(url).write_if_absent("x", b"1")
    assert (tmp_path / "store" / "x").read_bytes() == b"1"


@pytest.mark.parametrize(
    "url",
    [
        *("", "file:", "file://", "file://host/a", "s3://bucket/a", "ftp:a"),
        *("hdfs:///a", "hdfs:a", "hdfs://host", "hdfs://host:9000/", "hdfs://host/a/../b"),
        *("hdfs://host:port/a", "hdfs://host:70000/a", "hdfs://host:/a", "hdfs://[::1/a"),
        *("file:///a#b", "file:///a?b", "file:a#b", "hdfs://host:9000/a#b", "hdfs://host:9000/a?b", "hdfs://host/a#"),
    ],
)
def test_other_urls_are_refused_as_a_wrong_call(url: str) -> None:
    with pytest.raises(UsageError, match="store"):
        open_store(url)


def test_an_hdfs_url_names_the_namenode_and_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HADOOP_USER_NAME", "operator")
    store = open_store("hdfs://one:8020/a%20b/c")
    assert isinstance(store, HdfsStore)
    assert (store.url, store.uri("x y/z")) == ("hdfs://one:8020/a%20b/c", "hdfs://one:8020/a b/c/x y/z")
    assert (store.webhdfs, store.user) == ("http://one:9870", "operator")
    told = open_store("hdfs://cluster/a", webhdfs="http://one:9870;http://two:9870", user="me", patience_ms=1)
    assert isinstance(told, HdfsStore)
    assert (told.webhdfs, told.user, told.patience_ms) == ("http://one:9870;http://two:9870", "me", 1)
    for wrong in ("one:9870", "http://one:port", "http://", "http://one:9870;http://two:99999"):
        with pytest.raises(UsageError, match="webhdfs"):
            open_store("hdfs://one/a", webhdfs=wrong)
