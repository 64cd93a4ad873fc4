"""Requests against a policy: which limits hold, what is unknown, expired or suspended, and a store that is away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from quotaloop.errors import CheckRefused
from quotaloop.limiter import Answer, Limiter, MemoryStore
from quotaloop.limiter.limiter import WhenAway
from quotaloop.limiter.rule import Decision
from quotaloop.limiter.store import Ask, StoreUnavailable
from quotaloop.quotas.policy import EVERYTHING, FORMAT, Kind, Limit, Policy, Rate, Scope, instant

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms
HOUR = 3_600_000
SAFE: Mapping[Kind, Rate] = {
    "requests": Rate(limit=8, per_seconds=60, burst=8),
    "tokens": Rate(limit=800, per_seconds=60, burst=800),
    "compute": Rate(limit=8_000, per_seconds=60, burst=8_000),
    "concurrency": Rate(limit=4, per_seconds=1, burst=4),
}


def limit(tenant: str, kind: Kind, amount: int, **fields: Any) -> Limit:
    """So much a minute, all at once if need be."""
    given = {
        "scope": EVERYTHING,
        "per_seconds": 60,
        "burst": amount,
        "evidence": {},
        "suspended": amount == 0,
        **fields,
    }
    return Limit(tenant=tenant, kind=kind, limit=amount, **given)


def policy(*limits: Limit, epoch: int = 1, begins_ms: int = NOON, safe: int = 8) -> Policy:
    """Valid for an hour; ``safe`` requests a minute outside of that."""
    return Policy(
        format=FORMAT,
        epoch=epoch,
        release=1,
        created_at=instant(NOON),
        valid_from=instant(begins_ms),
        expires_at=instant(begins_ms + HOUR),
        limits=limits,
        safe_capacity={**SAFE, "requests": Rate(limit=safe, per_seconds=60, burst=safe)},
    )


def limiter(*limits: Limit, store: Any = None, **settings: Any) -> Limiter:
    """One that goes by these limits."""
    made = Limiter(store or MemoryStore(), safe_capacity=SAFE, **settings)
    if limits:
        made.load(policy(*limits))
    return made


class Clients:
    """Who sends requests, each under an id of its own."""

    def __init__(self, asked: Limiter) -> None:
        self.limiter, self.sent = asked, 0

    def send(self, tenant: str, costs: Mapping[Kind, int], at_ms: int = NOON, **of: str) -> Answer:
        """What becomes of a request."""
        self.sent += 1
        return self.limiter.reserve(tenant, str(self.sent), costs, now_ms=at_ms, **of)

    def passed(self, count: int, tenant: str, costs: Mapping[Kind, int], at_ms: int = NOON, **of: str) -> int:
        """How many of so many requests pass."""
        return sum(self.send(tenant, costs, at_ms, **of).allowed for _ in range(count))


class Away(MemoryStore):
    """A store that does not answer while it is away, and how often it was asked."""

    is_away = True
    asked = 0

    def reserve(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> list[Decision]:
        """Spend all or nothing."""
        self._ask()
        return super().reserve(subject, request_id, asks, now_ms)

    def settle(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Make the costs those of ``asks``."""
        self._ask()
        return super().settle(subject, request_id, asks, now_ms)

    def _ask(self) -> None:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("away")


def test_the_first_limit_that_denies_is_named_and_nothing_is_spent() -> None:
    clients = Clients(limiter(limit("acme", "requests", 5), limit("acme", "tokens", 100)))
    costs: Mapping[Kind, int] = {"requests": 1, "tokens": 60}
    assert clients.send("acme", costs).allowed
    answer = clients.send("acme", costs)
    assert (answer.allowed, answer.denied_by, answer.retry_after_ms) == (False, "tokens", 12_000)
    assert answer.decisions == (("requests", Decision(True, 4, 0)), ("tokens", Decision(False, 40, 12_000)))
    assert (answer.source, answer.policy_epoch) == ("policy", 1)


def test_limits_of_a_model_hold_beside_those_of_all_models() -> None:
    scope = Scope(model="large", api_version="*")
    clients = Clients(limiter(limit("acme", "requests", 5), limit("acme", "requests", 2, scope=scope)))
    assert clients.passed(4, "acme", {"requests": 1}, model="large", api_version="v1") == 2
    assert clients.passed(4, "acme", {"requests": 1}, model="small", api_version="v1") == 3


def test_a_kind_without_a_limit_has_the_safe_capacity() -> None:
    clients = Clients(limiter(limit("acme", "requests", 50)))
    assert clients.passed(10, "acme", {"requests": 1, "tokens": 100}) == 8


