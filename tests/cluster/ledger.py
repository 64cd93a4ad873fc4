"""What was produced, so that what came out can be held against it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sample.produce import Record, records
from sample.stream import labelled

from quotaloop.marts.integrity import check_files
from quotaloop.marts.release import Release, current, newest, published_files
from quotaloop.marts.views import open_views
from quotaloop.raw.ranges import check_tiling, landed
from quotaloop.storage.store import Store
from tests.cluster.topics import Topic, new_topic

PARTITIONS = 4
_BATCH = 2_500
_ABORTED = 0.2  # chance of a transaction after a batch that comes to nothing


@dataclass
class Ledger:
    """Lines of one seed: which were written into which topic, and what each is worth.

    Lines of one tenant go into one partition in their order, so that the outcome of each is known.
    """

    seed: int
    lines: int = 52_000
    written: int = 0
    ids: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    def batches(self) -> Iterator[list[Record]]:
        """Partition, Kafka time and value, some thousands at a time; counted as they are taken."""
        batch: list[Record] = []
        for record in records(self._counted(), PARTITIONS):
            batch.append(record)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _counted(self) -> Iterator[bytes]:
        for line, outcome in labelled(self.lines, self.seed):
            if outcome == "accepted":
                self.ids.append(json.loads(line)["event_id"])
            self.outcomes[outcome if outcome in ("accepted", "duplicate") else "quarantined"] += 1
            self.written += 1
            yield line

    def produce(self, brokers: str) -> Topic:
        """All of it, into a topic of its own, with aborted transactions in between."""
        topic, dice = new_topic(brokers, PARTITIONS), chosen(self.seed)
        for batch in self.batches():
            topic.produce_all(batch)
            if dice.random() < _ABORTED:
                topic.begin(b"aborted", b"{}", partition=dice.randrange(PARTITIONS)).abort_transaction()
        topic.until_nothing_is_open()
        return topic

    def check(self, store: Store, topic: str) -> Release:
        """Every line has its outcome, every accepted id is there once, ranges tile, the current release is whole."""
        check_tiling(landed(store))
        release = current(store)
        assert release is not None
        assert release == newest(store)
        check_files(store, published_files(store, release))
        with open_views(store, release) as views:
            ids = Counter(name for (name,) in views.execute("SELECT event_id FROM events").fetchall())
            rows = views.execute(
                "SELECT sum(lines), sum(accepted), sum(duplicate), sum(late), sum(quarantined) FROM ingest_ledger "
                "WHERE topic = ?",
                [topic],
            ).fetchall()
        assert ids == Counter(self.ids), f"seed {self.seed}"
        found = [int(number) for number in rows[0]]
        assert found[0] == sum(found[1:]) == self.written, f"seed {self.seed}"
        wanted = [self.outcomes[name] for name in ("accepted", "duplicate", "late", "quarantined")]
        assert found[1:] == wanted, f"seed {self.seed}"
        return release


def chosen(seed: int) -> random.Random:
    """A source of choices that the seed decides."""
    return random.Random(seed)
