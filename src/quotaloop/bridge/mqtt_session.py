"""One connection to the MQTT broker: opened with its shared subscription, read turn by turn, and lost or closed."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, error_string
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from quotaloop.bridge.mqtt_access import MqttAccess
from quotaloop.errors import QuotaloopError, ServiceUnreachable, UsageError

_ANSWER_S = 10.0  # for the broker to take us in, and to grant the subscription
_TURN_S = 0.05
_PASSING = frozenset({136, 137, 139, 151, 159})  # unavailable, busy, shutting down, quota and rate exceeded
_REFUSED = frozenset({134, 135, 138})  # user name or password, not authorised, banned
_TAKEN_OVER = 142


class Lost(Exception):
    """The connection is not there, or no longer; it may be when it is tried again."""


class Session:
    """A client of its own; ``heard`` is called within ``turn`` with each message."""

    def __init__(self, access: MqttAccess, heard: Callable[[MQTTMessage], None]) -> None:
        self._access = access
        self._client = access.client()
        self._admitted: ReasonCode | None = None
        self._granted: list[ReasonCode] | None = None
        self._ended: ReasonCode | None = None
        self.was_known = False
        client: Any = self._client  # whose callbacks have types for each version of the protocol
        client.on_message = lambda _client, _data, message: heard(message)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_answer
        client.on_unsubscribe = self._on_answer
        client.on_disconnect = self._on_disconnect

    def open(self) -> None:
        """Connect; messages of before are already heard. Raises ``Lost``, or what does not pass by itself."""
        try:
            self._access.connect(self._client)
        except ssl.SSLCertVerificationError as error:
            raise self._error(f"is not trusted ({error.verify_message}); correct --ca or --url") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one
            raise Lost(" ".join(str(error).split()) or type(error).__name__) from error
        self._await(lambda: self._admitted is not None)
        assert self._admitted is not None
        if self._admitted.is_failure:
            raise self._refusal(self._admitted)

    def subscribe(self) -> None:
        """Join the group; raises ``Lost``, or ``ServiceUnreachable`` where the broker refuses."""
        chosen = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        self._granted = None
        self._client.subscribe(self._access.subscription, options=chosen)
        self._await(lambda: self._granted is not None)
        granted: ReasonCode
        for granted in self._granted or ():
            if granted.is_failure:
                raise self._error(f"refuses the subscription {self._access.subscription} ({granted}): may we read it?")
            if granted.value < 1:
                raise self._error(f"grants {self._access.subscription} with QoS 0 alone, which may lose messages")

    def leave(self) -> None:
        """Leave the group: the broker gives new messages to others; what it holds for us still comes."""
        self._granted = None
        self._client.unsubscribe(self._access.subscription)
        self._await(lambda: self._granted is not None)

    def turn(self, timeout_s: float) -> None:
        """Wait so long for something to come, and hear it; raises ``Lost`` where the broker is gone."""
        code = self._client.loop(timeout_s)
        if self._ended is not None:
            raise self._loss(self._ended)
        if code > 0:
            raise Lost(error_string(code))

    def acknowledge(self, mid: int, qos: int) -> None:
        """Say that the message of this id need not be sent again."""
        self._client.ack(mid, qos)

    def close(self, *, forget: bool = False) -> None:
        """Disconnect when all is written; the session stays with the broker unless it may ``forget`` it."""
        end = time.monotonic() + _ANSWER_S
        while self._client.want_write() and self._ended is None and time.monotonic() < end:
            self._client.loop(_TURN_S)
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        if forget:
            properties.SessionExpiryInterval = 0
        self._client.disconnect(properties=properties)

    def _await(self, is_there: Callable[[], bool]) -> None:
        end = time.monotonic() + _ANSWER_S
        while not is_there():
            self.turn(_TURN_S)
            if time.monotonic() > end:
                raise Lost(f"no answer in {_ANSWER_S:.0f} s")

    def _on_connect(self, _client: Client, _data: Any, flags: Any, reason: ReasonCode, _more: Any) -> None:
        self._admitted, self.was_known = reason, flags.session_present

    def _on_answer(self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _more: Any) -> None:
        self._granted = reasons

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, reason: ReasonCode, _more: Any) -> None:
        self._ended = reason

    def _loss(self, reason: ReasonCode) -> Lost | QuotaloopError:
        if self._admitted is not None and self._admitted.is_failure:
            return self._refusal(self._admitted)
        if reason.value == _TAKEN_OVER:
            return UsageError(
                f"another client of the MQTT broker at {self._access.place} has the id {self._access.client_id}: "
                "give each its own --client-id"
            )
        hint = f"if it comes again and again, another client has the id {self._access.client_id}"
        return Lost(f"the connection ended ({reason}); {hint}")

    def _refusal(self, reason: ReasonCode) -> Lost | QuotaloopError:
        if reason.value in _PASSING:
            return Lost(str(reason))
        what = "--username and the password" if reason.value in _REFUSED else "--url or --client-id"
        return self._error(f"does not let us in ({reason}): correct {what}")

    def _error(self, said: str) -> ServiceUnreachable:
        return ServiceUnreachable(f"MQTT broker at {self._access.place} {said}")
