"""A topic's records into the raw zone: look, claim, copy, close.

A landing first completes the ranges that were claimed and have not landed, then lands what is new. Ranges are copied in
any order, here or elsewhere. Once the end of every partition has landed, hours are closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.raw import closing
from quotaloop.raw.kafka import generations
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.broker import Broker, Offsets
from quotaloop.raw.kafka.claims import Chain, chain, claim
from quotaloop.raw.kafka.copy import Copied, Source, lost
from quotaloop.raw.kafka.plan import Sizes, State, cuts, places, watermark
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
    """What a landing did; ``said``: what is to be told, a line each.

    By partition: ``ends``, one after the last offset that has landed, and ``waiting``, how many offsets are left.
    Everything up to ``watermark_ms`` has landed; None where that cannot be said.
    """

    topic: str
    copied: list[Copied]
    ends: dict[int, int]
    waiting: dict[int, int]
    watermark_ms: int | None
    said: list[str] = field(default_factory=list)


def land_topic(store: Store, source: Source, order: Order, copier: Copier) -> Landed:
    """Land what ``source.topic`` has beyond what has landed.

    Partitions that nothing is wrong with are landed first; then ``CheckRefused`` is raised for offsets that were lost
    or run backwards. It is raised at once for a topic that was made again; the operator's word answers all of these.
    """
    look = _look(store, source, order)
    wrong = look.wrong
    ranges = [item for item in look.owed if item.partition not in wrong]
    for state in look.states:
        if state.number not in wrong:
            ranges.extend(_claimed(store, look.name, state, order))
    copied = list(copier(store, source, ranges))
    if wrong:
        raise _refusal(look)
    landed = chain(store, look.name).landed
    ends = {state.number: landed.get(state.number, state.start) for state in look.states}
    mark = watermark(look.states, ends, order.now_ms)
    if mark is not None:
        bound = closing.bound(mark, order.grace_ms)
        closing.close(store, look.name, closing.Closing(bound, order.now_ms, mark, ends))
    waiting = {state.number: state.offsets.high - ends[state.number] for state in look.states}
    said = [*look.said, *(f"{item.lost} offsets of {item.range} were lost" for item in copied if item.lost)]
    if mark is None:
        said.append(
            f"no hour of {look.name} closes: records that wait have no Kafka time, or one that is still to come"
        )
    return Landed(look.name, copied, ends, {number: left for number, left in waiting.items() if left > 0}, mark, said)


def find_topic(access: Access, topic: str) -> Source:
    """The topic as the brokers have it; raises ``UsageError`` if there is none."""
    return Source(access, Broker(access).topic(check_name(topic)))


def check_name(topic: str) -> str:
    """The name, if Kafka may have such a topic; raises ``UsageError``."""
    name = check_topic(topic)
    if "@" in name:
        raise UsageError(
            f"topic {name}: Kafka has no such name; give it without '@', as --topic {name.partition('@')[0]}"
        )
    return name


@dataclass(frozen=True, slots=True)
class _Look:
    """A topic before a landing: the name it lands under, its partitions, what is owed, and what is wrong with some.

    ``gone``: offsets that were deleted; ``beyond``: offsets that have landed, and lie beyond what the brokers have.
    """

    name: str
    states: list[State]
    owed: list[Range]
    gone: list[Range]
    beyond: list[Range]
    said: list[str]

    @property
    def wrong(self) -> set[int]:
        """Partitions that are not landed."""
        return {item.partition for item in (*self.gone, *self.beyond)}


def _look(store: Store, source: Source, order: Order) -> _Look:
    broker = Broker(source.access)
    name = generations.name_of(store, source.topic, recreated=order.recreated)
    links, offsets = chain(store, name), broker.offsets(source.topic)
    if order.recreated and any(offsets[number].high < end for number, end in links.ends.items()):
        name, links = generations.next_name(store, source.topic.name), Chain()
    said = generations.complete_older(store, source.topic.name, name, order.now_ms)
    begins = generations.declare(store, name, source.topic, {number: one.low for number, one in offsets.items()})
    starts = {number: links.ends.get(number, begins.get(number, 0)) for number in source.topic.partitions}
    there = _places(starts, offsets)
    found = samples(source.access, source.topic.name, there)
    states = [State(number, start, offsets[number], found.get(number)) for number, start in starts.items()]
    new = sorted(set(starts) - set(begins) - set(links.ends))
    said += [f"{name} has grown: partition {number} is new and is landed from its first offset" for number in new]
    beyond = [Range(name, one.number, one.offsets.high, one.start) for one in states if one.offsets.high < one.start]
    gone = [] if source.accept_lost else _gone(name, states, links.owed)
    return _Look(name, states, links.owed, gone, beyond, said)


def _places(starts: Mapping[int, int], offsets: Mapping[int, Offsets]) -> dict[int, list[int]]:
    kept = {number: max(start, offsets[number].low) for number, start in starts.items()}
    return {
        number: places(first, offsets[number].high) for number, first in kept.items() if first < offsets[number].high
    }


def _gone(name: str, states: Sequence[State], owed: Sequence[Range]) -> list[Range]:
    firsts = {state.number: state.start for state in states}
    for item in owed:
        firsts[item.partition] = min(firsts.get(item.partition, item.start), item.start)
    lows = {state.number: state.offsets.low for state in states}
    return [
        Range(name, number, first, lows[number]) for number, first in firsts.items() if first < lows.get(number, first)
    ]


def _refusal(look: _Look) -> CheckRefused:
    """All that is wrong, in one line."""
    said = [str(lost(look.gone))] if look.gone else []
    if look.beyond:
        what = ", ".join(
            f"{item.end - item.start} offsets from {item.start} to {item.end} of {item.topic}/{item.partition}"
            for item in look.beyond
        )
        said.append(
            f"offsets run backwards: {what} have landed, and the brokers end before them; to go on with another "
            f"beginning: quotaloop land kafka --topic {look.name.partition('@')[0]} --recreated"
        )
    return CheckRefused("; ".join(said))


def _claimed(store: Store, name: str, state: State, order: Order) -> list[Range]:
    """What is claimed of a partition now: first what is lost of it, as a range of its own."""
    first = max(state.start, state.offsets.low)
    ends = [*([first] if first > state.start else []), *cuts(state, order.sizes, order.now_ms)]
    wanted = [Range(name, state.number, start, end) for start, end in pairwise([state.start, *ends])]
    return list(claim(store, wanted, generations.SOURCE, order.now_ms, lost_before=first))