def test_without_a_policy_and_outside_its_time_the_safe_capacity_holds() -> None:
    clients = Clients(limiter())
    assert clients.passed(10, "acme", {"requests": 1}) == 8
    clients.limiter.load(policy(limit("acme", "requests", 50)))
    for at_ms, source in ((NOON - 1, "safe_capacity"), (NOON, "policy"), (NOON + HOUR, "safe_capacity")):
        assert clients.send("acme", {"requests": 0}, at_ms).source == source
    assert clients.passed(60, "acme", {"requests": 1}, NOON + 2 * HOUR) == 8


def test_a_suspended_tenant_passes_nothing_and_free_requests_alone() -> None:
    clients = Clients(limiter(limit("acme", "requests", 0), limit("globex", "requests", 5)))
    answer = clients.send("acme", {"requests": 1})
    assert (answer.allowed, answer.denied_by) == (False, "requests")
    assert answer.retry_after_ms > 0
    assert clients.send("acme", {"tokens": 10}).allowed
    assert clients.send("globex", {"requests": 1}).allowed


def test_names_that_nobody_knows_share_their_counts() -> None:
    clients = Clients(limiter(limit("acme", "requests", 5), unknown_subjects=1))
    assert sum(clients.send(f"invented-{number}", {"requests": 1}).allowed for number in range(20)) == 8
    assert clients.send("acme", {"requests": 1}).allowed


def test_an_older_policy_and_one_that_cannot_be_counted_are_refused_and_the_last_one_stays() -> None:
    made = limiter(limit("acme", "requests", 5))
    with pytest.raises(CheckRefused, match="epoch 1 is loaded"):
        made.load(policy(limit("acme", "requests", 50)))
    with pytest.raises(ValueError, match="cannot be counted exactly"):
        made.load(policy(limit("acme", "requests", 2**50), epoch=2))
    assert Clients(made).passed(10, "acme", {"requests": 1}) == 5
    made.load(policy(limit("acme", "requests", 7), epoch=2))
    assert Clients(made).send("acme", {"requests": 0}).policy_epoch == 2


@pytest.mark.parametrize("cost", [-5, 0.5, float("nan"), 101, 10**18])
def test_a_cost_that_cannot_be_is_an_error(cost: Any) -> None:
    clients = Clients(limiter(limit("acme", "tokens", 100), limit("globex", "tokens", 0)))
    with pytest.raises(ValueError, match="a cost is a whole number"):
        clients.send("acme", {"tokens": cost})
    if cost != 101:
        with pytest.raises(ValueError, match="a cost is a whole number"):
            clients.send("globex", {"tokens": cost})


def test_what_a_request_came_to_is_settled_and_its_slot_is_free() -> None:
    made = limiter(limit("acme", "tokens", 100), limit("acme", "concurrency", 1))
    costs: Mapping[Kind, int] = {"tokens": 90, "concurrency": 1}
    assert made.reserve("acme", "a", costs, now_ms=NOON).allowed
    assert made.reserve("acme", "b", costs, now_ms=NOON).denied_by == "tokens"
    assert made.settle("acme", "a", {"tokens": 10}, now_ms=NOON)
    assert made.reserve("acme", "b", costs, now_ms=NOON).allowed
    assert made.reserve("acme", "c", {"concurrency": 1}, now_ms=NOON).denied_by == "concurrency"
    assert made.settle("acme", "b", {}, now_ms=NOON)  # the client went away: the estimate stays
    assert dict(made.reserve("acme", "d", {"tokens": 0}, now_ms=NOON).decisions)["tokens"].remaining == 0
    assert not made.settle("acme", "nothing", {"tokens": 1}, now_ms=NOON)


@pytest.mark.parametrize(("first", "second", "slots"), [("acme", "other", 1), ("other", "acme", 4)])
def test_what_was_reserved_is_settled_where_it_was_counted_whomever_a_newer_policy_names(
    first: str, second: str, slots: int
) -> None:
    made = limiter(limit(first, "concurrency", 1))
    answer = made.reserve("acme", "a", {"tokens": 200, "concurrency": 1}, now_ms=NOON)
    assert answer.allowed
    made.load(policy(limit(second, "concurrency", 1), epoch=2))
    assert not made.extend("acme", "a", now_ms=NOON)
    assert made.extend("acme", "a", now_ms=NOON, answer=answer)
    assert made.settle("acme", "a", {"tokens": 1}, now_ms=NOON, answer=answer)
    made.load(policy(limit(first, "concurrency", 1), epoch=3))
    left = dict(made.reserve("acme", "b", {"tokens": 0, "concurrency": 0}, now_ms=NOON).decisions)
    assert (left["tokens"].remaining, left["concurrency"].remaining) == (799, slots)


