"""A broker of this machine, for as long as a measurement lasts, with the data of the bench in a topic."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.data import ROOT, TOPIC, Data

PARTITIONS = 4
_CLUSTER = ROOT / "docker" / "hadoop-spark" / "cluster"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A folder of servers, by the script that people use."""

    folder: Path

    def call(self, *words: str) -> str:
        """What the script answers."""
        command = [sys.executable, str(_CLUSTER), "--dir", str(self.folder), "--ports", "free", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @property
    def environment(self) -> dict[str, str]:
        """What clients need to know."""
        found: dict[str, str] = json.loads(self.call("env", "--json"))
        return found


@contextmanager
def running(folder: Path, *names: str) -> Iterator[Cluster]:
    """These servers, or all of them, over an empty folder; ended afterwards."""
    cluster = Cluster(folder)
    try:
        cluster.call("up", *names)
        yield cluster
    finally:
        cluster.call("down")


def fill(brokers: str, data: Data) -> int:
    """The data as records of the topic ``TOPIC``, spread over its partitions; their payload in bytes."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, config={"retention.ms": "-1"})])[TOPIC].result()
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 50, "compression.type": "lz4"})
    size = number = 0
    for path in data.files:
        with gzip.open(path) as lines:
            for line in lines:
                value = line.rstrip(b"\n")
                while True:
                    try:
                        producer.produce(TOPIC, value, partition=number % PARTITIONS)
                        break
                    except BufferError:
                        producer.poll(0.1)
                size += len(value)
                number += 1
                if number % 10_000 == 0:
                    producer.poll(0)
    if producer.flush(120):
        raise RuntimeError("the broker has not taken all records")
    return size
