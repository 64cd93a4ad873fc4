"""What librdkafka reports, as the error that it is for whoever runs a landing."""

from __future__ import annotations

from confluent_kafka import KafkaError

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
PASSING = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)  # they may come back within our patience


def unreachable(access: Access, what: str) -> ServiceUnreachable:
    """The brokers do not answer."""
    return ServiceUnreachable(f"Kafka at {access.brokers} cannot be reached: {what}; start it or correct kafka_brokers")


def reason(access: Access, error: KafkaError, topic: str = "") -> QuotaloopError:
    """What librdkafka says, as the error it is for the user."""
    if error.code() in _NO_TOPIC:
        return UsageError(f"Kafka at {access.brokers} has no topic {topic}; name another --topic or create it")
    if error.code() in _REFUSED:
        return ServiceUnreachable(
            f"Kafka at {access.brokers} does not let us in ({error.name()}): correct kafka_username and the password"
        )
    return unreachable(access, error.str())
