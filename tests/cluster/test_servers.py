"""`cluster` with real servers: side by side, killed and started again over their data, and gone after `down`."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(ROOT / "docker" / "hadoop-spark" / "cluster")]
_LISTENING = "0A"  # in /proc/net/tcp
ANSWER_SECONDS = 20
TASK_SECONDS = 120


@dataclass(frozen=True, slots=True)
class _Cluster:
    folder: Path

    def run(self, *arguments: str, status: int = 0) -> str:
        """What a command says; it has to end with ``status``."""
        command = [*COMMAND, "--dir", str(self.folder), "--ports", "free", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def states(self) -> dict[str, Any]:
        return dict(json.loads(self.run("status", "--json")))

    def pid(self, name: str) -> int | None:
        return self.states()[name]["pid"]  # type: ignore[no-any-return]

    def env(self) -> dict[str, str]:
        return dict(json.loads(self.run("env", "--json")))

    def plain(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.env()["QUOTALOOP_KAFKA_BROKERS"]}

    def sasl(self) -> dict[str, Any]:
        env = self.env()
        return {
            "bootstrap.servers": env["KAFKA_SASL_BROKERS"],
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": env["KAFKA_SASL_MECHANISM"],
            "sasl.username": env["KAFKA_SASL_USER"],
            "sasl.password": Path(env["KAFKA_SASL_PASSWORD_FILE"]).read_text(encoding="utf-8"),
            "ssl.ca.location": env["KAFKA_CA_FILE"],
        }


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[_Cluster, _Cluster]]:
    """Two brokers of two clusters; tests leave them running."""
    clusters = tuple(_Cluster(tmp_path_factory.mktemp(name)) for name in ("left", "right"))
    left, right = clusters
    try:
        for cluster in clusters:
            cluster.run("up", "kafka")
        yield left, right
    finally:
        for cluster in clusters:
            cluster.run("down")


@pytest.fixture
def broker(pair: tuple[_Cluster, _Cluster]) -> _Cluster:
    return pair[0]


def _topic(client: dict[str, Any]) -> str:
    name = f"t-{uuid.uuid4()}"
    admin = AdminClient(client)  # what it asked for ends with it
    for future in admin.create_topics([NewTopic(name, 1, 1)]).values():
        future.result(ANSWER_SECONDS)
    return name


def _produce(client: dict[str, Any], topic: str, value: bytes) -> None:
    producer = Producer(client)
    producer.produce(topic, value)
    assert producer.flush(ANSWER_SECONDS) == 0


def _values(client: dict[str, Any], topic: str, count: int) -> list[bytes]:
    consumer = Consumer({**client, "group.id": "test", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        return [message.value() for message in consumer.consume(count, ANSWER_SECONDS)]
    finally:
        consumer.close()


_Listener = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


def _listening(pids: set[int]) -> dict[int, list[_Listener]]:
    """Addresses and ports that these processes listen on."""
    sockets = _listeners()
    return {pid: [sockets[inode] for inode in _sockets_of(pid) if inode in sockets] for pid in pids}


def _listeners() -> dict[str, _Listener]:
    """Every listening socket of this machine, by its inode."""
    found: dict[str, _Listener] = {}
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):  # a kernel without IPv6
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENING:
                    address, port = words[1].split(":")
                    found[words[9]] = _address(address), int(port, 16)
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The kernel writes addresses in words of four bytes, each in the machine's order."""
    words = [int(text[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return getattr(address, "ipv4_mapped", None) or address


def _sockets_of(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            target = str(entry.readlink())
            if target.startswith("socket:["):
                yield target[8:-1]


def _mentions(folder: Path) -> list[str]:
    """Command lines of processes that name a folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return [line for line in lines if str(folder) in line]


def test_two_clusters_side_by_side_know_nothing_of_each_other(pair: tuple[_Cluster, _Cluster]) -> None:
    left, right = pair
    topic = _topic(left.plain())
    assert topic in AdminClient(left.plain()).list_topics(timeout=ANSWER_SECONDS).topics
    assert topic not in AdminClient(right.plain()).list_topics(timeout=ANSWER_SECONDS).topics
    assert set(left.states()["kafka"]["ports"].values()).isdisjoint(right.states()["kafka"]["ports"].values())


def test_up_twice_starts_nothing_anew(broker: _Cluster) -> None:
    before = broker.pid("kafka"), broker.env()
    broker.run("up", "kafka")
    assert (broker.pid("kafka"), broker.env()) == before


def test_a_killed_broker_has_its_data_when_it_is_started_again(broker: _Cluster) -> None:
    topic = _topic(broker.plain())
    _produce(broker.plain(), topic, b"before")
    killed = broker.pid("kafka")
    broker.run("kill", "kafka")
    assert broker.states()["kafka"]["state"] == "down"
    assert not Path(f"/proc/{killed}").exists() or Path(f"/proc/{killed}/cmdline").read_bytes() == b""
    broker.run("start", "kafka")
    assert broker.pid("kafka") != killed
    _produce(broker.plain(), topic, b"after")
    assert _values(broker.plain(), topic, 2) == [b"before", b"after"]


def test_a_stopped_broker_is_there_but_not_ready_until_it_goes_on(broker: _Cluster) -> None:
    pid = broker.pid("kafka")
    broker.run("kill", "kafka", "--signal", "STOP")
    try:
        assert broker.states()["kafka"] | {"ports": None, "log": None} == {
            "state": "not ready",
            "pid": pid,
            "ports": None,
            "log": None,
        }
    finally:
        broker.run("kill", "kafka", "--signal", "CONT")
    broker.run("up", "kafka")
    assert broker.pid("kafka") == pid


def test_what_runs_is_not_started_and_what_does_not_run_is_not_killed(broker: _Cluster) -> None:
    assert "kafka runs already" in broker.run("start", "kafka", status=1)
    assert "namenode does not run" in broker.run("kill", "namenode", status=1)


def test_the_second_listener_wants_the_password(broker: _Cluster) -> None:
    topic = _topic(broker.sasl())
    _produce(broker.sasl(), topic, b"secret")
    assert _values(broker.sasl(), topic, 1) == [b"secret"]
    wrong = AdminClient({**broker.sasl(), "sasl.password": "wrong", "log_level": 0})
    with pytest.raises(KafkaException):
        wrong.list_topics(timeout=3)


def test_the_password_is_in_one_file_that_its_owner_alone_reads(broker: _Cluster) -> None:
    path = Path(broker.env()["KAFKA_SASL_PASSWORD_FILE"])
    password = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    holding = [found for found in broker.folder.rglob("*") if found.is_file() and password in found.read_bytes()]
    assert holding == [path]
    assert password.decode() not in broker.run("env") + broker.run("status") + broker.run("up", "kafka")


def test_down_leaves_no_process_and_not_that_of_anybody_else(tmp_path: Path, pair: tuple[_Cluster, _Cluster]) -> None:
    cluster = _Cluster(tmp_path)
    cluster.run("up", "kafka")
    # A bystander in the same folder, that names it: not a server, so not ended.
    bystander = subprocess.Popen(["tail", "-f", str(tmp_path / "logs" / "kafka.log")], stdout=subprocess.PIPE)
    try:
        assert bystander.stdout is not None
        assert bystander.stdout.readline()  # it runs: its command line can be read
        assert len(_mentions(tmp_path)) == 2
        cluster.run("kill", "kafka", "--signal", "STOP")  # even so
        assert "ended: kafka" in cluster.run("down")
        assert len(_mentions(tmp_path)) == 1
        assert bystander.poll() is None
        assert "ended: nothing ran" in cluster.run("down")
    finally:
        bystander.kill()
        bystander.communicate()
    assert [other.states()["kafka"]["state"] for other in pair] == ["ready", "ready"]


def test_a_port_that_somebody_listens_on_is_said_and_nothing_starts(tmp_path: Path, broker: _Cluster) -> None:
    taken = json.loads((broker.folder / "ports.json").read_text(encoding="utf-8"))["base"]
    command = [*COMMAND, "--dir", str(tmp_path), "--ports", str(taken), "up", "kafka"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"somebody else listens on port {taken}" in done.stderr
    assert _mentions(tmp_path) == []


def test_a_server_that_cannot_start_is_said_with_its_log(tmp_path: Path) -> None:
    cluster = _Cluster(tmp_path)
    cluster.run("up", "kafka")
    cluster.run("down")
    (tmp_path / "data" / "kafka" / "meta.properties").write_text("version=99\n", encoding="utf-8")
    said = cluster.run("up", "kafka", status=1)
    assert "kafka ended instead of getting ready" in said
    assert "meta.properties" in said
    assert _mentions(tmp_path) == []


def _working_below(folder: Path) -> list[str]:
    """Command lines of processes that YARN started for a task."""
    lines = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str((path / "cwd").readlink()).startswith(str(folder / "data" / "nodemanager")):
                lines.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return lines


def test_hdfs_and_yarn_run_and_nothing_but_the_shuffle_listens_beyond_loopback(tmp_path: Path) -> None:
    cluster = _Cluster(tmp_path)
    try:
        cluster.run("up")
        states = cluster.states()
        assert {state["state"] for state in states.values()} == {"ready"}
        listening = _listening({state["pid"] for state in states.values()})
        assert all(listening.values())
        beyond = [found for those in listening.values() for found in those if not found[0].is_loopback]
        # Hadoop has no setting for it; it answers nobody without a job's secret.
        shuffle = states["nodemanager"]["ports"]["NODEMANAGER_SHUFFLE_PORT"]
        assert [port for _, port in beyond] == [shuffle]
        _hdfs_keeps_its_files(cluster, tmp_path)
        _an_endless_task_runs(cluster, tmp_path)
        cluster.run("kill", "nodemanager")  # nobody is left who would end it
        assert _working_below(tmp_path)
    finally:
        cluster.run("down")
    assert _working_below(tmp_path) == []
    assert _mentions(tmp_path) == []


def _hdfs_keeps_its_files(cluster: _Cluster, folder: Path) -> None:
    env = cluster.env()

    def hadoop(*arguments: str) -> str:
        command = [env["QUOTALOOP_HADOOP_BIN"], "fs", *arguments]
        return subprocess.run(command, env=os.environ | env, capture_output=True, check=True, text=True).stdout

    (folder / "line").write_text("kept\n", encoding="utf-8")
    hadoop("-put", str(folder / "line"), "/line")
    for name in ("datanode", "namenode"):
        cluster.run("kill", name)
        cluster.run("start", name)
        assert hadoop("-cat", "/line") == "kept\n"


def test_settings_on_disk_stay_those_of_servers_that_run(broker: _Cluster) -> None:
    path = broker.folder / "conf" / "hadoop" / "core-site.xml"
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text + "<!-- what they were started with -->\n", encoding="utf-8")
        broker.run("up", "kafka")
        assert path.read_text(encoding="utf-8") != text
    finally:
        path.write_text(text, encoding="utf-8")


def test_a_signal_that_there_is_not_is_refused(broker: _Cluster) -> None:
    assert "no such signal" in broker.run("kill", "kafka", "--signal", "NONE", status=1)
    assert broker.states()["kafka"]["state"] == "ready"


def _an_endless_task_runs(cluster: _Cluster, folder: Path) -> None:
    """Submit a job of one mapper that does not end, and return when the mapper is there."""
    env = cluster.env()
    options = ["-D", "mapreduce.job.reduces=0", "-D", "mapreduce.job.maps=1"]
    job = [*options, "-input", "/line", "-output", "/out", "-mapper", "tail -f /dev/null"]
    command = [env["QUOTALOOP_HADOOP_BIN"], "jar", env["QUOTALOOP_HADOOP_STREAMING_JAR"], *job]
    with (folder / "job.log").open("wb") as log:
        client = subprocess.Popen(command, env=os.environ | env, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        until = time.monotonic() + TASK_SECONDS
        while not any("tail -f /dev/null" in line for line in _working_below(folder)):
            assert time.monotonic() < until, (folder / "job.log").read_text(encoding="utf-8")
            assert client.poll() is None, (folder / "job.log").read_text(encoding="utf-8")
            time.sleep(0.2)
    finally:
        client.kill()
        client.wait()
