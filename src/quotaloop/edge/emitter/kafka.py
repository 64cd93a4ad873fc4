"""Events to a topic of Kafka, each at least once, a tenant's in order."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer

from quotaloop.edge.emitter.journey import Journey
from quotaloop.edge.emitter.segment import Segment
from quotaloop.edge.emitter.throttled_warnings import ThrottledWarnings
from quotaloop.errors import ServiceUnreachable
from quotaloop.raw.kafka.access import Access

_POLL_S = 0.05
_SETTINGS: dict[str, str | int | float | bool] = {
    "enable.idempotence": True,
    "acks": "all",
    "message.timeout.ms": 0,  # however long the brokers are away: the spool bounds what waits
    "topic.metadata.propagation.max.ms": 5_000,  # then a topic that is missing is said
    "partitioner": "murmur2_random",  # as clients of Java place keys
    "compression.type": "lz4",
    "linger.ms": 5,
    "queue.buffering.max.messages": 20_000,  # the spool holds the rest
    "queue.buffering.max.kbytes": 16_384,
}
_WARNINGS = ThrottledWarnings(__name__)
_SILENT = logging.getLogger(f"{__name__}.librdkafka")  # what goes wrong is said by the error of a delivery
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class KafkaOutlet:
    """Sends lines while their segment still grows; a segment is removed once the brokers have all of its lines.

    While they are away it waits for them. A line that they refuse stops all behind it: it begins again with a new
    producer from the oldest segment, so that a line may stand in the topic twice, byte for byte, and none is passed by.
    """

    follows = True

    def __init__(self, access: Access, topic: str) -> None:
        self._access, self._topic = access, topic
        self._producer: Producer | None = None
        self._journeys: dict[Segment, Journey] = {}
        self._fatal = ""

    def send(self, segments: Sequence[Segment]) -> bool:
        """Hand over what is new, and hear what has arrived."""
        try:
            producer = self._producer or self._new()
            has_room = self._hand_over(producer, segments)
        except KafkaException as error:
            raise self._lost(str(error.args[0].str())) from error
        producer.poll(_POLL_S if self._is_under_way() else 0)
        if problem := self._fatal or next((one.error for one in self._journeys.values() if one.error), ""):
            raise self._lost(problem)
        self._end_journeys()
        return not has_room or self._is_under_way()

    def close(self) -> None:
        """Forget what is on its way: it lies in the spool."""
        producer, self._producer = self._producer, None
        self._journeys, self._fatal = {}, ""
        if producer is not None:
            producer.purge()
            producer.poll(0)

    def forked(self) -> None:
        """Not even end the producer: its threads are not in this process, and its connections are the parent's."""
        if self._producer is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._producer))
        self._producer, self._journeys, self._fatal = None, {}, ""

    def _hand_over(self, producer: Producer, segments: Sequence[Segment]) -> bool:
        waiting = set(segments)  # one that stayed empty is gone without a word
        self._journeys = {segment: journey for segment, journey in self._journeys.items() if segment in waiting}
        for segment in segments:
            journey = self._journeys.get(segment)
            if journey is None:
                journey = self._journeys[segment] = Journey(segment, self._topic)
            if not journey.hand_over(producer):
                return False
        return True

    def _is_under_way(self) -> bool:
        return any(journey.is_under_way for journey in self._journeys.values())

    def _end_journeys(self) -> None:
        for journey in [journey for journey in self._journeys.values() if journey.is_over]:
            journey.segment.path.unlink(missing_ok=True)
            journey.segment.has_left = True
            del self._journeys[journey.segment]

    def _new(self) -> Producer:
        self._producer = Producer(self._access.client() | _SETTINGS | {"error_cb": self._failed}, logger=_SILENT)
        return self._producer

    def _failed(self, error: KafkaError) -> None:
        """What is not fatal, such as brokers that are away or refuse the password, is tried again by the client."""
        if error.fatal():
            self._fatal = error.str()
        else:
            _WARNINGS.say(f"events for topic {self._topic} wait in the spool: {error.str()}")

    def _lost(self, problem: str) -> ServiceUnreachable:
        self.close()
        return ServiceUnreachable(f"topic {self._topic} at {self._access.brokers} takes no events: {problem}")
