"""The raw zone as a landing left it, and landings in this process and in others."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from jobs.ingest.land import land_kafka
from jobs.work import Work
from quotaloop.raw.kafka.landing import Landed
from quotaloop.raw.ranges import Range, check_tiling, landed
from quotaloop.raw.record import Record, decode
from quotaloop.settings import Settings
from quotaloop.storage.address import store_of
from quotaloop.storage.store import Store
from tests.cluster.topics import Topic


class RawZone:
    """A store that lands from a broker."""

    def __init__(self, root: Path | str, brokers: str, **changed: Any) -> None:
        self.settings = Settings(store=str(root), kafka_brokers=brokers, spark_master="local[2]", **changed)

    @property
    def store(self) -> Store:
        """The store, opened anew."""
        return store_of(self.settings)

    def land(self, topic: Topic, **words: Any) -> Landed:
        """Land in this process."""
        return land_kafka(Work(self.settings), topic.name, **words)

    def ranges(self, topic: str) -> list[tuple[int, int, int]]:
        """Partition, first and one after the last offset of what has landed; it tiles."""
        found = landed(self.store, topic)
        check_tiling(found)
        return [(item.partition, item.start, item.end) for item in found]

    def records(self, topic: str, partition: int | None = None) -> list[Record]:
        """Records in the order of partitions and offsets, each within its range."""
        found = []
        for item in landed(self.store, topic):
            if partition in (None, item.partition):
                mine = [decode(line) for line in lines(self.store, item)]
                assert all(item.start <= record.offset < item.end for record in mine)
                found += mine
        return found

    def values(self, topic: str, partition: int | None = None) -> list[bytes | None]:
        """Their values."""
        return [record.value for record in self.records(topic, partition)]

    def process(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """The command line in a process of its own."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QUOTALOOP_")}
        mine = {"QUOTALOOP_STORE": self.settings.store, "QUOTALOOP_KAFKA_BROKERS": self.settings.kafka_brokers}
        return subprocess.Popen(
            [sys.executable, "-c", "from quotaloop.cli import main; main()", *words],
            env=clean | mine | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def call(self, *words: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command."""
        with self.process(*words, **environment) as ended:
            out, err = ended.communicate(timeout=120)
        return ended.returncode, out.decode(), err.decode()


def lines(store: Store, item: Range) -> list[bytes]:
    """Lines of a raw file with their ends."""
    return gzip.decompress(store.read(item.path)).splitlines(keepends=True)
