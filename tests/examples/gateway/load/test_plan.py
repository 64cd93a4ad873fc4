"""Plans of load: the same from their seed, in order, with the rates, bursts and shares that were asked for."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from statistics import mean, variance

import pytest

from examples.gateway.load.plan import PROTOCOLS, STREAMED, Call, Tenant, plan
from quotaloop.errors import UsageError

ACME, GLOBEX = Tenant("acme", rate=20), Tenant("globex", rate=5)


def per_second(calls: list[Call], seconds: int) -> list[int]:
    counts = Counter(int(call.at_s) for call in calls)
    return [counts[second] for second in range(seconds)]


def test_the_same_seed_gives_the_same_calls_and_another_seed_others() -> None:
    assert plan(7, [ACME, GLOBEX], 10) == plan(7, [ACME, GLOBEX], 10)
    assert plan(7, [ACME], 10) != plan(8, [ACME], 10)


def test_calls_are_in_order_of_time_and_within_the_seconds() -> None:
    calls = plan(7, [ACME, GLOBEX], 30)
    assert all(first.at_s <= second.at_s for first, second in pairwise(calls))
    assert 0 < calls[0].at_s < calls[-1].at_s < 30
    assert {call.tenant for call in calls} == {"acme", "globex"}


def test_what_one_tenant_does_does_not_depend_on_the_others() -> None:
    together = [call for call in plan(7, [GLOBEX, ACME], 10) if call.tenant == "acme"]
    assert together == plan(7, [ACME], 10)


def test_two_tenants_that_want_the_same_do_not_call_at_the_same_moments() -> None:
    calls = plan(7, [Tenant("acme", rate=20), Tenant("globex", rate=20)], 10)
    assert len({call.at_s for call in calls}) == len(calls)


def test_a_longer_plan_begins_with_the_shorter_one() -> None:
    assert [call for call in plan(7, [ACME], 20) if call.at_s < 10] == plan(7, [ACME], 10)


def test_arrivals_are_poisson_at_the_rate() -> None:
    """20 a second for 400 s: 8,000 expected, standard deviation 89; the variance of a second is its mean."""
    counts = per_second(plan(7, [ACME], 400), 400)
    assert abs(sum(counts) - 8_000) < 4 * 89
    assert abs(variance(counts) / mean(counts) - 1) < 4 * (2 / 399) ** 0.5


def test_bursts_keep_the_rate_and_multiply_the_variance() -> None:
    """Groups of 5 at 4 a second: 20 calls a second, whose variance is 5 times their mean."""
    calls = plan(7, [Tenant("acme", rate=20, burst=5)], 400)
    counts = per_second(calls, 400)
    assert abs(sum(counts) - 8_000) < 4 * 5 * (4 * 400) ** 0.5
    assert abs(variance(counts) / mean(counts) / 5 - 1) < 0.4
    assert set(Counter(call.at_s for call in calls).values()) == {5}


def test_sizes_are_within_their_bounds_around_their_mean() -> None:
    """Words are uniform on 1 to 39: mean 20, standard deviation 11.3; max_tokens on 1 to 64: 32.5 and 18.5."""
    calls = plan(7, [Tenant("acme", rate=20, words=20, max_tokens=64)], 200)
    assert (min(call.words for call in calls), max(call.words for call in calls)) == (1, 39)
    assert abs(mean(call.words for call in calls) - 20) < 4 * 11.3 / len(calls) ** 0.5
    assert (min(call.max_tokens for call in calls), max(call.max_tokens for call in calls)) == (1, 64)
    assert abs(mean(call.max_tokens for call in calls) - 32.5) < 4 * 18.5 / len(calls) ** 0.5


def test_a_prompt_has_as_many_words_as_planned_and_is_the_same_each_time() -> None:
    call = plan(7, [ACME], 1)[0]
    assert len(call.prompt.text.split()) == call.words
    assert call.prompt == call.prompt
    assert call.prompt.seed == call.seed


def test_every_protocol_and_version_has_its_share() -> None:
    """7,000 expected, a seventh each: 1,000, standard deviation 29; half of them the first version."""
    calls = plan(7, [Tenant("acme", rate=70)], 100)
    by_protocol = Counter(call.protocol for call in calls)
    assert set(by_protocol) == set(PROTOCOLS)
    assert all(abs(count - len(calls) / 7) < 4 * 30 for count in by_protocol.values())
    first = sum(call.version.name == "v1" for call in calls)
    assert abs(first - len(calls) / 2) < 4 * (len(calls) / 4) ** 0.5


def test_a_header_names_the_version_only_where_a_path_without_one_exists() -> None:
    calls = plan(7, [Tenant("acme", rate=70)], 20)
    by_header = {call.protocol for call in calls if call.version.in_header}
    assert by_header == {"http", "http2", "multipart", "sse"}


def test_only_streams_are_left_and_only_in_the_middle() -> None:
    """A quarter of streams of 2 to 64 tokens."""
    calls = plan(7, [Tenant("acme", rate=70, leaves=0.25)], 100)
    left = [call for call in calls if call.leave_after is not None]
    assert {call.protocol for call in left} == set(STREAMED)
    assert all(1 <= (call.leave_after or 0) < call.max_tokens for call in left)
    could = sum(call.protocol in STREAMED and call.max_tokens > 1 for call in calls)
    assert abs(len(left) - could / 4) < 4 * (could * 3 / 16) ** 0.5
    assert not any(call.leave_after for call in plan(7, [ACME], 20))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0.0},
        {"rate": -1.0},
        {"rate": float("nan")},
        {"burst": 0},
        {"words": 0},
        {"max_tokens": 1_025},
        {"leaves": 1.5},
        {"protocols": ("http", "telnet")},
        {"protocols": ()},
    ],
)
def test_a_tenant_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Tenant(**{"name": "acme", "rate": 1.0, **wrong})  # type: ignore[arg-type]


def test_a_tenant_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="named twice"):
        plan(7, [ACME, ACME], 1)
