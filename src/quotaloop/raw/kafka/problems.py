"""What librdkafka reports, as the error that it is for whoever runs a landing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from quotaloop.errors import QuotaloopError, ServiceUnreachable, UsageError
from quotaloop.raw.kafka.access import Access

_NO_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
_REFUSED = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)
_PASSING = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)


class NoTopic(UsageError):
    """The brokers answer, and have no such topic."""


class NoAnswer(ServiceUnreachable):
    """The brokers do not answer."""


def passes(error: KafkaError) -> bool:
    """May it be over within our patience?"""
    return error.retriable() or error.code() in _PASSING


def unreachable(access: Access, what: str) -> NoAnswer:
    """The brokers do not answer."""
    return NoAnswer(f"Kafka at {access.brokers} cannot be reached: {what}; start it or correct kafka_brokers")


def reason(access: Access, error: KafkaError, topic: str = "") -> QuotaloopError:
    """What librdkafka says, as the error it is for the user."""
    if error.code() in _NO_TOPIC:
        return NoTopic(f"Kafka at {access.brokers} has no topic {topic}; name another --topic or create it")
    if error.code() == KafkaError._INVALID_ARG:
        return UsageError(
            f"Kafka's client does not take its settings ({error.str()}): "
            "correct kafka_brokers, kafka_security, kafka_mechanism, kafka_username or kafka_ca"
        )
    if error.code() in _REFUSED:
        return ServiceUnreachable(
            f"Kafka at {access.brokers} does not let us in ({error.name()}): correct kafka_username and the password"
        )
    return unreachable(access, error.str())


@contextmanager
def translated(access: Access, topic: str = "") -> Iterator[None]:
    """What librdkafka raises within, as ``reason`` says it."""
    try:
        yield
    except KafkaException as error:
        raise reason(access, error.args[0], topic) from error
