"""Which limits of a policy hold for a request, as rules that a store can count by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.rule import Rule
from quotaloop.limiter.rules import Algorithm, rule_of
from quotaloop.limiter.store import Ask, check_actual
from quotaloop.quotas.policy import EVERYTHING, KINDS, Kind, Limit, Policy, Rate, Scope, epoch_ms


class Bound(Struct, frozen=True, gc=False, eq=False):
    """A limit as it holds: its key, what it counts, and its rule; None for a suspended one.

    ``name`` is what a client is told: the kind, with model and version where it covers less than all. Each is equal to
    itself alone, so that it is found fast where something is remembered for it.
    """

    key: str
    kind: Kind
    rule: Rule[Any] | Concurrency | None
    name: str


class Choice(Struct, frozen=True, gc=False):
    """The limits under which costs of some kinds are asked, with the kind and the greatest cost of each."""

    bounds: tuple[Bound, ...]
    kinds: tuple[Kind, ...]
    most: tuple[int, ...]

    def asks(self, costs: Mapping[Kind, int], *, guessed: bool = False) -> list[Ask]:
        """These costs, each under its limit; of those that are guessed, at most what the limit ever allows."""
        if not guessed:
            return asks_under(self.bounds, costs)
        return [
            Ask(bound.key, bound.rule, cost if (cost := costs[bound.kind]) <= most else most)
            for bound, most in zip(self.bounds, self.most, strict=True)
            if bound.rule is not None
        ]

    def over(self, asks: Sequence[Ask]) -> list[Bound]:
        """The limits that never allow their cost: one above safe capacity alone may fit the policy, and is no error.

        Raises ``ValueError`` for a cost that cannot be.
        """
        for ask, most in zip(asks, self.most, strict=True):
            if type(ask.cost) is not int or not 0 <= ask.cost <= most:
                check_actual(asks)
                return [bound for bound, one in zip(self.bounds, asks, strict=True) if one.cost > one.rule.most]
        return []


def asks_under(bounds: Iterable[Bound], costs: Mapping[Kind, int]) -> list[Ask]:
    """These costs, each under its limit; suspended ones count nothing."""
    return [Ask(bound.key, bound.rule, costs[bound.kind]) for bound in bounds if bound.rule is not None]


class Holding:
    """All limits for requests of one tenant, model and version, and which of them are suspended."""

    __slots__ = ("_choices", "bounds", "suspended")

    def __init__(self, bounds: Iterable[Bound]) -> None:
        self.bounds = tuple(bounds)
        self.suspended = tuple(bound for bound in self.bounds if bound.rule is None)
        self._choices: dict[tuple[Kind, ...], Choice] = {}  # as many as there are orders of kinds

    def choice(self, costs: Iterable[Kind]) -> Choice:
        """Those that costs of these kinds are asked under."""
        kinds = tuple(costs)
        found = self._choices.get(kinds)
        if found is None:
            asked = [bound for bound in self.bounds if bound.rule is not None and bound.kind in kinds]
            most = tuple(bound.rule.most for bound in asked if bound.rule is not None)
            found = Choice(tuple(asked), tuple(bound.kind for bound in asked), most)
            self._choices[kinds] = found
        return found


@dataclass(frozen=True, slots=True)
class Counting:
    """How limits become rules: an algorithm a kind, how long slots are leased, and how many instances there are."""

    algorithms: Mapping[Kind, Algorithm]
    hold_ms: int
    instances: int

    def bound(self, kind: Kind, scope: Scope, rate: Rate | Limit, instances: int = 1) -> Bound:
        """A limit, or its share of one of so many instances, which is never nothing.

        The key says what is counted; it stays the same when the numbers of the limit change, but not its period.
        """
        limit, burst = (number and max(number // instances, 1) for number in (rate.limit, rate.burst))
        key = f"{kind}:{scope.model}:{scope.api_version}"
        name = kind if scope == EVERYTHING else key
        if kind == "concurrency":
            return Bound(key, kind, Concurrency(limit, self.hold_ms) if limit else None, name)
        word = self.algorithms[kind]
        rule = rule_of(word, limit, rate.per_seconds, burst) if limit else None
        return Bound(f"{key}:{word}:{rate.per_seconds}", kind, rule, name)


class Bounds:
    """The limits of one policy, valid from ``valid_ms`` until ``expires_ms`` (epoch ms), or none but safe capacity.

    Raises ``ValueError`` for a limit that cannot be counted exactly, and where a kind has no safe capacity.
    """

    def __init__(
        self,
        counting: Counting,
        safe_capacity: Mapping[Kind, Rate],
        limits: Iterable[Limit] = (),
        *,
        epoch: int | None = None,
        valid_ms: int = 0,
        expires_ms: int = 0,
    ) -> None:
        if missing := sorted(set(KINDS) - set(safe_capacity)):
            raise ValueError(f"safe_capacity lacks {', '.join(missing)}: it would not be limited")
        self.epoch, self.valid_ms, self.expires_ms = epoch, valid_ms, expires_ms
        own: dict[str, list[tuple[Scope, Bound]]] = {}
        for limit in limits:
            bound = counting.bound(limit.kind, limit.scope, limit)
            own.setdefault(limit.tenant, []).append((limit.scope, bound))
        self.safe = Holding(counting.bound(kind, EVERYTHING, safe_capacity[kind]) for kind in KINDS)
        shares = (counting.bound(kind, EVERYTHING, safe_capacity[kind], counting.instances) for kind in KINDS)
        self.share = Holding(shares)
        self._of_tenant = {tenant: _Terms(found, self.safe.bounds) for tenant, found in own.items()}

    @classmethod
    def of(cls, policy: Policy, counting: Counting) -> Bounds:
        """Those of a policy."""
        return cls(
            counting,
            policy.safe_capacity,
            policy.limits,
            epoch=policy.epoch,
            valid_ms=epoch_ms(policy.valid_from),
            expires_ms=epoch_ms(policy.expires_at),
        )

    def knows(self, tenant: str) -> bool:
        """Has it a limit of its own?"""
        return tenant in self._of_tenant

    def is_valid(self, now_ms: int) -> bool:
        """Is it the policy's time?"""
        return self.valid_ms <= now_ms < self.expires_ms

    def hold(self, tenant: str, model: str, api_version: str, now_ms: int) -> Holding:
        """All limits for a request; of a kind that none is for, and when it is not valid, the safe capacity."""
        terms = self._of_tenant.get(tenant)
        return terms.holding(model, api_version) if terms is not None and self.is_valid(now_ms) else self.safe


class _Terms:
    """The limits of one tenant, by model and version; all that no scope names are one."""

    def __init__(self, own: Sequence[tuple[Scope, Bound]], safe: Sequence[Bound]) -> None:
        self._own, self._safe = own, safe
        self._models = {scope.model for scope, _ in own}
        self._versions = {scope.api_version for scope, _ in own}
        self._holdings: dict[tuple[str, str], Holding] = {}  # clients name models, but only scopes are remembered

    def holding(self, model: str, api_version: str) -> Holding:
        """What holds for requests of this model and version."""
        key = model if model in self._models else "*", api_version if api_version in self._versions else "*"
        found = self._holdings.get(key)
        if found is None:
            found = self._holdings[key] = Holding(self._found(*key))
        return found

    def _found(self, model: str, api_version: str) -> list[Bound]:
        found = [
            bound
            for scope, bound in self._own
            if scope.model in ("*", model) and scope.api_version in ("*", api_version)
        ]
        limited = {bound.kind for bound in found}
        return [*found, *(bound for bound in self._safe if bound.kind not in limited)]
