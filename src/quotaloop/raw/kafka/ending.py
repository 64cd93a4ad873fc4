"""The end of a topic: nothing more comes from it, so that it holds no hour open."""

from __future__ import annotations

from collections.abc import Mapping

from quotaloop.errors import CheckRefused, QuotaloopError
from quotaloop.raw import closing, topics
from quotaloop.raw.kafka import generations
from quotaloop.raw.kafka.claims import chain
from quotaloop.raw.kafka.landing import Landed, check_name
from quotaloop.raw.lost import give_up
from quotaloop.storage.store import Store


def end(store: Store, landed: Landed, now_ms: int) -> None:
    """Record that this landing was the last at ``now_ms`` (epoch ms); raises ``CheckRefused`` if records wait."""
    if landed.waiting:
        left = ", ".join(f"{left} of {landed.topic}/{number}" for number, left in sorted(landed.waiting.items()))
        raise CheckRefused(
            f"{landed.topic} has not ended: offsets wait in open transactions, {left}; end those, then land it again"
        )
    closing.end(store, landed.topic, landed.ends, now_ms)


def has_ended(store: Store, topic: str) -> bool:
    """Did the operator say so of what the topic's records land under now?"""
    name = generations.newest(store, check_name(topic))
    return name is not None and name not in closing.open_topics(store)


def end_without_kafka(
    store: Store, topic: str, why: QuotaloopError, now_ms: int, *, cluster: str | None, accept_lost: bool
) -> Landed:
    """Record that what has landed is all that a topic had.

    ``cluster``: the id of the one that answered, and has no such topic. Raises ``why`` if the topic never landed or is
    of another cluster, and ``CheckRefused`` where ranges were claimed and never landed, unless the operator accepts
    that what is left is lost.
    """
    name = generations.newest(store, check_name(topic))
    if name is None or not (accept_lost or cluster == (topics.read(store, name) or {}).get("cluster")):
        raise why
    links = chain(store, name)
    if links.owed and not accept_lost:
        raise CheckRefused(
            f"lost: {', '.join(map(str, links.owed))} were claimed and never landed, and Kafka does not have them; "
            f"to go on without them: quotaloop land kafka --topic {topic} --ended --accept-lost"
        )
    for item in links.owed:
        give_up(store, item, "ended", now_ms)
    closing.end(store, name, links.ends, now_ms)
    return Landed(name, [], links.ends, {}, None, [_said(name, links.ends, why)])


def _said(name: str, ends: Mapping[int, int], why: QuotaloopError) -> str:
    landed = ", ".join(f"offset {end} of partition {number}" for number, end in sorted(ends.items()))
    reason = str(why).partition(";")[0]
    return f"{name} has ended with what has landed, up to {landed or 'nothing'}: {reason}"
