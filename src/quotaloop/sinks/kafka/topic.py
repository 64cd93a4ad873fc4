"""The compacted topic that a policy lies in: made, looked at, and read to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from quotaloop.errors import CheckRefused, QuotaloopError, ServiceUnreachable, UsageError
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.broker import Broker, Offsets, Topic
from quotaloop.raw.kafka.consumer import consumer
from quotaloop.raw.kafka.problems import NoAnswer, NoTopic, passes, reason, unreachable

_POLL_S = 0.05
_AT_ONCE = 500
_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
_ANOTHER_LEADER = (  # as when a broker has come back
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
)
_CANNOT_BE = (
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.POLICY_VIOLATION,
    KafkaError.TOPIC_EXCEPTION,
)


class PolicyTopic:
    """A topic by its name, for one question or publication: its clients remember who leads which partition.

    Raises ``ServiceUnreachable`` where the brokers do not answer in time.
    """

    def __init__(self, access: Access, name: str) -> None:
        self.access, self.name = access, name

    def topic(self) -> Topic | None:
        """What it is, None if there is none."""
        with suppress(NoTopic):
            return self._broker.topic(self.name)
        return None

    def make(self, partitions: int, replication: int) -> Topic:
        """Make it, compacted, unless somebody else just has; raises ``UsageError`` where the brokers cannot."""
        wanted = NewTopic(self.name, partitions, replication, config={"cleanup.policy": "compact"})
        with self.translated():
            asked = self._admin.create_topics([wanted], request_timeout=self.access.patience_s)
            try:
                asked[self.name].result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        end = time.monotonic() + self.access.patience_s
        while (found := self.topic()) is None:
            if time.monotonic() > end:
                raise unreachable(self.access, f"topic {self.name} was made, and is not listed")
            time.sleep(_POLL_S)
        return found

    def configuration(self) -> dict[str, str]:
        """Its settings by name."""
        asked = ConfigResource(ResourceType.TOPIC, self.name)
        with self.translated():
            found = self._admin.describe_configs([asked], request_timeout=self.access.patience_s)[asked].result()
        return {name: str(entry.value) for name, entry in found.items()}

    def lying(self, topic: Topic) -> dict[tuple[int, bytes], bytes]:
        """The committed value of each key of each partition, without what has a tombstone."""
        found: dict[tuple[int, bytes], bytes] = {}
        lows = {number: one.low for number, one in self.offsets(topic).items() if one.low < one.stable}
        unread, heard = set(lows), time.monotonic()
        with self.translated(), consumer(self.access) as reader:
            reader.assign([TopicPartition(self.name, number, low) for number, low in lows.items()])
            while unread:
                for message in reader.consume(_AT_ONCE, timeout=_POLL_S):
                    if _is_end(message):
                        unread.discard(message.partition())
                    elif message.error() is None:
                        _put(found, message)
                        heard = time.monotonic()
                if time.monotonic() - heard > self.access.patience_s:
                    raise unreachable(self.access, f"no records of {self.name} in {self.access.patience_s:.0f} s")
        return found

    def offsets(self, topic: Topic) -> dict[int, Offsets]:
        """Where its partitions begin and end, and from where on transactions are open."""
        end = time.monotonic() + self.access.patience_s
        while True:
            try:
                return self._broker.offsets(topic)
            except NoAnswer as error:
                if not _is_of_another_leader(error) or time.monotonic() > end:
                    raise
            del self._broker  # a new one learns who leads now
            time.sleep(_POLL_S)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """What librdkafka raises within, as the error that it is for who publishes."""
        try:
            yield
        except KafkaException as error:
            raise self._reason(error.args[0]) from error

    @cached_property
    def _broker(self) -> Broker:
        return Broker(self.access)

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient(self.access.client())

    def _reason(self, error: KafkaError) -> QuotaloopError:
        if error.code() in _FENCED:
            return CheckRefused(f"topic {self.name}: another publication began meanwhile, publish again")
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return CheckRefused(f"topic {self.name} takes no message that large: {error.str()}")
        if error.code() in _CANNOT_BE:
            return UsageError(f"topic {self.name} cannot be made: {error.str()}")
        if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return ServiceUnreachable(f"Kafka at {self.access.brokers} does not let us write in transactions")
        return reason(self.access, error, self.name)


def _is_end(message: Message) -> bool:
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:
        return error is not None
    if not passes(error):
        raise KafkaException(error)
    return False


def _is_of_another_leader(error: NoAnswer) -> bool:
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() in _ANOTHER_LEADER


def _put(found: dict[tuple[int, bytes], bytes], message: Message) -> None:
    place, value = (message.partition() or 0, message.key() or b""), message.value()
    if value is None:
        found.pop(place, None)
    else:
        found[place] = value
