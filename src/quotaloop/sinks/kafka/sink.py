"""The Kafka sink: the policy as the records of a compacted topic, a key a tenant, written in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import ClassVar

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.policy import Policy, check_push
from quotaloop.quotas.target import OUR_CHOICES, OURS
from quotaloop.raw.kafka.access import access
from quotaloop.sinks.kafka.records import epoch_of, records
from quotaloop.sinks.kafka.table import Table, differences, writes
from quotaloop.sinks.kafka.topic import PolicyTopic
from quotaloop.sinks.kafka.writer import Writer
from quotaloop.sinks.sink import Configuration

_TOPIC = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}")
_FRAME_BYTES = 93  # of a record in a batch of its own, beside key and value, at most
_LINES = 100


class KafkaSink:
    """A record a tenant, under its identity, and one ``_policy`` for the rest: see ``kafka_records``.

    Publications fence each other: of two at once, the one that began first commits nothing. A topic that holds records
    and none of them ours is another's, and is not written to.
    """

    usual = OURS
    choices = OUR_CHOICES
    options: ClassVar = frozenset({"topic", "partitions", "replication"})

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        name = configuration.options.get("topic")
        if not isinstance(name, str) or not _TOPIC.fullmatch(name):
            raise UsageError(f"sink {configuration.name}: topic is the name of one, not {name!r}")
        self._name, self._access = name, access(configuration.settings)
        self._partitions, self._replication = (_count(configuration, word) for word in ("partitions", "replication"))

    def check(self, policy: Policy) -> None:
        """Records hold every valid policy whose tenants have identities of their own."""
        check_push(policy, None)
        records(policy, self.configuration.identity)

    def publish(self, policy: Policy) -> None:
        """Read what lies there when nobody else can commit any more, and replace it in one transaction."""
        self.check(policy)
        wanted, place = records(policy, self.configuration.identity), self._place()
        topic = place.topic() or place.make(self._partitions, self._replication)
        writer = Writer(place, topic, self._most_bytes(place.configuration(), policy, wanted))
        with writer.open():
            there, partitions = place.lying(topic), len(topic.partitions)
            self._check_there(policy, there)
            if any(differences(wanted, there, partitions)):
                writer.write(writes(wanted, there, partitions))

    def epoch(self) -> int | None:
        """The greatest of all records that are committed."""
        place = self._place()
        topic = place.topic()
        return _greatest(place.lying(topic)) if topic else None

    def drift(self, policy: Policy) -> list[str]:
        """Is each record this policy's, in its own partition, is there no other, and is nothing under way?"""
        return list(islice(self._drift(policy), _LINES))

    def _drift(self, policy: Policy) -> Iterator[str]:
        place = self._place()
        topic = place.topic()
        if topic is None:
            yield f"topic {self._name} is missing"
            return
        if problem := self._not_compacted(place.configuration()):
            yield problem
        for number, one in place.offsets(topic).items():
            if one.stable < one.high:
                yield f"{self._name}/{number}: {one.high - one.stable} offsets wait in a transaction that is open"
        wanted = records(policy, self.configuration.identity)
        yield from differences(wanted, place.lying(topic), len(topic.partitions))

    def _place(self) -> PolicyTopic:
        return PolicyTopic(self._access, self._name)

    def _most_bytes(self, chosen: Mapping[str, str], policy: Policy, wanted: Mapping[bytes, bytes]) -> int:
        """Of a message; raises ``CheckRefused`` for a topic that cannot hold these records for good."""
        if problem := self._not_compacted(chosen):
            raise _refused(policy, problem)
        most_bytes = int(chosen["max.message.bytes"])
        for key, value in wanted.items():
            if len(key) + len(value) + _FRAME_BYTES > most_bytes:
                large = f"{key.decode()} takes {len(value)} bytes"
                raise _refused(policy, f"{large}, topic {self._name} has max.message.bytes {most_bytes}")
        return most_bytes

    def _not_compacted(self, chosen: Mapping[str, str]) -> str | None:
        cleanup = chosen["cleanup.policy"]
        if cleanup == "compact":
            return None
        return f"topic {self._name} would forget limits, its cleanup.policy is {cleanup} and not compact"

    def _check_there(self, policy: Policy, there: Table) -> None:
        """Raises ``CheckRefused`` for what this policy may not replace."""
        epoch = _greatest(there)
        if there and epoch is None:
            raise _refused(policy, f"topic {self._name} holds {len(there)} keys and none of a policy, name another")
        if epoch is not None and epoch > policy.epoch:
            raise _refused(policy, f"topic {self._name} holds policy {epoch}, push a newer one")


def _refused(policy: Policy, why: str) -> CheckRefused:
    return CheckRefused(f"policy {policy.epoch} is refused whole: {why}")


def _greatest(there: Table) -> int | None:
    return max(filter(None, map(epoch_of, there.values())), default=None)


def _count(configuration: Configuration, option: str) -> int:
    count = configuration.options.get(option, 1)
    if type(count) is not int or not 1 <= count <= 10_000:
        raise UsageError(f"sink {configuration.name}: {option} is a whole number above 0, not {count!r}")
    return count
