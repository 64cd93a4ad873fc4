"""The store on HDFS where the network and the servers do not behave: real servers, killed and stopped."""

from __future__ import annotations

import io
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from quotaloop.errors import QuotaloopError, ServiceUnreachable
from quotaloop.storage.hdfs import HdfsStore
from quotaloop.storage.store import Store
from tests.servers import Cluster
from tests.storage.stores import Connection, badly_connected, hdfs_store

pytestmark = pytest.mark.cluster

MIB = 1 << 20
LARGE = bytes(range(256)) * (48 * MIB // 256)  # more than lies in the buffers between a DataNode and us
SOON_S = 15.0  # in which everything impatient is over, on a busy machine too


@pytest.fixture
def store(hdfs_cluster: Cluster) -> HdfsStore:
    return hdfs_store(hdfs_cluster)


@pytest.fixture
def servers(hdfs_cluster: Cluster) -> Iterator[Cluster]:
    """Servers to kill and stop; they are mended afterwards."""
    yield hdfs_cluster
    hdfs_cluster.up("namenode", "datanode")


@pytest.fixture
def line(hdfs_cluster: Cluster) -> Iterator[Connection]:
    with badly_connected(hdfs_cluster.environment["QUOTALOOP_WEBHDFS"]) as connection:
        yield connection


def names(store: Store, folder: str = "") -> list[str]:
    return [info.path for info in store.files(folder)]


def in_the_making(cluster: Cluster, store: HdfsStore) -> list[str]:
    """Files without a name yet, which no listing of the store shows."""
    return names(hdfs_store(cluster, url=f"{store.url}/_tmp"))


def same_by(store: HdfsStore, cluster: Cluster, line: Connection, **more: Any) -> HdfsStore:
    """The same folder, over the bad connection."""
    return hdfs_store(cluster, url=store.url, webhdfs=line.url, **more)


def test_more_files_than_a_namenode_lists_at_once_are_all_listed(hdfs_cluster: Cluster, store: HdfsStore) -> None:
    paths = [f"{folder}/{number:05d}" for folder in ("a", "a b", "b/c") for number in range(1_050)]
    hdfs_cluster.hadoop("fs", "-mkdir", "-p", *(store.uri(folder) for folder in ("a", "a b", "b/c")))
    hdfs_cluster.hadoop("fs", "-touchz", *map(store.uri, paths))
    assert names(store) == sorted(paths)
    assert names(store, "b") == paths[2_100:]


def test_a_folder_that_vanishes_while_it_is_listed_is_empty(hdfs_cluster: Cluster, store: HdfsStore) -> None:
    for path in ("a/1", "b/2", "b/c/3"):
        store.write_if_absent(path, b"")

    class Listed(HdfsStore):
        def _listing(self, folder: str) -> list[dict[str, Any]]:
            found = super()._listing(folder)
            if folder == "":
                store.delete("b")
            return found

    others = Listed(store.authority, store.root, webhdfs=store.webhdfs, user=store.user, patience_ms=store.patience_ms)
    assert names(others) == ["a/1"]
    assert in_the_making(hdfs_cluster, store) == []


def test_a_store_travels_to_other_processes_without_its_connections(store: HdfsStore) -> None:
    store.write_if_absent("a", b"1")
    sent = pickle.dumps(store)
    arrived = pickle.loads(sent)
    assert len(sent) < 1_000
    assert (arrived.read("a"), arrived.url, arrived.uri("a")) == (b"1", store.url, store.uri("a"))


def test_hadoop_finds_a_file_by_its_uri(hdfs_cluster: Cluster, store: HdfsStore) -> None:
    store.write_if_absent("p=1/100% a#b", b"content")
    assert hdfs_cluster.hadoop("fs", "-cat", store.uri("p=1/100% a#b")) == "content"


def test_a_colon_in_a_name_is_refused_in_one_line(hdfs_cluster: Cluster, store: HdfsStore) -> None:
    with pytest.raises(QuotaloopError, match=r"\A[^\n]*Invalid[^\n]*a:b[^\n]*\Z"):
        store.write_if_absent("a:b", b"")
    assert in_the_making(hdfs_cluster, store) == []


def test_what_hdfs_does_not_allow_is_said_in_one_line(hdfs_cluster: Cluster, store: HdfsStore) -> None:
    store.write_if_absent("a", b"")
    other = hdfs_store(hdfs_cluster, url=store.url, user="somebody")
    with pytest.raises(QuotaloopError, match=r"\A[^\n]*Permission denied: user=somebody[^\n]*hdfs_user\Z") as caught:
        other.write_if_absent("b", b"")
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("size", [3, 2 * len(LARGE)])
def test_a_writer_without_room_is_told_so_in_one_line(hdfs_cluster: Cluster, store: HdfsStore, size: int) -> None:
    store.write_if_absent("a", b"")
    admin = "org.apache.hadoop.hdfs.tools.DFSAdmin"
    hdfs_cluster.java(admin, "-setSpaceQuota", "10m", f"{store.root}")
    with pytest.raises(QuotaloopError, match=r"\A[^\n]*The DiskSpace quota of [^\n]*\Z") as caught:
        store.write_if_absent("b", bytes(size))
    assert caught.value.exit_code == 1
    assert names(store) == ["a"]


@pytest.mark.parametrize("size", [3, 9 * MIB])
def test_a_writer_who_did_not_hear_that_it_won_has_won(
    hdfs_cluster: Cluster, store: HdfsStore, line: Connection, size: int
) -> None:
    store.write_if_absent("f/other", b"")  # the folder is there, so that the first rename is carried out
    line.lose_answer("RENAME")
    assert same_by(store, hdfs_cluster, line).write_if_absent("f/claim", b"x" * size)
    assert store.read("f/claim") == b"x" * size
    assert not line.after


def test_a_writer_who_was_not_heard_tries_again(hdfs_cluster: Cluster, store: HdfsStore, line: Connection) -> None:
    for operation in ("CREATE", "RENAME", "MKDIRS", "GETFILESTATUS"):
        line.lose_request(operation)
    assert same_by(store, hdfs_cluster, line).write_if_absent("f/claim", b"mine")
    assert store.read("f/claim") == b"mine"
    assert in_the_making(hdfs_cluster, store) == []


def test_a_writer_who_was_not_heard_loses_to_the_one_who_was(
    hdfs_cluster: Cluster, store: HdfsStore, line: Connection
) -> None:
    line.lose_request("RENAME", meanwhile=lambda: store.write_if_absent("claim", b"theirs"))
    assert not same_by(store, hdfs_cluster, line).write_if_absent("claim", b"mine")
    assert store.read("claim") == b"theirs"
    assert in_the_making(hdfs_cluster, store) == []


def test_a_replacement_of_which_nobody_heard_is_made_once(
    hdfs_cluster: Cluster, store: HdfsStore, line: Connection
) -> None:
    """The second one came after ours: to try ours again would undo it."""
    store.replace("CURRENT", b"old")
    line.lose_answer("RENAME", meanwhile=lambda: store.replace("CURRENT", b"theirs, later"))
    same_by(store, hdfs_cluster, line).replace("CURRENT", b"ours")
    assert store.read("CURRENT") == b"theirs, later"


def test_a_read_whose_answer_is_lost_is_tried_again(hdfs_cluster: Cluster, store: HdfsStore, line: Connection) -> None:
    store.write_if_absent("a/b", b"content")
    far = same_by(store, hdfs_cluster, line)
    for operation in ("OPEN", "LISTSTATUS", "GETFILESTATUS"):
        line.lose_answer(operation)
    assert (far.read("a/b"), names(far), far.exists("a/b")) == (b"content", ["a/b"], True)


def test_a_reader_goes_on_where_a_datanode_was_killed(servers: Cluster, store: HdfsStore) -> None:
    store.write_if_absent("large", LARGE)
    with store.open("large") as file:
        begun = file.read(MIB)
        servers.kill("datanode")
        servers.start("datanode")
        assert begun + file.read() == LARGE


def test_a_reader_whose_datanode_stays_away_gets_an_error_and_not_a_short_file(
    servers: Cluster, store: HdfsStore
) -> None:
    store.write_if_absent("large", LARGE)
    impatient = hdfs_store(servers, url=store.url, patience_ms=500)
    with impatient.open("large") as file:
        file.read(MIB)
        servers.kill("datanode")
        with pytest.raises(ServiceUnreachable, match=r"\A[^\n]*(DataNode|cannot do it now)[^\n]*\Z"):
            file.read()
    for read in (lambda: impatient.read("large"), lambda: impatient.all_on_disk(["large"]).__enter__()):
        with pytest.raises(ServiceUnreachable):
            read()


def test_a_writer_whose_datanode_is_killed_gets_an_error_and_nothing_is_visible(
    servers: Cluster, store: HdfsStore
) -> None:
    impatient = hdfs_store(servers, url=store.url, patience_ms=2_000)
    written = []

    def write() -> None:
        with impatient.create() as pending:
            written.append(pending.write(LARGE))
            servers.kill("datanode")
            pending.write(LARGE)
            pending.commit("large")

    with pytest.raises(ServiceUnreachable, match=r"\A[^\n]*DataNode[^\n]*cut off[^\n]*run it again\Z"):
        write()
    with pytest.raises(ServiceUnreachable):
        impatient.write_if_absent("small", b"1")
    assert written == [len(LARGE)]
    assert names(store) == []


def test_a_namenode_that_comes_back_in_time_is_waited_for(servers: Cluster, store: HdfsStore) -> None:
    store.write_if_absent("a", b"1")
    patient = hdfs_store(servers, url=store.url, patience_ms=90_000)
    with patient.create() as pending:
        pending.write(LARGE)
        servers.kill("namenode")
        back = threading.Thread(target=servers.start, args=("namenode",))
        back.start()
        assert patient.read("a") == b"1"
        assert patient.write_if_absent("b", b"2")
        assert names(patient) == ["a", "b"]
        back.join()


def test_a_namenode_that_stays_away_is_an_error_soon(servers: Cluster, store: HdfsStore) -> None:
    impatient = hdfs_store(servers, url=store.url, patience_ms=500)
    servers.kill("namenode")
    began = time.monotonic()
    with pytest.raises(ServiceUnreachable, match=r"\AHDFS at http://[^\n]*connection refused[^\n]*webhdfs[^\n]*\Z"):
        impatient.read("a")
    assert time.monotonic() - began < SOON_S


def test_safe_mode_is_waited_for_and_then_an_error(servers: Cluster, store: HdfsStore) -> None:
    store.write_if_absent("a", b"1")
    impatient = hdfs_store(servers, url=store.url, patience_ms=500)
    admin = "org.apache.hadoop.hdfs.tools.DFSAdmin"
    servers.java(admin, "-safemode", "enter")
    try:
        assert impatient.read("a") == b"1"
        for write in (lambda: impatient.write_if_absent("b", b"2"), lambda: impatient.replace("a", b"2")):
            with pytest.raises(ServiceUnreachable, match=r"\AHDFS at http://[^\n]* is in safe mode [^\n]*\Z"):
                write()
        with pytest.raises(ServiceUnreachable, match="safe mode"):
            impatient.delete("a")
    finally:
        servers.java(admin, "-safemode", "leave")
    assert names(store) == ["a"]


def test_a_datanode_that_hangs_is_not_waited_for_longer_than_asked(servers: Cluster, store: HdfsStore) -> None:
    store.write_if_absent("large", LARGE)
    impatient = hdfs_store(servers, url=store.url, patience_ms=1_000)
    with impatient.open("large") as file, impatient.create() as pending:
        file.read(1)
        pending.write(LARGE)
        servers.kill("datanode", "STOP")
        try:
            for verb in (
                file.read,
                lambda: impatient.read("large"),
                lambda: impatient.write_if_absent("b", b""),
                lambda: pending.write(LARGE),
            ):
                began = time.monotonic()
                with pytest.raises(ServiceUnreachable, match=r"\A[^\n]*no answer in time[^\n]*\Z"):
                    verb()
                assert time.monotonic() - began < SOON_S
        finally:
            servers.kill("datanode", "CONT")
    assert names(store) == ["large"]


def test_of_several_namenodes_the_one_that_answers_is_asked(hdfs_cluster: Cluster, store: HdfsStore) -> None:
    store.write_if_absent("a", b"1")
    both = hdfs_store(hdfs_cluster, url=store.url, webhdfs=f"http://127.0.0.1:1;{store.webhdfs}")
    assert (both.read("a"), both.write_if_absent("b", b"2"), names(both)) == (b"1", True, ["a", "b"])


def test_what_is_no_namenode_is_told_apart(hdfs_cluster: Cluster) -> None:
    rpc = hdfs_cluster.environment["HDFS_URL"].replace("hdfs:", "http:")
    with pytest.raises(
        ServiceUnreachable, match=r"\A[^\n]*is setting webhdfs the address of the NameNode's web server[^\n]*\Z"
    ):
        hdfs_store(hdfs_cluster, webhdfs=rpc, patience_ms=300).exists("a")


def test_a_large_file_is_sought_in_without_being_read_through(store: HdfsStore) -> None:
    store.write_if_absent("large", LARGE)
    with store.open("large") as file:
        assert file.seek(-3, io.SEEK_END) == len(LARGE) - 3
        assert file.read() == LARGE[-3:]
        file.seek(MIB + 1)
        assert file.read(5) == LARGE[MIB + 1 : MIB + 6]