@pytest.mark.parametrize("changed", [{"scope": Scope(model="large", api_version="*")}, {"per_seconds": 30}])
@pytest.mark.parametrize("later_ms", [0, HOUR])
def test_what_was_reserved_under_a_limit_that_is_no_more_is_settled_there(
    changed: dict[str, Any], later_ms: int
) -> None:
    limits = (limit("acme", "tokens", 100, **changed), limit("acme", "concurrency", 1, **changed))
    made = limiter(*limits, store=MemoryStore(hold_ms=2 * HOUR))
    answer = made.reserve("acme", "a", {"tokens": 90, "concurrency": 1}, now_ms=NOON, model="large")
    assert answer.allowed
    if not later_ms:
        made.load(policy(limit("other", "tokens", 1), epoch=2))
    assert made.settle("acme", "a", {"tokens": 10}, now_ms=NOON + later_ms, model="large", answer=answer)
    made.load(policy(*limits, epoch=3, begins_ms=NOON + later_ms))
    costs: dict[Kind, int] = {"tokens": 90, "concurrency": 1}
    assert made.reserve("acme", "b", costs, now_ms=NOON + later_ms, model="large").allowed


def test_a_request_that_takes_long_is_extended() -> None:
    made = limiter(limit("acme", "concurrency", 1), store=MemoryStore(hold_ms=60_000))
    assert made.reserve("acme", "a", {"concurrency": 1}, now_ms=NOON).allowed
    assert made.extend("acme", "a", now_ms=NOON + 59_000)
    assert not made.reserve("acme", "b", {"concurrency": 1}, now_ms=NOON + 118_999).allowed
    assert made.reserve("acme", "b", {"concurrency": 1}, now_ms=NOON + 119_000).allowed
    assert not made.extend("acme", "a", now_ms=NOON + 119_000)


def test_while_the_store_is_away_each_instance_lets_its_share_of_the_safe_capacity_pass() -> None:
    clients = Clients(limiter(limit("acme", "requests", 50), store=Away(), instances=4))
    assert clients.passed(60, "acme", {"requests": 1}) == 2
    assert clients.limiter.counts == {"local": 60}
    assert clients.passed(60, "acme", {"tokens": 100}) == 2
    assert clients.passed(60, "acme", {"tokens": 300}) == 0  # above a share, and below the limit: refused, no error


def test_a_share_is_never_nothing() -> None:
    clients = Clients(limiter(store=Away(), instances=1_000))
    assert clients.passed(10, "acme", {"requests": 1}) == 1


@pytest.mark.parametrize(("when_away", "passed"), [("open", 60), ("closed", 0)])
def test_an_operator_may_choose_all_or_nothing_for_when_the_store_is_away(when_away: WhenAway, passed: int) -> None:
    clients = Clients(limiter(limit("acme", "requests", 5), store=Away(), when_away=when_away))
    assert clients.passed(60, "acme", {"requests": 1}) == passed
    assert clients.limiter.counts == {when_away: 60}
    with pytest.raises(ValueError, match="a cost is a whole number"):
        clients.send("acme", {"requests": -1})


def test_a_suspended_tenant_stays_suspended_while_the_store_is_away() -> None:
    clients = Clients(limiter(limit("acme", "requests", 0), store=Away(), when_away="open"))
    assert not clients.send("acme", {"requests": 1}).allowed


def test_a_store_that_is_away_is_asked_once_a_second_and_used_again_when_it_answers() -> None:
    store = Away()
    clients = Clients(limiter(limit("acme", "requests", 50), store=store))
    clients.passed(20, "acme", {"requests": 1})
    clients.passed(20, "acme", {"requests": 1}, NOON + 999)
    assert store.asked == 1
    store.is_away = False
    assert clients.send("acme", {"requests": 1}, NOON + 1_000).source == "policy"


def test_a_clock_that_was_moved_back_does_not_keep_a_store_away() -> None:
    store = Away()
    clients = Clients(limiter(limit("acme", "requests", 50), store=store))
    clients.send("acme", {"requests": 1}, NOON + HOUR - 1)
    store.is_away = False
    assert clients.send("acme", {"requests": 1}).source == "policy"


def test_what_was_reserved_here_while_the_store_was_away_is_settled_here() -> None:
    store = Away()
    made = limiter(limit("acme", "tokens", 1_000), store=store)
    assert made.reserve("acme", "a", {"tokens": 800}, now_ms=NOON).source == "local"
    store.is_away = False
    assert made.settle("acme", "a", {"tokens": 100}, now_ms=NOON + 5_000)
    assert made.reserve("acme", "b", {"tokens": 700}, now_ms=NOON + 5_000).source == "policy"


