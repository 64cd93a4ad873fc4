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
from quotaloop.limiter.limits import Bound, Bounds, Choice, Counting, Holding
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
        asks = _asks(choice, costs, guessed)
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
            asks = _asks(choice, costs, guessed)
            return self._asked(self._here, subject, request_id, choice, asks, "local", held.epoch, now_ms)
        self.counts[self.when_away] += 1
        wait_ms = 0 if self.when_away == "open" else _AWAY_MS
        return Answer(self.when_away == "open", None, wait_ms, (), self.when_away, held.epoch)

    def settle(
        self,
        tenant: str,
        request_id: str,
        costs: Mapping[Kind, int],
        *,
        now_ms: int,
        model: str = "*",
        api_version: str = "*",
        subject: str | None = None,
    ) -> bool:
        """Say what a request came to, once, with the ``model`` and ``api_version`` it was reserved with.

        ``subject`` is that of its answer: without it, what was reserved before a policy named the tenant for the first
        time, or no longer, is not found. Kinds that are not named keep their cost; the slot is free. False where
        nothing is reserved under the id (it was refused, or is held no longer), and while the store is away: it is told
        when it answers again.
        """
        _check_kinds(costs)
        held = self._in_force(now_ms)
        named: dict[Kind, int] = {"concurrency": 0, **costs}
        subject, holding = self._reserved(held, subject, tenant, model, api_version, now_ms)
        asks, was_here = _asks(holding.choice(named), named), False
        check_actual(asks)
        if not self._here.is_idle:
            share = _asks(held.share.choice(named), named)
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
        subject: str | None = None,
    ) -> bool:
        """Hold what a request has reserved for as long again; False where nothing is, or the store is away.

        Names are as for ``settle``.
        """
        held = self._in_force(now_ms)
        subject, holding = self._reserved(held, subject, tenant, model, api_version, now_ms)
        costs: dict[Kind, int] = {"concurrency": 1}
        if self._here.extend(subject, request_id, _asks(held.share.choice(costs), costs), now_ms):
            return True
        if self._is_away(now_ms):
            return False
        try:
            return self.store.extend(subject, request_id, _asks(holding.choice(costs), costs), now_ms)
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
        self, held: Bounds, subject: str | None, tenant: str, model: str, api_version: str, now_ms: int
    ) -> tuple[str, Holding]:
        """Whose count a reservation is in, and the limits that are counted there now."""
        now = self._subject(held, tenant)
        if subject is None or subject == now:
            return now, held.hold(tenant, model, api_version, now_ms)
        return subject, held.safe

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
        if source != "policy" and (over := _over(asks, choice)):
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


def _asks(choice: Choice, costs: Mapping[Kind, int], guessed: bool = False) -> list[Ask]:
    if not guessed:
        return [Ask(bound.key, bound.rule, costs[bound.kind]) for bound in choice.bounds if bound.rule is not None]
    return [
        Ask(bound.key, bound.rule, cost if (cost := costs[bound.kind]) <= most else most)
        for bound, most in zip(choice.bounds, choice.most, strict=True)
        if bound.rule is not None
    ]


def _over(asks: Sequence[Ask], choice: Choice) -> list[Bound]:
    """The limits that never allow their cost: one above safe capacity alone may fit the policy, and is no error.

    Raises ``ValueError`` for a cost that cannot be.
    """
    for ask, most in zip(asks, choice.most, strict=True):
        if type(ask.cost) is not int or not 0 <= ask.cost <= most:
            check_actual(asks)
            return [bound for bound, one in zip(choice.bounds, asks, strict=True) if one.cost > one.rule.most]
    return []


def _shared(tenant: str, subjects: int) -> str:
    digest = blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return f"unknown:{int.from_bytes(digest) % subjects}"


def _check_kinds(costs: Mapping[Kind, int]) -> None:
    if not costs.keys() <= _KINDS:
        raise ValueError(f"kinds are {', '.join(KINDS)}, not {', '.join(sorted(costs.keys() - _KINDS))}")
