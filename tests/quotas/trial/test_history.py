"""What a backtest replays, from attempts small enough to work out by hand."""

from __future__ import annotations

from itertools import chain
from typing import Any

from quotaloop.quotas.trial.history import Group, History, histories
from tests.quotas.conftest import HOUR, Release


def only(release: Release, *hours: int) -> History:
    """The attempts of the one tenant there is."""
    (found,) = histories(release.connection, hours or [HOUR])
    return found


def chains(found: History) -> list[int]:
    """The chain of each attempt."""
    return [int(number) for number in found.chain]


def test_attempts_come_by_tenant_and_time_with_their_costs(release: Release) -> None:
    release.event(
        "b", 2, "ok", tenant="z", total_tokens=7, gpu_ms=1.5, duration_ms=20.25, model="large", api_version="v2"
    )
    release.event("a", 2, "ok", tenant="z", total_tokens=5)
    release.event("c", 1, "error", tenant="k", total_tokens=3)
    release.event("d", 3_600, "ok", tenant="k")  # of another hour
    k, z = histories(release.connection, [HOUR])
    assert (k.tenant, k.tokens.tolist(), z.tenant, z.tokens.tolist()) == ("k", [3], "z", [5, 7])
    assert z.arrived_ms.tolist() == [HOUR + 2_000, HOUR + 2_000]
    assert z.ended_ms.tolist() == [HOUR + 2_100, HOUR + 2_021]
    assert z.hour_ms.tolist() == [HOUR, HOUR]
    assert z.cost("compute").tolist() == [0, 1_500]
    assert z.cost("requests").tolist() == z.cost("concurrency").tolist() == [1, 1]
    assert (z.model.tolist(), z.api_version.tolist()) == (["m", "large"], ["v1", "v2"])
    assert not z.was_denied.any()


def test_no_hours_have_no_attempts(release: Release) -> None:
    release.event("a", 2, "ok")
    assert list(histories(release.connection, [])) == []


def test_attempts_with_the_same_root_are_a_chain_within_their_hour(release: Release) -> None:
    rows: list[tuple[str, float, str, Any]] = [
        ("a", 1, "denied", None),
        ("b", 2, "ok", None),
        ("c", 3, "ok", "a"),
        ("d", 4, "denied", "x"),  # its root is unknown
        ("e", 5, "denied", "x"),
        ("f", 3_601, "ok", "a"),
    ]
    for event_id, seconds, outcome, retry_of in rows:
        release.event(event_id, seconds, outcome, retry_of=retry_of, wanted_tokens=1)
    assert chains(only(release, HOUR, HOUR + 3_600_000)) == [0, -1, 0, 3, 3, -1]


def test_denied_attempts_of_logs_without_retries_are_one_a_key_route_model_and_minute(release: Release) -> None:
    for number, (seconds, outcome, changed) in enumerate(
        [
            (1, "denied", {}),
            (2, "denied", {}),
            (3, "ok", {}),
            (4, "denied", {"route": "/s"}),
            (5, "denied", {"api_key_id": "other"}),
            (6, "denied", {"model": "other"}),
            (59, "denied", {}),
            (60, "denied", {}),
        ]
    ):
        release.event(str(number), seconds, outcome, **changed)
    assert chains(only(release)) == [0, 0, -1, -1, -1, -1, 0, -1]


def test_a_denied_attempt_would_have_taken_what_others_of_its_model_took(release: Release) -> None:
    for number, tokens in enumerate([10, 20, 30, 40]):
        release.event(f"ok{number}", number, "ok", total_tokens=tokens, duration_ms=tokens * 100.0)
    release.event("d1", 10, "denied", duration_ms=1.0)
    release.event("d2", 11, "denied", duration_ms=1.0, wanted_tokens=0)
    release.event("d3", 12, "denied", duration_ms=1.0, model="never served")
    found = only(release)
    assert found.tokens.tolist()[4:] == [20, 0, 0]
    assert (found.ended_ms - found.arrived_ms).tolist()[4:] == [2_000, 2_000, 1]


def test_a_denied_attempt_whose_retry_was_served_would_have_cost_what_that_did(release: Release) -> None:
    release.event("a", 1, "denied", gpu_ms=0.0, duration_ms=1.0)
    release.event("b", 2, "denied", retry_of="a", wanted_tokens=5, duration_ms=1.0)
    release.event("c", 3, "ok", retry_of="a", total_tokens=90, gpu_ms=7.0, duration_ms=300.0)
    release.event("d", 4, "ok", retry_of="a", total_tokens=40, gpu_ms=9.0, duration_ms=900.0)
    found = only(release)
    assert found.tokens.tolist() == [90, 5, 90, 40]
    assert found.compute.tolist() == [7_000, 7_000, 7_000, 9_000]
    assert (found.ended_ms - found.arrived_ms).tolist() == [300, 300, 300, 900]


def test_what_was_never_served_would_have_taken_the_median_compute_of_its_model(release: Release) -> None:
    for number, gpu_ms in enumerate((5.0, 1.0, 3.0)):
        release.event(f"e{number}", number, "ok", gpu_ms=gpu_ms)
    release.event("other", 4, "ok", model="large", gpu_ms=90.0)
    release.event("refused", 5, "denied", retry_of="gone")
    (found,) = histories(release.connection, [HOUR])
    assert found.compute.tolist() == [5_000, 1_000, 3_000, 90_000, 3_000]


def test_a_target_that_charges_some_classes_of_tokens_counts_those_alone(release: Release) -> None:
    served = {"total_tokens": 100, "input_tokens": 60, "cache_read_tokens": 30, "output_tokens": 10}
    release.event("e0", 0, "denied", wanted_tokens=500)
    release.event("e1", 1, "ok", retry_of="e0", **served)
    release.event("e2", 2, "denied", wanted_tokens=500, retry_of="gone")
    release.event("e3", 3, "denied", wanted_tokens=500, retry_of="away", model="new")
    (some,) = histories(release.connection, [HOUR], token_classes={"input", "output"})
    # of its chain; of the median of its model; nothing is known but what it wanted
    assert some.tokens.tolist() == [70, 70, 70, 500]
    (every,) = histories(release.connection, [HOUR])
    assert every.tokens.tolist() == [500, 100, 500, 500]


def test_groups_of_tenants_are_all_tenants_once(release: Release) -> None:
    for number in range(20):
        release.event(f"e{number}", number, "ok", tenant=f"t{number}")
    groups = [[one.tenant for one in histories(release.connection, [HOUR], group=Group(n, 3))] for n in range(3)]
    assert sorted(chain.from_iterable(groups)) == sorted(f"t{number}" for number in range(20))
    assert min(map(len, groups)) > 0
