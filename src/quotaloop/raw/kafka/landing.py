"""A topic's records into the raw zone: look, claim, copy, close.

A landing first completes the ranges that were claimed and have not landed, then lands what is new. Ranges are copied in
any order, here or elsewhere. Once the end of every partition has landed, hours are closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from quotaloop.errors import CheckRefused
from quotaloop.raw import closing
from quotaloop.raw.kafka import generations
from quotaloop.raw.kafka.broker import Broker
from quotaloop.raw.kafka.claims import Chain, chain, claim
from quotaloop.raw.kafka.copy import Copied, Source, lost
from quotaloop.raw.kafka.plan import Sizes, State, cuts, watermark
from quotaloop.raw.kafka.sample import samples
from quotaloop.raw.ranges import Range, check_topic
from quotaloop.storage.store import Store

Copier = Callable[[Store, Source, Sequence[Range]], Iterable[Copied]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a topic is to be landed; ``recreated``: the operator says that it was made again, and goes on as another."""

    sizes: Sizes
    grace_ms: int
    now_ms: int
    recreated: bool = False


@dataclass(frozen=True, slots=True)
class Landed:
    """What a landing did; ``waiting``: offsets that are left, by partition; ``said``: what is to be told, a line each.

    Everything up to ``watermark_ms`` has landed; None where that cannot be said.
    """

    topic: str
    copied: list[Copied]
    waiting: dict[int, int]
    watermark_ms: int | None
    said: list[str] = field(default_factory=list)


def land_topic(store: Store, source: Source, order: Order, copier: Copier) -> Landed:
    """Land what ``source.topic`` has beyond what has landed.

    Partitions that nothing is wrong with are landed first; then ``CheckRefused`` is raised for offsets that were lost
    or run backwards. It is raised at once for a topic that was made again; the operator's word answers all of these.
    """
    look = _look(store, source, order)
    ranges = [item for item in look.owed if item.partition not in look.refusals]
    for state in look.states:
        if state.number not in look.refusals:
            ranges.extend(_claimed(store, look.name, state, order))
    copied = list(copier(store, source, ranges))
    for refusal in look.refusals.values():
        raise refusal
    landed = chain(store, look.name).landed
    ends = {state.number: landed.get(state.number, state.start) for state in look.states}
    mark = watermark(look.states, ends, order.now_ms)
    if mark is not None:
        bound = closing.bound(mark, order.grace_ms)
        closing.close(store, look.name, closing.Closing(bound, order.now_ms, mark, ends))
    waiting = {state.number: state.offsets.high - ends[state.number] for state in look.states}
    said = [*look.said, *(f"{item.lost} offsets of {item.range} were lost" for item in copied if item.lost)]
    return Landed(look.name, copied, {number: left for number, left in waiting.items() if left > 0}, mark, said)


def find_topic(broker: Broker, topic: str) -> Source:
    """The topic as the brokers have it; raises ``UsageError`` if there is none."""
    return Source(broker.access, broker.topic(check_topic(topic)))


@dataclass(frozen=True, slots=True)
class _Look:
    """A topic before a landing: the name it lands under, its partitions, what is owed, and what is wrong with which."""

    name: str
    states: list[State]
    owed: list[Range]
    refusals: dict[int, CheckRefused]
    said: list[str]


def _look(store: Store, source: Source, order: Order) -> _Look:
    broker = Broker(source.access)
    name = generations.name_of(store, source.topic, recreated=order.recreated)
    links, offsets = chain(store, name), broker.offsets(source.topic)
    if order.recreated and any(offsets[number].high < end for number, end in links.ends.items()):
        name, links = generations.next_name(store, source.topic.name), Chain()
    begins = generations.declare(store, name, source.topic, {number: one.low for number, one in offsets.items()})
    starts = {number: links.ends.get(number, begins.get(number, 0)) for number in source.topic.partitions}
    kept = {number: max(start, offsets[number].low) for number, start in starts.items()}
    there = {number: first for number, first in kept.items() if first < offsets[number].high}
    found = samples(source.access, source.topic.name, there)
    states = [State(number, start, offsets[number], found.get(number)) for number, start in starts.items()]
    wrong = {state.number: _wrong(name, state, links.owed, source.accept_lost) for state in states}
    new = sorted(set(starts) - set(begins) - set(links.ends))
    said = [f"{name} has grown: partition {number} is new and is landed from its first offset" for number in new]
    return _Look(name, states, links.owed, {number: error for number, error in wrong.items() if error}, said)


def _wrong(name: str, state: State, owed: Sequence[Range], accept_lost: bool) -> CheckRefused | None:
    low, high = state.offsets.low, state.offsets.high
    if high < state.start:
        return CheckRefused(
            f"offsets run backwards: {state.start - high} offsets from {high} to {state.start} of "
            f"{name}/{state.number} have landed, and the brokers end at {high}; to go on with another beginning: "
            f"quotaloop land kafka --topic {name.partition('@')[0]} --recreated"
        )
    first = min([state.start, *(item.start for item in owed if item.partition == state.number)])
    if first < low and not accept_lost:
        return lost(Range(name, state.number, first, low))
    return None


def _claimed(store: Store, name: str, state: State, order: Order) -> list[Range]:
    """What is claimed of a partition now: first what is lost of it, as a range of its own."""
    first = max(state.start, state.offsets.low)
    gone = [Range(name, state.number, state.start, first)] if first > state.start else []
    ends = [first, *cuts(state, order.sizes, order.now_ms)]
    new = [Range(name, state.number, start, end) for start, end in pairwise(ends)]
    claims = [*claim(store, gone, "lost", order.now_ms), *claim(store, new, generations.SOURCE, order.now_ms)]
    return sorted(set(claims))
