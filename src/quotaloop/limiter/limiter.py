"""The limiter of an API: may this request pass, by the policy in force, and what did it cost in the end?"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, get_args

from msgspec import Struct

from quotaloop.errors import CheckRefused
from quotaloop.limiter.answer import Answer, Source, refused
from quotaloop.limiter.limits import Bound, Bounds, Choice, Counting, asks_under
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.rule import EXACT, Decision, check_cost
from quotaloop.limiter.rules import Algorithm
from quotaloop.limiter.store import Ask, CounterStore, StoreUnavailable, check_actual, check_asks
from quotaloop.quotas.policy import KINDS, Kind, Policy, Rate, check_push

WhenAway = Literal["local", "open", "closed"]
TOKEN_BUCKETS: Mapping[Kind, Algorithm] = {"requests": "gcra", "tokens": "gcra", "compute": "gcra"}
_KINDS = frozenset(KINDS)
_REMEMBERED = 4_096  # tenants without a limit of their own, whose names may be
_LONGEST = 256  # characters long
_KEPT = 4  # policies, of which some may be valid only later
_UNSENT = 100_000  # settlements that wait for a store
_AT_ONCE = 20  # of them, with one request
_AWAY_MS = 1_000  # for which a store that did not answer is not asked


class Limiter:
    """Counts requests against the limits of a policy in a store; safe to use from many threads.

    Before a policy is valid, the one before holds; after it has expired, its safe capacity; without any policy
    ``safe_capacity``. While the store does not answer, each of ``instances`` lets its share of that pass by itself
    (``when_away`` local), or all (open) or none (closed) pass; ``counts`` says how often. Tenants without a limit of
    their own share ``unknown_subjects`` counts, so that invented names can neither fill the store nor pass for free.
    """

    def __init__(
        self,
        store: CounterStore,
        *,
        safe_capacity: Mapping[Kind, Rate],
        algorithms: Mapping[Kind, Algorithm] = TOKEN_BUCKETS,
        instances: int = 1,
        when_away: WhenAway = "local",
        unknown_subjects: int = 1_024,
    ) -> None:
        if when_away not in get_args(WhenAway) or instances < 1 or unknown_subjects < 1:
            raise ValueError("when_away is local, open or closed; instances and unknown_subjects are above 0")
        self.store, self.when_away = store, when_away
        self.counts: Counter[Source] = Counter()
        self._unknown_subjects, self._shared = unknown_subjects, lru_cache(_REMEMBERED)(_shared)
        self._counting = Counting(algorithms, store.hold_ms, instances)
        self._loaded = [Bounds(self._counting, safe_capacity)]  # by epoch, first what holds without a policy
        self._loading = threading.Lock()
        self._here = MemoryStore(hold_ms=store.hold_ms)
        self._away_from_ms: int | None = None
        self._unsent: deque[_Settlement] = deque(maxlen=_UNSENT)

    @property
    def epoch(self) -> int | None:
        """Of the newest policy that is loaded, though its time may not have come."""
        return self._loaded[-1].epoch

    def load(self, policy: Policy) -> None:
        """Go by this policy once it is valid.

        Raises ``CheckRefused`` for one that is not valid as a whole or not newer than those loaded, and ``ValueError``
        for one that cannot be counted exactly; nothing has changed then.
        """
        check_push(policy, None)
        with self._loading:
            newest = self._loaded[-1].epoch
            if newest is not None and policy.epoch <= newest:
                raise CheckRefused(f"policy {policy.epoch} is refused: epoch {newest} is loaded")
            first, *others = self._loaded
            self._loaded = [first, *others[1 - _KEPT :], Bounds.of(policy, self._counting)]

    def reserve(
        self,
        tenant: str,
        request_id: str,
        costs: Mapping[Kind, int],
        *,
        now_ms: int,
        model: str = "*",
        api_version: str = "*",
        guessed: bool = False,
    ) -> Answer:
        """Let a request pass that costs this much, or is expected to, under all limits of these kinds, or refuse it.

        ``now_ms`` is the time of this host in ms since the epoch. ``request_id`` is given by who calls, once an
        attempt. A cost that is ``guessed`` is taken as the most that a limit ever allows where it is above that. Raises
        ``ValueError`` for a cost that is no whole number or, unless it is guessed, above what the policy ever allows.
        """
        _check_kinds(costs)
        held = self._in_force(now_ms)
        source: Source = "policy" if held.is_valid(now_ms) else "safe_capacity"
        holding = held.hold(tenant, model, api_version, now_ms)
        for bound in holding.suspended:
            if check_cost(costs.get(bound.kind, 0), EXACT):
                return self._denied([bound], self.store, source, held.epoch)
        subject, choice = self._subject(held, tenant), holding.choice(costs)
        asks = choice.asks(costs, guessed=guessed)
        if not self._is_away(now_ms):
            try:
                answer = self._asked(self.store, subject, request_id, choice, asks, source, held.epoch, now_ms)
            except StoreUnavailable:
                self._away_from_ms = now_ms
            else:
                if self._unsent:
                    self._send_on(now_ms)
                return answer
        (check_asks if source == "policy" else check_actual)(asks)
        if self.when_away == "local":
            choice = held.share.choice(costs)
            asks = choice.asks(costs, guessed=guessed)
            return self._asked(self._here, subject, request_id, choice, asks, "local", held.epoch, now_ms)
        self.counts[self.when_away] += 1
        wait_ms = 0 if self.when_away == "open" else _AWAY_MS
        return Answer(self.when_away == "open", None, wait_ms, (), self.when_away, held.epoch, (), subject)

    def settle(
        self,
        tenant: str,
        request_id: str,
        costs: Mapping[Kind, int],
        *,
        now_ms: int,
        model: str = "*",
        api_version: str = "*",
        answer: Answer | None = None,
    ) -> bool:
        """Say what a request came to, once, with the ``model`` and ``api_version`` it was reserved with.

        ``answer`` is what it was let in by; without it, limits that a policy has named, renamed or dropped since are
        not settled. Kinds that are not named keep their cost; the slot is free. False where nothing is reserved under
        the id (it was refused, or is held no longer), and while the store is away: it is told when it answers again.
        """
        _check_kinds(costs)
        held = self._in_force(now_ms)
        named: dict[Kind, int] = {"concurrency": 0, **costs}
        subject, asks = self._reserved(held, answer, tenant, model, api_version, named, now_ms)
        was_here = False
        check_actual(asks)
        if not self._here.is_idle:
            share = held.share.choice(named).asks(named)
            was_here = self._here.settle(subject, request_id, share, now_ms)
        if self._is_away(now_ms):
            self._unsent.append(_Settlement(subject, request_id, asks))
            return was_here
        try:  # also of what was reserved here: the answer of the store may have been lost on its way
            return self.store.settle(subject, request_id, asks, now_ms) or was_here
        except StoreUnavailable:
            self._away_from_ms = now_ms
            self._unsent.append(_Settlement(subject, request_id, asks))
            return was_here

    def extend(
        self,
        tenant: str,
        request_id: str,
        *,
        now_ms: int,
        model: str = "*",
        api_version: str = "*",
        answer: Answer | None = None,
    ) -> bool:
        """Hold what a request has reserved for as long again; False where nothing is, or the store is away.

        Names and ``answer`` are as for ``settle``.
        """
        held, costs = self._in_force(now_ms), dict[Kind, int]({"concurrency": 1})
        subject, asks = self._reserved(held, answer, tenant, model, api_version, costs, now_ms)
        if self._here.extend(subject, request_id, held.share.choice(costs).asks(costs), now_ms):
            return True
        if self._is_away(now_ms):
            return False
        try:
            return self.store.extend(subject, request_id, asks, now_ms)
        except StoreUnavailable:
            self._away_from_ms = now_ms
            return False

    def _in_force(self, now_ms: int) -> Bounds:
        """The newest whose time has come."""
        loaded = self._loaded
        if loaded[-1].valid_ms <= now_ms:
            return loaded[-1]
        return next((one for one in reversed(loaded) if one.valid_ms <= now_ms), loaded[0])

    def _subject(self, held: Bounds, tenant: str) -> str:
        """A tenant with limits of its own counts by itself, others share so many counts."""
        if held.knows(tenant):
            return f"tenant:{tenant}"
        return (self._shared if len(tenant) <= _LONGEST else _shared)(tenant, self._unknown_subjects)

    def _reserved(
        self,
        held: Bounds,
        answer: Answer | None,
        tenant: str,
        model: str,
        api_version: str,
        costs: Mapping[Kind, int],
        now_ms: int,
    ) -> tuple[str, list[Ask]]:
        """Whose count a reservation is in, and these costs under its limits, which may hold no longer.

        What passed while the store was away is, where it was counted after all, so under the limits of now.
        """
        subject = (answer and answer.subject) or self._subject(held, tenant)
        if answer is None or answer.source not in ("policy", "safe_capacity"):
            return subject, asks_under(held.hold(tenant, model, api_version, now_ms).choice(costs).bounds, costs)
        return subject, asks_under([bound for bound in answer.bounds if bound.kind in costs], costs)

    def _is_away(self, now_ms: int) -> bool:
        return self._away_from_ms is not None and 0 <= now_ms - self._away_from_ms < _AWAY_MS

    def _send_on(self, now_ms: int) -> None:
        """Tell a store that answers again what it was not told, a few at a time."""
        for _ in range(min(len(self._unsent), _AT_ONCE)):
            try:
                settlement = self._unsent.popleft()
            except IndexError:  # another thread was first
                return
            try:
                self.store.settle(settlement.subject, settlement.request_id, settlement.asks, now_ms)
            except StoreUnavailable:
                self._unsent.appendleft(settlement)
                self._away_from_ms = now_ms
                return

    def _asked(  # a store looks itself whether costs can be
        self,
        store: CounterStore,
        subject: str,
        request_id: str,
        choice: Choice,
        asks: list[Ask],
        source: Source,
        epoch: int | None,
        now_ms: int,
    ) -> Answer:
        if source != "policy" and (over := choice.over(asks)):
            return self._denied(over, store, source, epoch)
        decisions = store.reserve(subject, request_id, asks, now_ms)
        self.counts[source] += 1
        pairs = tuple(zip(choice.kinds, decisions, strict=True))
        for found in decisions:
            if not found.allowed:
                return refused(pairs, source, epoch, choice.bounds)
        return Answer(True, None, 0, pairs, source, epoch, choice.bounds, subject)

    def _denied(self, over: Sequence[Bound], store: CounterStore, source: Source, epoch: int | None) -> Answer:
        """The answer to what none of these limits ever allows."""
        self.counts[source] += 1
        pairs = tuple((bound.kind, Decision(False, 0, store.hold_ms)) for bound in over)
        return refused(pairs, source, epoch, tuple(over))


class _Settlement(Struct, frozen=True):
    subject: str
    request_id: str
    asks: list[Ask]


def _shared(tenant: str, subjects: int) -> str:
    digest = blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return f"unknown:{int.from_bytes(digest) % subjects}"


def _check_kinds(costs: Mapping[Kind, int]) -> None:
    if not costs.keys() <= _KINDS:
        raise ValueError(f"kinds are {', '.join(KINDS)}, not {', '.join(sorted(costs.keys() - _KINDS))}")
