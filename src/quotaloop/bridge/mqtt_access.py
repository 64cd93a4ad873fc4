"""How the MQTT broker is reached, and which of its messages are taken."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from quotaloop.errors import UsageError
from quotaloop.hosts import in_address

RECEIVE_MAXIMUM = 1_000  # messages that the broker may send before the first of them is acknowledged
NEVER_S = 0xFFFFFFFF  # a session that does not expire
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_KEEPALIVE_S = 30
_CONNECT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttAccess:
    """What a client needs to know; the password is in no ``repr``. Raises ``UsageError`` for what cannot be.

    Without a ``group`` the subscription is a plain one, for a bridge that is alone.
    """

    url: str
    topic: str
    group: str = "quotaloop"
    client_id: str
    session_s: int = 7 * 86_400
    receive_maximum: int = RECEIVE_MAXIMUM
    username: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    cert: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        _ = self.address
        if set(self.group) & set("/+#\0"):
            raise UsageError(f"--group is a word without / + #, not {self.group!r}")
        if not is_filter(self.topic):
            raise UsageError(f"--topic is a filter of MQTT such as gateways/+/events or gateways/#, not {self.topic!r}")
        if not self.client_id or "\0" in self.client_id:
            raise UsageError("--client-id is a name that no other client of the broker has")
        if self.password and not self.username:
            raise UsageError("there is a password and no --username")
        if bool(self.cert) != bool(self.key):
            raise UsageError("--cert and --key are given together")
        if (self.ca or self.cert) and self.scheme != "mqtts":
            raise UsageError("--ca and --cert are for mqtts://, the --url is mqtt://")
        if not 1 <= self.receive_maximum <= 65_535:
            raise UsageError(f"--receive-maximum is from 1 to 65535, not {self.receive_maximum}")

    @property
    def scheme(self) -> str:
        """``mqtt`` or ``mqtts``."""
        return urlsplit(self.url).scheme

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        try:
            parts = urlsplit(self.url)
            port, host = parts.port or _PORTS[parts.scheme], parts.hostname
            if not host or "@" in self.url or parts.path.strip("/") or parts.query or parts.fragment:
                raise ValueError
        except (ValueError, KeyError):
            raise UsageError(
                "--url is mqtt://HOST:PORT or mqtts://HOST:PORT; the user goes into --username, "
                "the password into --password-file or QUOTALOOP_MQTT_PASSWORD"
            ) from None
        return host, port

    @property
    def place(self) -> str:
        """Host and port, as errors say them."""
        host, port = self.address
        return f"{in_address(host)}:{port}"

    @property
    def subscription(self) -> str:
        """Of a group it is a shared one: the broker gives each message to one of its members."""
        return f"$share/{self.group}/{self.topic}" if self.group else self.topic

    def client(self) -> Client:
        """A client that acknowledges what it is told to, and reconnects by nobody's word."""
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_S
        if self.username:
            client.username_pw_set(self.username, self.password or None)
        if self.scheme == "mqtts":
            client.tls_set_context(self._tls())
        return client

    def connect(self, client: Client) -> None:
        """Open the connection and go on with the session of this id; raises ``OSError``."""
        wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        wanted.SessionExpiryInterval = self.session_s
        wanted.ReceiveMaximum = self.receive_maximum
        client.connect(*self.address, keepalive=_KEEPALIVE_S, clean_start=False, properties=wanted)

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            named = " or ".join(name for name in (self.ca, self.cert, self.key) if name)
            raise UsageError(f"{named} cannot be read as certificates or a key: {error}") from error
        return context


def is_filter(topic: str) -> bool:
    """Is it a topic filter of MQTT (5.0, section 4.7), and not itself of a shared subscription?

    >>> [is_filter(topic) for topic in ("a/b", "+/a/#", "#", "a#", "a/#/b", "a+/b", "", "$share/g/a")]
    [True, True, True, False, False, False, False, False]
    """
    if not topic or "\0" in topic or topic.startswith("$share/") or len(topic.encode()) > 65_000:
        return False
    *above, last = topic.split("/")
    return not any("#" in level for level in above) and all(
        level in ("+", "#") or not set(level) & set("+#") for level in (*above, last)
    )
