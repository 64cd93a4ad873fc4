"""What a topic is and has at this moment, as its brokers say."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import IsolationLevel, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.problems import translated, unreachable


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of a cluster; its id changes when it is made again under its name."""

    name: str
    cluster: str
    topic_id: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Offsets:
    """The offsets of a partition: ``low`` the first that is kept, ``stable`` one after the last that is committed.

    ``high`` is one after the last that was written; between ``stable`` and ``high`` transactions are open.
    """

    low: int
    stable: int
    high: int


class Broker:
    """Questions to the brokers of one cluster.

    Raises ``UsageError`` for settings that cannot be, and ``ServiceUnreachable`` where they do not answer in time.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        with translated(access):
            self._admin = AdminClient(access.client())

    def topic(self, name: str) -> Topic:
        """The topic of that name; raises ``UsageError`` if there is none."""
        cluster = self.cluster()
        described = self._admin.describe_topics(TopicCollection([name]), request_timeout=self.access.patience_s)
        found = self._answer(described[name], name)
        partitions = tuple(sorted(item.id for item in found.partitions))
        return Topic(name, cluster, str(found.topic_id), partitions)

    def cluster(self) -> str:
        """The id of the cluster."""
        return str(self._answer(self._admin.describe_cluster(request_timeout=self.access.patience_s)).cluster_id)

    def offsets(self, topic: Topic) -> dict[int, Offsets]:
        """The offsets of each partition."""
        latest, numbers = OffsetSpec.latest(), topic.partitions
        stable = self._listed(topic.name, numbers, latest, IsolationLevel.READ_COMMITTED)
        high = self._listed(topic.name, numbers, latest, IsolationLevel.READ_UNCOMMITTED)
        low = self._listed(topic.name, numbers, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED)
        return {number: Offsets(low[number], stable[number], high[number]) for number in topic.partitions}

    def low(self, topic: Topic, partition: int) -> int:
        """The first offset of a partition that is kept."""
        spec, level = OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED
        return self._listed(topic.name, (partition,), spec, level)[partition]

    def _listed(self, topic: str, partitions: Iterable[int], spec: OffsetSpec, level: IsolationLevel) -> dict[int, int]:
        wanted = {TopicPartition(topic, number): spec for number in partitions}
        asked = self._admin.list_offsets(wanted, isolation_level=level, request_timeout=self.access.patience_s)
        return {place.partition: self._answer(future, topic).offset for place, future in asked.items()}

    def _answer(self, future: Future[Any], topic: str = "") -> Any:
        try:
            with translated(self.access, topic):
                return future.result(timeout=self.access.patience_s + 5)
        except TimeoutError as error:
            raise unreachable(self.access, "no answer in time") from error