def test_what_could_not_be_settled_is_told_when_the_store_answers_again() -> None:
    store = Away()
    store.is_away = False
    made = limiter(limit("acme", "tokens", 100), limit("acme", "concurrency", 1), store=store)
    assert made.reserve("acme", "a", {"tokens": 50, "concurrency": 1}, now_ms=NOON).allowed
    assert made.reserve("acme", "a2", {"tokens": 40}, now_ms=NOON).allowed
    store.is_away = True
    assert not made.settle("acme", "a", {"tokens": 5}, now_ms=NOON)
    assert not made.settle("acme", "a2", {"tokens": 5}, now_ms=NOON)  # not asked: it is away
    store.is_away = False
    assert made.reserve("globex", "b", {"requests": 1}, now_ms=NOON + 1_000).allowed
    assert made.reserve("acme", "c", {"tokens": 85, "concurrency": 1}, now_ms=NOON + 1_000).allowed


class Late(Away):
    """One that has counted before it is away."""

    def reserve(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> list[Decision]:
        found = MemoryStore.reserve(self, subject, request_id, asks, now_ms)
        self._ask()
        return found


def test_what_a_store_counted_though_its_answer_was_lost_is_settled_there_too() -> None:
    store = Late()
    made = limiter(limit("acme", "concurrency", 1), store=store)
    assert made.reserve("acme", "a", {"concurrency": 1}, now_ms=NOON).source == "local"
    store.is_away = False
    assert made.settle("acme", "a", {}, now_ms=NOON + 1_000)
    answer = made.reserve("acme", "b", {"concurrency": 1}, now_ms=NOON + 1_000)
    assert (answer.allowed, answer.source) == (True, "policy")


def test_what_passed_open_is_settled_in_the_count_it_was_lost_in_whomever_a_newer_policy_names() -> None:
    store = Late()
    made = limiter(store=store, when_away="open")
    answer = made.reserve("acme", "a", {"concurrency": 1}, now_ms=NOON)
    assert (answer.allowed, answer.source) == (True, "open")
    store.is_away = False
    made.load(policy(limit("acme", "concurrency", 1), epoch=2))
    assert made.settle("acme", "a", {}, now_ms=NOON + 1_000, answer=answer)


def test_a_policy_that_is_not_valid_as_a_whole_is_refused() -> None:
    made = limiter(limit("acme", "requests", 5))
    for wrong in (
        policy(limit("acme", "requests", 7), limit("acme", "requests", 9), epoch=2),
        policy(limit("acme", "requests", 0, suspended=False), epoch=2),
        policy(limit("acme", "requests", -1), epoch=2),
    ):
        with pytest.raises(CheckRefused):
            made.load(wrong)
    assert Clients(made).passed(10, "acme", {"requests": 1}) == 5


def test_a_policy_that_is_loaded_early_leaves_the_one_before_in_force_until_it_is_valid() -> None:
    clients = Clients(limiter(limit("acme", "requests", 50), limit("globex", "requests", 0)))
    clients.limiter.load(policy(limit("acme", "requests", 60), epoch=2, begins_ms=NOON + HOUR // 2))
    early = clients.send("acme", {"requests": 1})
    assert (early.policy_epoch, early.decisions[0][1].remaining) == (1, 49)
    assert not clients.send("globex", {"requests": 1}).allowed
    assert clients.send("acme", {"requests": 1}, NOON + HOUR // 2).policy_epoch == 2
    assert clients.send("acme", {"requests": 1}, NOON + 2 * HOUR).source == "safe_capacity"


def test_after_a_policy_has_expired_its_own_safe_capacity_holds() -> None:
    clients = Clients(limiter())
    clients.limiter.load(policy(limit("acme", "requests", 50), safe=2))
    assert clients.passed(10, "acme", {"requests": 1}, NOON + HOUR) == 2


def test_a_cost_above_safe_capacity_is_refused_and_no_error_where_a_policy_might_allow_it() -> None:
    clients = Clients(limiter(store=Away()))
    for at_ms in (NOON, NOON + 1, NOON + HOUR):
        assert not clients.send("acme", {"tokens": 900}, at_ms).allowed


def test_a_kind_that_there_is_not_is_an_error() -> None:
    clients = Clients(limiter())
    with pytest.raises(ValueError, match="kinds are requests, tokens, concurrency, compute, not request"):
        clients.send("acme", {"request": 1})  # type: ignore[dict-item]


def test_a_safe_capacity_that_lacks_a_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="safe_capacity lacks compute"):
        Limiter(MemoryStore(), safe_capacity={kind: rate for kind, rate in SAFE.items() if kind != "compute"})


@pytest.mark.parametrize("settings", [{"instances": 0}, {"when_away": "maybe"}, {"unknown_subjects": 0}])
def test_a_limiter_that_cannot_be_is_an_error(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="when_away is local, open or closed"):
        limiter(**settings)
