"""How the brokers are reached: addresses, security, and for how long an answer is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from quotaloop.errors import UsageError
from quotaloop.settings import Settings


class NoBroker(UsageError):
    """The settings name no broker."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a client needs to know; it travels to the tasks that land ranges. The password is in no ``repr``."""

    brokers: str
    protocol: str = "plaintext"
    mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    patience_s: float = 20.0

    def client(self) -> dict[str, str | int | float | bool]:
        """Settings of librdkafka for any client."""
        chosen: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.brokers,
            "client.id": "quotaloop",
            "security.protocol": self.protocol,
            "socket.connection.setup.timeout.ms": 5_000,
            "reconnect.backoff.max.ms": 1_000,
            "log_level": 0,  # what goes wrong is said by the error of the call
        }
        if self.protocol.startswith("sasl"):
            chosen |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        if self.ca:
            chosen["ssl.ca.location"] = self.ca
        return chosen

    def consumer(self) -> dict[str, str | int | float | bool]:
        """Settings of a consumer that reads what it is assigned and commits nothing; ends of partitions are said."""
        return self.client() | {
            "group.id": "quotaloop",  # is required, and never used
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # what is asked for is there; only ends are waited for
            "queued.min.messages": 2_000,  # few, so that they are still in a cache when they are encoded
            "fetch.queue.backoff.ms": 1,
            "isolation.level": "read_committed",
        }


def access(settings: Settings) -> Access:
    """Access by the settings; raises ``UsageError`` where they do not say enough."""
    if not settings.kafka_brokers:
        raise NoBroker("no broker is known: set QUOTALOOP_KAFKA_BROKERS to host:port, or kafka_brokers in the file")
    if settings.kafka_security.startswith("sasl") and not settings.kafka_username:
        raise UsageError(f"kafka_security is {settings.kafka_security}: set QUOTALOOP_KAFKA_USERNAME and a password")
    return Access(
        brokers=settings.kafka_brokers,
        protocol=settings.kafka_security,
        mechanism=settings.kafka_mechanism,
        username=settings.kafka_username,
        password=_password(settings),
        ca=settings.kafka_ca,
        patience_s=settings.patience / 1000,
    )


def _password(settings: Settings) -> str:
    if settings.kafka_password or not settings.kafka_password_file:
        return settings.kafka_password
    try:
        return Path(settings.kafka_password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"setting kafka_password_file: {settings.kafka_password_file} cannot be read") from error
