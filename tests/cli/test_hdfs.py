"""The command line on HDFS: what it says when nobody is there, and answers from a release that lies there."""

from __future__ import annotations

import time

import pytest

from tests.cli.conftest import Call
from tests.marts.handmade import Handmade
from tests.servers import Cluster
from tests.storage.stores import hdfs_store


@pytest.mark.parametrize("words", [("status",), ("land", "files", __file__, "--topic", "t"), ("sql", "SELECT 1")])
def test_a_namenode_that_is_not_there_is_exit_5_in_one_line_and_soon(
    call: Call, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("QUOTALOOP_PATIENCE", "200ms")
    monkeypatch.setenv("QUOTALOOP_WEBHDFS", "http://127.0.0.1:1")
    began = time.monotonic()
    said = call("--store", "hdfs://127.0.0.1:1/x", *words)
    assert time.monotonic() - began < 10
    assert said.code == 5
    assert said.error.startswith("HDFS at http://127.0.0.1:1 does not answer")
    assert "webhdfs" in said.error


@pytest.mark.cluster
def test_a_release_on_hdfs_answers_as_the_same_one_on_a_disk(
    call: Call, released: Handmade, hdfs_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = hdfs_store(hdfs_cluster)
    for info in released.store.files(""):
        assert there.write_if_absent(info.path, released.store.read(info.path))
    monkeypatch.setenv("QUOTALOOP_WEBHDFS", there.webhdfs)
    for words in (
        ("sql", "SELECT tenant, requests FROM usage_hourly"),
        ("sql", "SELECT lines FROM query('FROM ingest_ledger')"),
        ("sql", "SHOW TABLES"),
        ("release", "show"),
    ):
        here = call(*words, "--json")
        assert here.code == 0
        assert call("--store", there.url, *words, "--json").json == here.json
    there.replace("CURRENT", b"damaged")
    assert call("--store", there.url, "status").code == 0  # mends the pointer
    assert int(there.read("CURRENT")) == 1


@pytest.mark.cluster
def test_a_file_on_hdfs_that_was_changed_is_exit_4(
    call: Call, released: Handmade, hdfs_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = hdfs_store(hdfs_cluster)
    monkeypatch.setenv("QUOTALOOP_WEBHDFS", there.webhdfs)
    for info in released.store.files(""):
        data = released.store.read(info.path)
        flipped = data[:-1] + bytes([data[-1] ^ 1]) if "usage_hourly" in info.path else data
        assert there.write_if_absent(info.path, flipped)
    said = call("--store", there.url, "sql", "SELECT * FROM usage_hourly")
    assert (said.code, "checksum mismatch" in said.error) == (4, True)
    assert call("--store", there.url, "sql", "SELECT * FROM ingest_ledger").code == 0
