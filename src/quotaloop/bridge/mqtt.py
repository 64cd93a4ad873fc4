"""The MQTT bridge: what devices publish, byte for byte into Kafka, acknowledged once Kafka has it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from paho.mqtt.client import MQTTMessage

from quotaloop.bridge.mqtt_access import MqttAccess
from quotaloop.bridge.mqtt_session import Lost, Session
from quotaloop.bridge.outlet import Outlet
from quotaloop.errors import ServiceUnreachable
from quotaloop.faults import reached
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.problems import NoAnswer

_IDLE_S = 0.1  # the longest that a signal waits
_REPORT_S = 0.01
_DELAYS_S = (0.1, 30.0)  # before a connection that ended is opened again
_STEADY_S = 10.0  # a connection that held so long was a good one


@dataclass(slots=True)
class Counts:
    """Messages: ``again`` of those received were marked by the broker as sent before.

    ``too_large`` and ``dropped`` (QoS 0 alone) are not copied. ``left`` were received, and the broker sends them again.
    """

    received: int = 0
    again: int = 0
    delivered: int = 0
    acknowledged: int = 0
    too_large: int = 0
    dropped: int = 0
    left: int = 0


@dataclass(slots=True, eq=False)
class _Held:
    """What acknowledges a message that was received; without its payload, which may lie long behind another one."""

    mid: int
    qos: int
    is_done: bool = False


class Bridge:
    """One member of the group. Everything happens in the thread of ``run``; ``say`` is told what operators should know.

    A connection that ends takes what it holds with it: the broker sends again what was not acknowledged on it.
    """

    def __init__(
        self,
        mqtt: MqttAccess,
        kafka: Access,
        topic: str,
        say: Callable[[str], None],
        outlet_of: Callable[[Access, str], Outlet] = Outlet,
    ) -> None:
        self._mqtt, self._kafka, self._topic, self._say = mqtt, kafka, topic, say
        self._outlet_of = outlet_of
        self._held: deque[_Held] = deque()
        self._session: Session | None = None
        self._opened = self._last = float("-inf")
        self._delay_s = _DELAYS_S[0]
        self._is_leaving = self._has_ignored = self._has_said_away = False
        self.is_stopping = False
        self.counts = Counts()

    def run(self, is_told: Callable[[], bool], *, idle_s: float = float("inf"), leave: bool = False) -> Counts:
        """Copy until told to stop, or until nothing has come for ``idle_s``.

        ``leave``: take only what the broker still holds for this member, and have it forget the member. Raises
        ``ServiceUnreachable`` where a server is away at the beginning, for longer than our patience, or refuses us,
        and ``UsageError``.
        """
        self._is_leaving = leave
        self._outlet = self._outlet_of(self._kafka, self._topic)
        try:
            self._connect(is_told, time.monotonic() + self._kafka.patience_s)
            while not is_told() and not self._is_idle(idle_s):
                try:
                    self._turn()
                except Lost as lost:
                    self._say(f"MQTT broker at {self._mqtt.place}: {lost}")
                    self._connect(is_told)
            self._finish()
        finally:
            self._close()
            self._outlet.discard()
        return self.counts

    @property
    def is_open(self) -> bool:
        """Is it a member of the group now?"""
        return self._opened > float("-inf") and self._session is not None

    def _turn(self) -> None:
        assert self._session is not None
        before = self.counts.received
        self._session.turn(0 if self._held else _IDLE_S)
        has_heard = self.counts.received > before
        self._outlet.poll(_REPORT_S if self._held and not has_heard else 0)
        self._acknowledge(self._session)
        if self._outlet.failure is not None:
            raise Lost(f"left, since Kafka at {self._kafka.brokers} failed ({self._outlet.failure.str()})")
        if self._outlet.is_away:
            self._say_away()
        self._has_said_away = self._outlet.is_away

    def _say_away(self) -> None:
        if not self._has_said_away:
            self._say(f"Kafka at {self._kafka.brokers} does not answer: what comes waits with the broker")
        self._has_said_away = True

    def _heard(self, message: MQTTMessage) -> None:
        if self.is_stopping:
            self._has_ignored = True
            return
        self._last = time.monotonic()
        self.counts.received += 1
        self.counts.again += message.dup
        reached("bridge:received")
        if message.qos == 0 and len(self._held) >= self._mqtt.receive_maximum:  # nothing else holds these back
            self.counts.dropped += 1
            return
        held = _Held(message.mid, message.qos)
        self._held.append(held)
        self._copy(message, held)

    def _copy(self, message: MQTTMessage, held: _Held) -> None:
        key, value = message.topic.encode(), bytes(message.payload)
        if self._outlet.takes(key, value):
            self._outlet.put(key, value, partial(self._delivered, held))
            reached("bridge:produced")
            return
        self.counts.too_large += 1
        held.is_done = True
        self._say(
            f"not copied: {len(value)} bytes from {message.topic} (sha256 {sha256(value).hexdigest()}), "
            f"topic {self._topic} has max.message.bytes {self._outlet.most_bytes}"
        )

    def _delivered(self, held: _Held) -> None:
        held.is_done = True
        self.counts.delivered += 1
        reached("bridge:delivered")

    def _acknowledge(self, session: Session) -> None:
        """In the order in which they came (MQTT 5.0, section 4.6): one that is not done holds back the rest."""
        while self._held and self._held[0].is_done:
            held = self._held.popleft()
            if held.qos:
                session.acknowledge(held.mid, held.qos)
                self.counts.acknowledged += 1
                reached("bridge:acknowledged")

    def _connect(self, is_told: Callable[[], bool], until: float = float("inf")) -> None:
        """A session in the place of the last one; not before Kafka has all that came by that, so that memory is bound.

        Raises ``ServiceUnreachable`` when it is not there ``until`` then, and what does not pass by itself.
        """
        self._close()
        if time.monotonic() - self._opened > _STEADY_S:
            self._delay_s = _DELAYS_S[0]
        next_s = time.monotonic() + (self._delay_s if until == float("inf") else 0)
        while self._session is None and not is_told():
            is_clear = self._outlet.failure is not None or len(self._outlet) == 0
            if is_clear and time.monotonic() >= next_s:
                self._try(until)
                self._delay_s = min(2 * self._delay_s, _DELAYS_S[1])
                next_s = min(time.monotonic() + self._delay_s, until)
            else:
                self._outlet.poll(_IDLE_S)

    def _try(self, until: float) -> None:
        try:
            self._renew()
            self._open()
        except Lost as lost:
            self._close()
            if time.monotonic() > until:
                what = f"MQTT broker at {self._mqtt.place} cannot be reached: {lost}; start it or correct --url"
                raise ServiceUnreachable(what) from lost

    def _open(self) -> None:
        is_first = self._opened == float("-inf")
        self._session = session = Session(self._mqtt, self._heard)
        session.open()
        self._join(session)
        self._opened = self._last = time.monotonic()
        place = f"MQTT broker at {self._mqtt.place}"
        if is_first:
            self._say(f"{self._mqtt.subscription} of {place} goes into topic {self._topic} of Kafka")
        elif session.was_known:
            self._say(f"{place} is back")
        else:
            self._say(f"{place} is back, and has forgotten the session: what it held for us is gone")

    def _join(self, session: Session) -> None:
        if self._is_leaving:
            session.leave()
        else:
            session.subscribe()

    def _renew(self) -> None:
        """Another outlet for one that failed; raises what would meet the next one too, and ``Lost`` to try it again."""
        if self._outlet.failure is None:
            return
        if lasting := self._outlet.lasting():
            raise lasting
        self._outlet.discard()
        try:
            self._outlet = self._outlet_of(self._kafka, self._topic)
        except NoAnswer as error:
            if self._opened == float("-inf"):
                raise
            self._say_away()
            raise Lost(str(error)) from error

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None
        self._held.clear()

    def _is_idle(self, idle_s: float) -> bool:
        return not self._held and time.monotonic() - self._last > idle_s

    def _finish(self) -> None:
        """Take no more, give Kafka our patience for the rest, and acknowledge what it has."""
        self.is_stopping = True
        if self._session is None:
            return
        end = time.monotonic() + self._kafka.patience_s
        try:
            while self._held and self._outlet.failure is None and time.monotonic() < end:
                self._turn()
            self._join(self._session)  # once that is answered, what we have acknowledged before has been read
        except Lost as lost:
            self._say(f"MQTT broker at {self._mqtt.place}: {lost}")
        self.counts.left = len(self._held)
        self._session.close(forget=self._is_leaving and not self._held and not self._has_ignored)
