"""The topic of Kafka that a bridge writes to: at its own pace, and each delivery reported."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from quotaloop.errors import QuotaloopError, UsageError
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.broker import Broker
from quotaloop.raw.kafka.problems import NoTopic, passes, reason, translated

FRAME_BYTES = 93  # of a record in a batch of its own, beside key and value, at most
_CLIENT_BYTES = (1_000, 1_000_000_000)  # what librdkafka may be told of the largest message
_AGAIN = (  # another outlet looks at the topic anew: it may be gone, or take less
    KafkaError._FATAL,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.MSG_SIZE_TOO_LARGE,
)
_SILENT = logging.getLogger(f"{__name__}.librdkafka")  # what goes wrong is said by us
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class Outlet:
    """An idempotent producer that waits for the brokers for as long as it takes: only the sender's window bounds it.

    ``failure`` is set once a record was not taken: nothing more is then, begin with another one. ``is_away`` tells
    that no broker answers. Raises ``ServiceUnreachable`` and ``UsageError`` when made.
    """

    def __init__(self, access: Access, topic: str) -> None:
        self.access, self.topic = access, topic
        self.failure: KafkaError | None = None
        self.is_away = False
        self.most_bytes = self._most_bytes()
        chosen: dict[str, Any] = {
            "enable.idempotence": True,  # with acks=all
            "partitioner": "murmur2_random",  # as clients of Java
            "linger.ms": 1,
            "message.timeout.ms": 0,
            "queue.buffering.max.messages": 0,
            "queue.buffering.max.kbytes": 2_147_483_647,
            "message.max.bytes": min(max(self.most_bytes, _CLIENT_BYTES[0]), _CLIENT_BYTES[1]),
            "error_cb": self._on_error,
        }
        with translated(access, topic):
            self._producer = Producer(access.client() | chosen, logger=_SILENT)

    def __len__(self) -> int:
        """Records that are under way."""
        return len(self._producer)

    def takes(self, key: bytes, value: bytes) -> bool:
        """Is it no larger than a message of the topic may be?"""
        return len(key) + len(value) + FRAME_BYTES <= self.most_bytes

    def put(self, key: bytes, value: bytes, delivered: Callable[[], None]) -> None:
        """Send it; ``delivered`` is called within ``poll`` once all replicas in sync have it."""

        def heard(error: KafkaError | None, _: object) -> None:
            if error is None:
                self.is_away = False
                delivered()
            else:
                self.failure = self.failure or error

        try:
            self._producer.produce(self.topic, value, key, on_delivery=heard)
        except KafkaException as error:  # after a fatal error, it takes nothing more
            self.failure = self.failure or error.args[0]

    def poll(self, timeout_s: float) -> None:
        """Wait so long for reports."""
        self._producer.poll(timeout_s)

    def lasting(self) -> QuotaloopError | None:
        """The failure, if another outlet would meet it too."""
        if self.failure is None or self.failure.code() in _AGAIN or self.failure.fatal() or passes(self.failure):
            return None
        return reason(self.access, self.failure, self.topic)

    def discard(self) -> None:
        """Forget what is under way, so that ending takes no time."""
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._producer.poll(0)

    def _most_bytes(self) -> int:
        try:
            Broker(self.access).topic(self.topic)
        except NoTopic as error:
            raise UsageError(
                f"Kafka at {self.access.brokers} has no topic {self.topic}; name another with --to, or create it"
            ) from error
        asked = ConfigResource(ResourceType.TOPIC, self.topic)
        with translated(self.access, self.topic):
            admin = AdminClient(self.access.client())
            found = admin.describe_configs([asked], request_timeout=self.access.patience_s)[asked].result()
        return int(found["max.message.bytes"].value)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.is_away = True
        elif error.fatal():
            self.failure = self.failure or error
