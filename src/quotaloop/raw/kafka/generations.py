"""The name a topic's records land under: its own, or ``<topic>@2`` once it was made again and the operator said so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.raw import topics
from quotaloop.raw.kafka.broker import Topic
from quotaloop.raw.kafka.claims import chain
from quotaloop.raw.lost import give_up
from quotaloop.raw.topics import successor
from quotaloop.storage.store import Store

SOURCE = "kafka"


def name_of(store: Store, topic: Topic, *, recreated: bool) -> str:
    """The name to land under.

    Raises ``UsageError`` where its folder holds files, and, unless the operator says that it was ``recreated``,
    ``CheckRefused`` where it holds another topic of this name.
    """
    name, there = _newest(store, topic.name)
    if there is None:
        return name
    _check_kind(name, there)
    if (there["cluster"], there["topic_id"]) == (topic.cluster, topic.topic_id):
        return name
    if recreated:
        return successor(name)
    raise CheckRefused(
        f"topic_recreated: {name} holds topic id {there['topic_id']} of cluster {there['cluster']}, and the brokers "
        f"have {topic.topic_id} of {topic.cluster}; to go on as {successor(name)}: "
        f"quotaloop land kafka --topic {topic.name} --recreated"
    )


def declare(store: Store, name: str, topic: Topic, lows: Mapping[int, int]) -> dict[int, int]:
    """Say what the folder holds, unless it is said; partition to the first offset that there was when it was said.

    Raises ``UsageError`` where it holds something else.
    """
    document = {
        "source": SOURCE,
        "cluster": topic.cluster,
        "topic_id": topic.topic_id,
        "format": "native",
        "derived": [],
        "begins": {str(number): first for number, first in sorted(lows.items())},
    }
    there = topics.write(store, name, document)
    _check_kind(name, there)
    if there["topic_id"] != topic.topic_id:
        raise CheckRefused(f"topic_recreated: {name} was landed from another topic meanwhile; land it again")
    return {int(number): first for number, first in there["begins"].items()}


def next_name(store: Store, topic: str) -> str:
    """The name for a topic that was made again: ``t@2`` after ``t``."""
    name, there = _newest(store, topic)
    return name if there is None else successor(name)


def complete_older(store: Store, topic: str, name: str, now_ms: int) -> list[str]:
    """Land what generations before ``name`` owe without lines, for it cannot come any more; a line for each range."""
    said, older = [], topic
    while older != name:
        for item in chain(store, older).owed:
            give_up(store, item, "recreated", now_ms)
            said.append(f"{item.end - item.start} offsets of {item} were lost")
        older = successor(older)
    return said


def newest(store: Store, topic: str) -> str | None:
    """The name that a topic's records land under now, None if it never landed; raises ``UsageError`` if it is files."""
    name, there = _newest(store, topic)
    if there is None:
        return None
    _check_kind(name, there)
    return name


def _check_kind(name: str, there: Mapping[str, Any]) -> None:
    if there["source"] != SOURCE:
        raise UsageError(f"topic {name} holds {there['source']}, not {SOURCE}; choose another --topic")


def _newest(store: Store, topic: str) -> tuple[str, dict[str, Any] | None]:
    name, there = topic, topics.read(store, topic)
    while there is not None:
        later = topics.read(store, successor(name))
        if later is None:
            break
        name, there = successor(name), later
    return name, there
