"""The limiter of an API: may this request pass, by the policy in force, and what did it cost in the end?"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal, get_args

from msgspec import Struct

from quotaloop.errors import CheckRefused
from quotaloop.limiter.limits import Bound, Bounds, Counting
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.rule import EXACT, Decision, check_cost
from quotaloop.limiter.rules import Algorithm
from quotaloop.limiter.store import Ask, CounterStore, StoreUnavailable, check_actual, check_asks
from quotaloop.quotas.policy import KINDS, Kind, Policy, Rate, check_push

WhenAway = Literal["local", "open", "closed"]
Source = Literal["policy", "safe_capacity", "local", "open", "closed"]
TOKEN_BUCKETS: Mapping[Kind, Algorithm] = {"requests": "gcra", "tokens": "gcra", "compute": "gcra"}
_Asks = list[tuple[Bound, Ask]]
_KINDS = frozenset(KINDS)
_KEPT = 4  # policies, of which some may be valid only later
_UNSENT = 100_000  # settlements that wait for a store
_AT_ONCE = 20  # of them, with one request
_AWAY_MS = 1_000  # for which a store that did not answer is not asked


class Answer(Struct, frozen=True, gc=False):
    """May the request pass? ``decisions`` are those of the limits that were asked, each with its kind.

    ``denied_by`` is the first that denied; ``retry_after_ms`` is the longest wait of those that denied; ``bounds`` are
    the limits, in the order of ``decisions``.
    """

    allowed: bool
    denied_by: Kind | None
    retry_after_ms: int
    decisions: tuple[tuple[Kind, Decision], ...]
    source: Source
    policy_epoch: int | None
    bounds: tuple[Bound, ...] = ()


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
        self._unknown_subjects = unknown_subjects
        self._counting = Counting(algorithms, store.hold_ms, instances)
        self._loaded = [Bounds(self._counting, safe_capacity)]  # by epoch, first what holds without a policy
        self._loading = threading.Lock()
        self._here = MemoryStore(hold_ms=store.hold_ms)
        self._away_from_ms: int | None = None
        self._unsent: deque[_Settlement] = deque(maxlen=_UNSENT)

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
        bounds = held.hold(tenant, model, api_version, now_ms)
        for bound in bounds:
            if bound.rule is None and check_cost(costs.get(bound.kind, 0), EXACT):
                return self._answer([(bound, Decision(False, 0, self.store.hold_ms))], source, held.epoch)
        subject, asks = self._subject(held, tenant), _asks(bounds, costs, guessed)
        if not self._is_away(now_ms):
            try:
                answer = self._asked(self.store, subject, request_id, asks, source, held.epoch, now_ms)
            except StoreUnavailable:
                self._away_from_ms = now_ms
            else:
                self._send_on(now_ms)
                return answer
        _check(asks, source)
        if self.when_away == "local":
            share = _asks(held.share, costs, guessed)
            return self._asked(self._here, subject, request_id, share, "local", held.epoch, now_ms)
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
    ) -> bool:
        """Say what a request came to, once, with the ``model`` and ``api_version`` it was reserved with.

        Kinds that are not named keep their cost; the slot is free. False where nothing is reserved under the id (it was
        refused, or is held no longer), and while the store is away: it is told when it answers again.
        """
        _check_kinds(costs)
        held = self._in_force(now_ms)
        named: dict[Kind, int] = {"concurrency": 0, **costs}
        bounds = held.hold(tenant, model, api_version, now_ms)
        asks = [ask for _, ask in _asks(bounds, named)]
        check_actual(asks)
        subject, was_here = self._subject(held, tenant), False
        if not self._here.is_idle:
            share = [ask for _, ask in _asks(held.share, named)]
            was_here = self._here.settle(subject, request_id, share, now_ms)
        settlement = _Settlement(subject, request_id, asks)
        if self._is_away(now_ms):
            self._unsent.append(settlement)
            return was_here
        try:  # also of what was reserved here: the answer of the store may have been lost on its way
            return self.store.settle(subject, request_id, asks, now_ms) or was_here
        except StoreUnavailable:
            self._away_from_ms = now_ms
            self._unsent.append(settlement)
            return was_here

    def extend(self, tenant: str, request_id: str, *, now_ms: int, model: str = "*", api_version: str = "*") -> bool:
        """Hold what a request has reserved for as long again; False where nothing is, or the store is away."""
        held = self._in_force(now_ms)
        bounds = held.hold(tenant, model, api_version, now_ms)
        subject, costs = self._subject(held, tenant), dict[Kind, int]({"concurrency": 1})
        if self._here.extend(subject, request_id, [ask for _, ask in _asks(held.share, costs)], now_ms):
            return True
        if self._is_away(now_ms):
            return False
        try:
            return self.store.extend(subject, request_id, [ask for _, ask in _asks(bounds, costs)], now_ms)
        except StoreUnavailable:
            self._away_from_ms = now_ms
            return False

    def _in_force(self, now_ms: int) -> Bounds:
        """The newest whose time has come."""
        loaded = self._loaded
        return next((one for one in reversed(loaded) if one.valid_ms <= now_ms), loaded[0])

    def _subject(self, held: Bounds, tenant: str) -> str:
        """A tenant with limits of its own counts by itself, others share so many counts."""
        if held.knows(tenant):
            return f"tenant:{tenant}"
        digest = blake2b(tenant.encode(), digest_size=8).digest()
        return f"unknown:{int.from_bytes(digest) % self._unknown_subjects}"

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

    def _asked(
        self,
        store: CounterStore,
        subject: str,
        request_id: str,
        asks: _Asks,
        source: Source,
        epoch: int | None,
        now_ms: int,
    ) -> Answer:
        _check(asks, source)
        over = [(bound, Decision(False, 0, store.hold_ms)) for bound, ask in asks if ask.cost > ask.rule.most]
        if over:
            return self._answer(over, source, epoch)
        decisions = store.reserve(subject, request_id, [ask for _, ask in asks], now_ms)
        return self._answer([(bound, found) for (bound, _), found in zip(asks, decisions, strict=True)], source, epoch)

    def _answer(self, decided: list[tuple[Bound, Decision]], source: Source, epoch: int | None) -> Answer:
        self.counts[source] += 1
        denied = [(bound.kind, found) for bound, found in decided if not found.allowed]
        wait_ms = max((found.retry_after_ms for _, found in denied), default=0)
        decisions = tuple((bound.kind, found) for bound, found in decided)
        bounds = tuple(bound for bound, _ in decided)
        return Answer(not denied, denied[0][0] if denied else None, wait_ms, decisions, source, epoch, bounds)


class _Settlement(Struct, frozen=True):
    subject: str
    request_id: str
    asks: list[Ask]


def _asks(bounds: Sequence[Bound], costs: Mapping[Kind, int], guessed: bool = False) -> _Asks:
    return [
        (bound, Ask(bound.key, bound.rule, min(cost, bound.rule.most) if guessed else cost))
        for bound in bounds
        if bound.rule is not None and (cost := costs.get(bound.kind)) is not None
    ]


def _check(asks: _Asks, source: Source) -> None:
    """Raises ``ValueError`` for a cost that cannot be; one that is above safe capacity alone may fit the policy."""
    (check_asks if source == "policy" else check_actual)([ask for _, ask in asks])


def _check_kinds(costs: Mapping[Kind, int]) -> None:
    if not costs.keys() <= _KINDS:
        raise ValueError(f"kinds are {', '.join(KINDS)}, not {', '.join(sorted(costs.keys() - _KINDS))}")
