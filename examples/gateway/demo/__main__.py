"""A running gateway, a noisy tenant, the loop, and its limits in force: who was refused before, and who is after.

``python -m examples.gateway.demo [FOLDER] [--seconds 15] [--cluster]``. Events are files that the loop lands, or with
``--cluster`` records of Kafka, the store is on HDFS and the policy goes through Redis; the settings of the environment
say where these are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from examples.fresh_folder import fresh_folder
from examples.gateway.demo import topic as topics
from examples.gateway.demo.story import HOUR_S, Loop, Scale, tell
from quotaloop.errors import UsageError

_TOPIC = "gateway"
_PATIENCE_S = 30.0


def main() -> None:
    """Tell the story in a new folder; exit code 1 where it does not come out as it should."""
    said = _parser().parse_args()
    try:
        folder = fresh_folder(said.folder)
    except UsageError as error:
        sys.exit(str(error))
    console, scale = Console(highlight=False), Scale(seconds=said.seconds)
    came_out = _on_cluster(console, folder, scale) if said.cluster else _embedded(console, folder, scale)
    sys.exit(0 if came_out else 1)


def _embedded(console: Console, folder: Path, scale: Scale) -> bool:
    """Nothing but this machine's disk."""
    store, outbox = folder / "store", folder / "outbox"
    loop = Loop(console, folder / "settings.toml", {"store": store.as_uri(), **scale.settings()})
    gateway: dict[str, object] = {"outbox": outbox, "policy": store / "published" / "policy.json"}
    gateway |= {"kafka_brokers": "", "redis_url": ""}  # whatever the environment says

    def land(count: int) -> None:
        _wait(lambda: sum(path.read_bytes().count(b"\n") for path in outbox.glob("*.jsonl")), count)
        files = sorted(str(path) for path in outbox.glob("*.jsonl"))
        loop.call("land", "files", *files, "--topic", _TOPIC, shown=f"land files outbox/*.jsonl --topic {_TOPIC}")

    return tell(console, folder, scale, gateway, loop, land)


def _on_cluster(console: Console, folder: Path, scale: Scale) -> bool:
    """Events through Kafka, the store on HDFS, Spark and MapReduce on YARN, counts and policy in Redis."""
    from peers.redis_server import RedisServer

    brokers, topic = os.environ["QUOTALOOP_KAFKA_BROKERS"], f"{_TOPIC}-{int(time.time())}"
    with RedisServer(folder) as redis:
        sinks = {"redis": {"type": "redis", "url": redis.url}}
        settings = {**scale.settings(), "kafka_topics": topic, "closed_grace": "1m", "sinks": json.dumps(sinks)}
        loop = Loop(console, folder / "settings.toml", settings, inherited=True)
        gateway: dict[str, object] = {"kafka_brokers": brokers, "kafka_topic": topic, "redis_url": redis.url}

        topics.make(brokers, topic)

        def land(count: int) -> None:
            _wait(lambda: topics.arrived(brokers, topic), count)
            loop.call("land", "kafka", "--topic", topic)

        return tell(console, folder, scale, gateway, loop, land, behind_more_s=HOUR_S)


def _wait(arrived: Callable[[], int], count: int) -> None:
    """Until so many events have arrived: one of each attempt, no more."""
    end_s = time.monotonic() + _PATIENCE_S
    while (found := arrived()) < count:
        if time.monotonic() > end_s:
            break
        time.sleep(0.1)
    if found != count:
        raise SystemExit(f"{count} attempts were made, and {found} events have arrived")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.gateway.demo", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/demo"))
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load")
    parser.add_argument("--cluster", action="store_true", help="on Kafka, HDFS, YARN and Redis")
    return parser


if __name__ == "__main__":
    main()
