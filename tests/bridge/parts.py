"""Both sides of a bridge, as tests hold them: devices that publish, and a Kafka that reports when it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

from confluent_kafka import KafkaError
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from quotaloop.bridge.mqtt import Bridge, Counts
from quotaloop.bridge.mqtt_access import MqttAccess
from quotaloop.errors import QuotaloopError
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.problems import NoAnswer

PATIENCE_S = 20
Message = tuple[str, bytes]


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Wait for a condition; fails when it does not come."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def publish(port: int, messages: Iterable[Message], *, qos: int = 1, retain: bool = False) -> None:
    """Publish as a device; back when the broker has all of them."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        sent = [client.publish(topic, payload, qos=qos, retain=retain) for topic, payload in messages]
        for one in sent:
            one.wait_for_publish(PATIENCE_S)
            assert one.is_published()
        client.disconnect()
    finally:
        client.loop_stop()


class Outlet:
    """A topic that keeps records in memory; what is ``held`` is reported by ``report``, else at once."""

    def __init__(self, holds: bool = False, most_bytes: int = 1_000_000) -> None:
        self.holds, self.most_bytes = holds, most_bytes
        self.records: list[tuple[bytes, bytes]] = []
        self.waiting: list[tuple[int, Callable[[], None]]] = []
        self._to_report: list[int] = []
        self.failure: KafkaError | None = None
        self.is_away = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return 0

    def takes(self, key: bytes, value: bytes) -> bool:
        """Is it small enough?"""
        return len(key) + len(value) <= self.most_bytes

    def put(self, key: bytes, value: bytes, delivered: Callable[[], None]) -> None:
        """Keep it."""
        with self._lock:
            self.records.append((key, value))
            self.waiting.append((len(self.records) - 1, delivered))
            if not self.holds:
                self._to_report.append(len(self.records) - 1)

    def report(self, *numbers: int) -> None:
        """Say, in this order, that the records of these numbers have been taken."""
        with self._lock:
            self._to_report += numbers

    def poll(self, timeout_s: float) -> None:
        """What reports there are."""
        with self._lock:
            told, self._to_report = self._to_report, []
            calls = dict(self.waiting)
        for number in told:
            calls[number]()
        if not told:
            time.sleep(min(timeout_s, 0.01))

    def lasting(self) -> QuotaloopError | None:
        """Another one may take it."""
        return None

    def discard(self) -> None:
        """Nothing is under way."""


class Running:
    """A bridge at work in a thread, into outlets of memory; as a context, it is told to stop at its end.

    In the place of an outlet, an error is raised where the bridge asks for it.
    """

    def __init__(
        self, mqtt: MqttAccess, *outlets: Outlet | NoAnswer, patience_s: float = PATIENCE_S, **words: Any
    ) -> None:
        self.said: list[str] = []
        self.ended: Counts | None = None
        self.raised: QuotaloopError | None = None
        access, self._left = Access("none:9092", patience_s=patience_s), list(outlets)
        self.bridge = Bridge(mqtt, access, "events", self.said.append, cast(Any, self._outlet_of))
        self._words, self._told = words, threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def counts(self) -> Counts:
        """As they are now."""
        return self.bridge.counts

    def tell(self) -> None:
        """Tell it to stop, and go on."""
        self._told.set()

    def join(self) -> Counts:
        """Its counts, once it has ended; what it raised is raised."""
        self._thread.join(2 * PATIENCE_S)
        assert not self._thread.is_alive()
        if self.raised is not None:
            raise self.raised
        assert self.ended is not None
        return self.ended

    def stop(self) -> Counts:
        """Tell it to stop, and wait."""
        self.tell()
        return self.join()

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.tell()
        self._thread.join(2 * PATIENCE_S)

    def _outlet_of(self, _access: Access, _topic: str) -> Outlet:
        made = self._left.pop(0)
        if isinstance(made, NoAnswer):
            raise made
        return made

    def _run(self) -> None:
        try:
            self.ended = self.bridge.run(self._told.is_set, **self._words)
        except QuotaloopError as error:
            self.raised = error
