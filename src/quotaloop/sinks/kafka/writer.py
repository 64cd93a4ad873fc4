"""The one who may write to the topic of a policy, in one transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

from confluent_kafka import KafkaException, Producer

from quotaloop.errors import ServiceUnreachable
from quotaloop.faults import reached
from quotaloop.raw.kafka.broker import Topic
from quotaloop.raw.kafka.problems import unreachable
from quotaloop.sinks.kafka.table import Record
from quotaloop.sinks.kafka.topic import PolicyTopic

_POLL_S = 0.02
_CLIENT_BYTES = (1_000, 1_000_000_000)  # what librdkafka may be told of the largest message; its batches are no larger
_TRANSACTION_S = (10.0, 900.0)  # the brokers end a transaction that was left, at the latest by their own bound
_SILENT = logging.getLogger(f"{__name__}.librdkafka")  # what goes wrong is said by the error of the call
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class Writer:
    """From when it is open, whoever was open before for the topic can commit no more.

    What an earlier one has committed is there to read then, and what it has not never will be. Raises
    ``CheckRefused`` where another one was opened meanwhile, and where a record is too large.
    """

    def __init__(self, place: PolicyTopic, topic: Topic, most_bytes: int) -> None:
        self._place, self._topic = place, topic
        self._patience_s = place.access.patience_s
        chosen: dict[str, str | int | float | bool] = {
            "transactional.id": f"quotaloop:{place.name}",
            "transaction.timeout.ms": round(1_000 * _within(self._patience_s, _TRANSACTION_S)),
            "message.max.bytes": round(_within(most_bytes, _CLIENT_BYTES)),
        }
        with place.translated():
            self._producer = Producer(place.access.client() | chosen, logger=_SILENT)

    @contextmanager
    def open(self) -> Iterator[None]:
        """For one publication. One whose brokers are away would try on by itself and shut out the next: it is ended."""
        try:
            with self._place.translated():
                self._producer.init_transactions(self._patience_s)
            yield
        finally:
            del self._producer

    def write(self, records: Iterable[Record]) -> None:
        """Write all or nothing; back when it is there for who reads what is committed."""
        with self._place.translated():
            self._producer.begin_transaction()
            try:
                self._send(records)
                ends = {number: one.high for number, one in self._place.offsets(self._topic).items()}
                reached("kafka_sink:sent")
                self._producer.commit_transaction(self._patience_s)
            except KafkaException as error:
                if error.args[0].txn_requires_abort():
                    with suppress(KafkaException):
                        self._producer.abort_transaction(self._patience_s)
                raise
        reached("kafka_sink:committed")
        self._await(ends)

    def _send(self, records: Iterable[Record]) -> None:
        for number, key, value in records:
            while True:
                try:
                    self._producer.produce(self._place.name, value, key, partition=number)
                    break
                except BufferError:
                    self._producer.poll(_POLL_S)
            self._producer.poll(0)
        if self._producer.flush(self._patience_s):
            raise unreachable(self._place.access, "not all records were taken in time")

    def _await(self, ends: Mapping[int, int]) -> None:
        """The brokers mark a transaction as committed in each partition a little later than they say that it is."""
        end = time.monotonic() + self._patience_s
        while any(one.stable < ends[number] for number, one in self._place.offsets(self._topic).items()):
            if time.monotonic() > end:
                raise ServiceUnreachable(
                    f"topic {self._place.name}: the policy is committed, and waits behind another's open transaction"
                )
            time.sleep(_POLL_S)


def _within(number: float, bounds: tuple[float, float]) -> float:
    return min(max(number, bounds[0]), bounds[1])
