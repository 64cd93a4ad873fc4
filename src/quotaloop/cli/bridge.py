"""Commands that bring events from other transports into Kafka."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from quotaloop.cli.call import call_of
from quotaloop.errors import UsageError
from quotaloop.settings import duration_ms
from quotaloop.terminal.output import spelled_out

app = typer.Typer(help="Copy events of other transports into Kafka.")
_LEAVE_S = 2.0  # without a message, after which a member that leaves has had all


@app.callback()
def _bridges() -> None:
    """A group of commands, even while there is one."""


@app.command("mqtt")
def bridge_mqtt(
    context: typer.Context,
    url: Annotated[str, typer.Option(envvar="QUOTALOOP_MQTT_URL", help="mqtt://HOST:PORT or mqtts://HOST:PORT.")],
    topic: Annotated[str, typer.Option(envvar="QUOTALOOP_MQTT_TOPIC", help="The filter of MQTT topics to take.")],
    to: Annotated[str, typer.Option(envvar="QUOTALOOP_MQTT_TO", help="The topic of Kafka; it has to be there.")],
    group: Annotated[
        str, typer.Option(envvar="QUOTALOOP_MQTT_GROUP", help="Bridges of a group share the messages; '': alone.")
    ] = "quotaloop",
    client_id: Annotated[
        str, typer.Option(envvar="QUOTALOOP_MQTT_CLIENT_ID", help="By default quotaloop-GROUP-HOSTNAME.")
    ] = "",
    session: Annotated[
        str, typer.Option(envvar="QUOTALOOP_MQTT_SESSION", help="How long the broker holds messages for us: 7d, never.")
    ] = "7d",
    receive_maximum: Annotated[
        int, typer.Option(envvar="QUOTALOOP_MQTT_RECEIVE_MAXIMUM", help="Most messages between broker and Kafka.")
    ] = 1_000,
    username: Annotated[
        str, typer.Option(envvar="QUOTALOOP_MQTT_USERNAME", help="The password is QUOTALOOP_MQTT_PASSWORD.")
    ] = "",
    password_file: Annotated[
        Path | None, typer.Option(envvar="QUOTALOOP_MQTT_PASSWORD_FILE", help="Or it lies in this file.")
    ] = None,
    ca: Annotated[str, typer.Option(envvar="QUOTALOOP_MQTT_CA", help="Certificates to trust, PEM.")] = "",
    cert: Annotated[str, typer.Option(envvar="QUOTALOOP_MQTT_CERT", help="Our certificate, PEM.")] = "",
    key: Annotated[str, typer.Option(envvar="QUOTALOOP_MQTT_KEY", help="Its key, PEM.")] = "",
    until_idle: Annotated[
        str | None, typer.Option(metavar="DURATION", help="End when nothing has come for so long: 5s.")
    ] = None,
    leave: Annotated[
        bool, typer.Option("--leave", help="Take what the broker still holds for this id, and end its session.")
    ] = False,
) -> None:
    """Copy messages of an MQTT broker into Kafka until SIGTERM; each is acknowledged once Kafka has it."""
    from quotaloop.raw.kafka.access import access
    from quotaloop.raw.kafka.landing import check_name

    mqtt, access_of = _parts()
    call = call_of(context)
    broker = access_of(
        url=url,
        topic=topic,
        group=group,
        client_id=client_id or "-".join(filter(None, ("quotaloop", group, socket.gethostname()))),
        session_s=_session_s(session),
        receive_maximum=receive_maximum,
        username=username,
        password=_password(password_file, is_flag=_is_flag(context, "password_file")),
        ca=ca,
        cert=cert,
        key=key,
    )
    idle_s = duration_ms(until_idle) / 1000 if until_idle else _LEAVE_S if leave else float("inf")
    bridge = mqtt.Bridge(broker, access(call.settings), check_name(to), _say)
    with _told() as is_told:
        counts = asdict(bridge.run(is_told, idle_s=idle_s, leave=leave))
    call.print(counts, "  ".join(f"{name} {count:,}" for name, count in counts.items()))


def _parts() -> tuple[Any, Any]:
    """The bridge and what it needs to know of the broker; raises ``UsageError`` without the package it is made with."""
    try:
        from quotaloop.bridge import mqtt
        from quotaloop.bridge.mqtt_access import MqttAccess
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("paho"):
            raise
        raise UsageError("the bridge needs paho-mqtt, which is not installed: pip install 'quotaloop[mqtt]'") from error
    return mqtt, MqttAccess


def _session_s(text: str) -> int:
    from quotaloop.bridge.mqtt_access import NEVER_S

    seconds = NEVER_S if text == "never" else duration_ms(text) // 1000
    if not 1 <= seconds <= NEVER_S:
        raise UsageError(f"--session is from 1s to 49000d, or never, not {text!r}")
    return seconds


def _is_flag(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _password(path: Path | None, *, is_flag: bool) -> str:
    """Of the file of a flag, from the environment, or of the file that it names.

    Never a flag itself, which other users of the machine could read.
    """
    given = os.environ.get("QUOTALOOP_MQTT_PASSWORD", "")
    if path is None or (given and not is_flag):
        return given
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--password-file: {path} cannot be read") from error


@contextmanager
def _told() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGINT has come; the second one ends the process at once."""
    told: list[int] = []

    def hear(number: int, _: object) -> None:
        told.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    from quotaloop.events.credentials import redact_text

    sys.stderr.write(f"quotaloop: {spelled_out(redact_text(text))}\n")
    sys.stderr.flush()
