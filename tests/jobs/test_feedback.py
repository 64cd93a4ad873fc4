"""The way back: which hours of a release move quotas, what policy they give, and that it is published once."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.audit.waivers import waive
from jobs.feedback import GateRefused, derive, is_pending, renew_by_clock
from jobs.fit_hours import fit_hours
from jobs.work import Work
from quotaloop.errors import CheckRefused, InputUnreadable
from quotaloop.marts.rollback import resume, roll_back
from quotaloop.quotas.policy import Policy, instant, newest, policies, same_limits
from quotaloop.raw import closing, topics
from quotaloop.raw.lost import Lost, note
from quotaloop.raw.ranges import Range
from quotaloop.settings import Settings
from tests.marts.handmade import DAY, HOUR, Handmade, Row, at


@pytest.fixture
def made(tmp_path: Path) -> Handmade:
    """An empty store; raw ranges are named in it that releases of it speak of."""
    made = Handmade(tmp_path / "store")
    for start in (0, 10):
        made.store.write_if_absent(Range("t", 0, start, start + 10).path, b"")
    return made


def work(made: Handmade, **changed: Any) -> Work:
    return Work(Settings(store=made.store.url, **changed))


def hours(*numbers: int) -> tuple[int, ...]:
    """Hours counted from ``DAY``, in epoch ms."""
    return tuple(DAY + number * HOUR for number in numbers)


def demand(made: Handmade, hour: int, most: int, tenant: str = "a", word: str = "twice", start: int = 0) -> None:
    """An hour, out of the raw file that begins at ``start``, with one minute of requests."""
    row: Row = {"minute": at(hour, 30), "tenant": tenant, "model": "m", "kind": "requests"}
    made.add("demand_minutely", row | {"demand": most, "admitted": most}, hours=hours(hour))
    made.counted(*hours(hour), word=word, raw=("t", 0, start))


def stamped(made: Handmade, hour: int, expected: int, missing: int, host: str = "h") -> None:
    """What came in of an hour's stamps of one host."""
    row = {"hour": at(hour), "host": host, "boot": "b", "expected": expected, "missing": missing}
    made.add("completeness_hourly", row, hours=hours(hour))


def limits(found: Policy | None) -> dict[str, int]:
    assert found is not None
    return {one.tenant: one.limit for one in found.limits}


def test_hours_counted_twice_are_fit_and_others_say_why_not(made: Handmade) -> None:
    for hour in range(7):
        demand(made, hour, 5, word="once" if hour == 1 else "twice", start=10 if hour == 2 else 0)
    waive(made.store, "bad_share", "t/0/10-20", "known")
    for hour, missing in ((3, 2), (4, 1)):
        stamped(made, hour, 600, missing, "h")
        stamped(made, hour, 400, 0, "g")
    release = made.publish()
    found = fit_hours(work(made), release)
    assert found.fit == hours(0, 4, 5, 6)  # 1 of 1,000 is the greatest share that is fit
    assert found.unfit == dict(zip(hours(1, 2, 3), ("counted_once", "waived", "missing"), strict=True))
    strict = fit_hours(work(made, completeness="require"), release)
    assert strict.fit == hours(4)
    assert {strict.unfit[hour] for hour in hours(0, 5, 6)} == {"unstamped"}
    assert fit_hours(work(made, completeness="off"), release).fit == hours(0, 3, 4, 5, 6)


def test_a_waiver_of_another_range_spoils_no_hour(made: Handmade) -> None:
    demand(made, 0, 5, start=0)
    waive(made.store, "double_entry", "t/0/10-20", "known")
    assert fit_hours(work(made), made.publish()).fit == hours(0)


def test_an_hour_of_several_days_is_judged_by_its_own_day(made: Handmade) -> None:
    demand(made, 23, 5)
    demand(made, 24, 5, word="once")
    found = fit_hours(work(made), made.publish())
    assert (found.fit, found.unfit) == (hours(23), {hours(24)[0]: "counted_once"})


@pytest.mark.parametrize(
    ("next_hour", "unfit"), [(2, (1, 2)), (None, (1, 2, 3, 4)), (0, (1,))], ids=["known", "unknown", "before"]
)
def test_hours_that_lost_offsets_may_be_of_are_unfit(
    made: Handmade, next_hour: int | None, unfit: tuple[int, ...]
) -> None:
    topics.declare(made.store, "t", {"source": "kafka"})
    for hour in (0, 1, 2, 3, 4):
        demand(made, hour, 5, start=0 if hour < 2 else 20)
    (most,) = hours(1)
    made.day(most).outcomes[most] = [["t", 0, 0, 9, 0, 0]]
    closing.end(made.store, "t", {0: 30}, 0)
    next_ms = None if next_hour is None else hours(next_hour)[0] + 1
    note(made.store, Lost(Range("t", 0, 10, 20), "lost", hours(5)[0], next_ms))
    found = fit_hours(work(made), made.publish())
    assert dict(found.unfit) == dict.fromkeys(hours(*unfit), "lost")


def test_a_policy_is_derived_from_the_fit_hours_alone(made: Handmade) -> None:
    demand(made, 0, 40)
    demand(made, 1, 1_000, word="once")
    demand(made, 2, 2_000, start=10)
    demand(made, 0, 4, tenant="b")
    waive(made.store, "bad_share", "t/0/10-20", "known")
    made.publish()
    found = derive(work(made))
    assert limits(found.policy) == {"a": 50, "b": 10}  # 40 and a quarter; the floor
    assert (found.is_new, found.fit_hours, found.message) == (True, 1, "derived from 1 hours of release 1")
    assert found.unfit == dict(zip(hours(1, 2), ("counted_once", "waived"), strict=True))
    assert found.policy == newest(made.store)
    assert found.policy is not None
    assert (found.policy.epoch, found.policy.release) == (1, 1)


def test_its_times_are_those_of_the_newest_hour_counted_twice(made: Handmade) -> None:
    demand(made, 0, 40)
    demand(made, 5, 40, start=10)
    demand(made, 9, 40, word="once")
    waive(made.store, "bad_share", "t/0/10-20", "known")
    made.publish()
    found = derive(work(made, policy_lifetime=HOUR)).policy
    assert found is not None
    begin = instant(DAY + 6 * HOUR)
    assert (found.created_at, found.valid_from, found.expires_at) == (begin, begin, instant(DAY + 7 * HOUR))


def test_the_same_release_gives_the_same_policy(made: Handmade, tmp_path: Path) -> None:
    for hour in range(3):
        demand(made, hour, 40 + hour)
    made.publish()
    copy = Handmade(tmp_path / "copy")
    shutil.copytree(made.store.root, copy.store.root)
    first, second = derive(work(made)), derive(work(copy))
    assert first == second
    paths = [info.path for info in made.store.files("policies")]
    assert paths == ["policies/0000000001.json"]
    assert made.store.read(paths[0]) == copy.store.read(paths[0])


def test_deriving_again_derives_nothing(made: Handmade) -> None:
    demand(made, 0, 40)
    made.publish()
    first = derive(work(made)).policy
    again = derive(work(made))
    assert (again.policy, again.is_new) == (first, False)
    assert again.message == "policy 1 is of release 1 already"
    assert len(list(policies(made.store))) == 1


def test_a_newer_release_gives_the_next_policy(made: Handmade) -> None:
    demand(made, 0, 40)
    made.publish()
    derive(work(made))
    demand(made, 1, 80)
    made.publish()
    found = derive(work(made)).policy
    assert found is not None
    assert (found.epoch, found.release, limits(found)) == (2, 2, {"a": 100})


def test_without_a_release_there_is_nothing_to_derive_from(made: Handmade) -> None:
    found = derive(work(made))
    assert (found.policy, found.is_new, found.message) == (None, False, "there is no release to derive from")


def test_without_a_fit_hour_and_a_policy_there_is_none(made: Handmade) -> None:
    demand(made, 0, 40, word="once")
    made.publish()
    found = derive(work(made))
    assert (found.policy, found.is_new, found.fit_hours) == (None, False, 0)
    assert found.message == "no hour is fit for quotas, and there is no policy to renew"
    assert newest(made.store) is None


@pytest.fixture
def unfit(made: Handmade) -> Handmade:
    """Policy 1 is of the first hour; since then one day has come, no hour of which is complete."""
    demand(made, 0, 40)
    made.publish()
    assert derive(work(made)).is_new
    made.days.clear()
    demand(made, 24, 9_000)
    stamped(made, 24, 100, 50)
    made.publish()
    return made


def test_without_a_fit_hour_the_policy_is_renewed(unfit: Handmade) -> None:
    first = newest(unfit.store)
    assert first is not None
    found = derive(work(unfit))
    assert found.policy is not None
    assert same_limits(found.policy, first)
    assert (found.is_new, found.policy.epoch, found.fit_hours) == (True, 2, 0)
    assert found.message == "no hour is fit for quotas: limits unchanged"
    assert found.policy.created_at == instant(DAY + 25 * HOUR)
    assert found.policy.expires_at == instant(DAY + 25 * HOUR + 2 * 24 * HOUR)
    assert newest(unfit.store) == found.policy


def test_fit_hours_older_than_the_span_do_not_make_a_policy_anew(made: Handmade) -> None:
    """Stamps have been missing since: the old limits are renewed, and age."""
    demand(made, 0, 40)
    made.publish()
    first = derive(work(made)).policy
    demand(made, 24, 9_000)
    stamped(made, 24, 100, 50)
    made.publish()
    renewed = derive(work(made, quota_span=24 * HOUR))
    assert renewed.policy is not None
    assert first is not None
    assert same_limits(renewed.policy, first)
    assert renewed.message == "no hour is fit for quotas: limits unchanged"


def test_a_renewal_leaves_nothing_pending(unfit: Handmade) -> None:
    assert is_pending(work(unfit))
    derive(work(unfit))
    assert not is_pending(work(unfit))


def test_holes_in_stamps_may_be_of_any_size(made: Handmade) -> None:
    demand(made, 0, 5)
    for host in ("h", "i"):
        stamped(made, 0, 2**63 - 1, 2**63 - 2, host=host)
    assert fit_hours(work(made), made.publish()).unfit == {DAY: "missing"}


def test_a_policy_is_renewed_once_for_a_release(unfit: Handmade) -> None:
    second = derive(work(unfit)).policy
    again = derive(work(unfit))
    assert (again.policy, again.is_new) == (second, False)
    assert len(list(policies(unfit.store))) == 2


def test_an_old_policy_is_renewed_with_a_warning_and_then_no_more(unfit: Handmade) -> None:
    warned = derive(work(unfit, max_policy_age=48 * HOUR))
    assert warned.is_new
    assert "limits unchanged; the limits of policy 1 were last derived at 2026-03-02T01:00:00Z" in warned.message
    unfit.store.delete("policies/0000000002.json")
    refused = derive(work(unfit, max_policy_age=23 * HOUR))
    assert (refused.is_new, refused.policy) == (False, newest(unfit.store))
    assert "too old to renew, safe capacity holds after 2026-03-04T01:00:00Z" in refused.message
    assert len(list(policies(unfit.store))) == 1


def test_a_renewed_policy_gives_way_to_fit_hours(unfit: Handmade) -> None:
    derive(work(unfit))
    demand(unfit, 30, 80)
    unfit.publish()
    found = derive(work(unfit)).policy
    assert found is not None
    assert (found.epoch, found.release, limits(found)) == (3, 3, {"a": 100})


def test_a_backfill_moves_no_limits_unless_asked(made: Handmade) -> None:
    demand(made, 5, 40)
    made.publish()
    first = derive(work(made)).policy
    demand(made, 3, 80)
    made.publish()
    kept = derive(work(made))
    assert (kept.policy, kept.is_new) == (first, False)
    assert kept.message.startswith("limits unchanged: release 2 brings no newer hour than policy 1 was derived from")
    assert not is_pending(work(made))
    asked = derive(work(made), backfill=True)
    assert (asked.is_new, limits(asked.policy)) == (True, {"a": 100})


def attempts(made: Handmade, hour: int, *tokens: int) -> None:
    """Served requests of so many tokens, 20 s apart from the beginning of an hour, with their demand."""
    rows: list[Row] = []
    minutes: dict[int, list[int]] = {}
    for place, amount in enumerate(tokens):
        row: Row = {"event_id": f"a-{place}", "ts": at(hour) + timedelta(seconds=20 * place), "hour": at(hour)}
        row |= {"tenant": "a", "model": "m", "api_version": "v1", "outcome": "ok", "status": 200}
        row |= {"duration_us": 1_000, "gpu_us": 0, "topic": "t", "offset": place}
        rows.append(row | {"input_tokens": amount, "total_tokens": amount})
        minutes.setdefault(place // 3, []).append(amount)
    demanded: list[Row] = []
    for minute, amounts in minutes.items():
        shared: Row = {"minute": at(hour, minute), "tenant": "a", "model": "m"}
        for kind, amount in (("requests", len(amounts)), ("tokens", sum(amounts))):
            demanded.append(shared | {"kind": kind, "demand": amount, "admitted": amount})
    made.add("events", *rows, hours=hours(hour))
    made.add("demand_minutely", *demanded, hours=hours(hour))
    made.counted(*hours(hour))


def test_a_gate_refuses_limits_that_deny_what_capacity_could_carry(made: Handmade) -> None:
    attempts(made, 0, 10, 10, 10, 460, 460, 10, 10, 10, 10, 10)
    made.publish()
    tight = {
        "quantile": 0.5,
        "floor_tokens": 1,
        "headroom": 1.0,
    }  # 460 tokens a minute, which the greatest request takes
    windows = '{"edge": {"type": "file", "path": "edge.json", "algorithms": {"tokens": "fixed_window"}}}'
    told = (
        r"gate backtest: a, requests: sink edge would deny 2, 20\.0% of 10 that capacity could carry; .* \(and 1 more\)"
    )
    with pytest.raises(GateRefused, match=told):
        derive(work(made, sinks=windows, **tight))
    assert newest(made.store) is None
    shown = derive(work(made, sinks=windows, **tight), dry_run=True)
    assert (shown.is_new, [one.kind for one in shown.objections]) == (False, ["requests", "tokens"])
    assert newest(made.store) is None
    accepted = derive(work(made, sinks=windows, **tight), accepted={"backtest"}).policy
    assert accepted is not None
    assert accepted == newest(made.store)
    (tokens,) = (one for one in accepted.limits if one.kind == "tokens")
    assert tokens.limit == 460
    assert tokens.evidence["accepted"] == [str(shown.objections[1])]


def live(made: Handmade, stored_hour: int) -> None:
    """Let the newest policy be stored so many hours after ``DAY``."""
    known = newest(made.store)
    assert known is not None
    path = made.store.path(f"policies/{known.epoch:010d}.json")
    os.utime(path, ((DAY + stored_hour * HOUR) / 1000,) * 2)


def clock(made: Handmade, hour: int, **changed: Any) -> Work:
    return Work(Settings(store=made.store.url, **changed), now_ms=lambda: DAY + hour * HOUR)


def test_a_live_policy_is_renewed_by_the_clock_when_half_of_its_time_is_over(made: Handmade) -> None:
    demand(made, 0, 40)
    made.publish()
    first = derive(work(made)).policy
    live(made, 2)
    assert renew_by_clock(clock(made, 24)) is None
    renewed = renew_by_clock(clock(made, 25))
    assert renewed is not None
    assert renewed.policy is not None
    assert first is not None
    assert same_limits(renewed.policy, first)
    assert (renewed.is_new, renewed.policy.epoch) == (True, 2)
    assert renewed.policy.expires_at == instant(DAY + (25 + 48) * HOUR)


def test_limits_that_rest_on_the_same_hours_are_renewed_and_age(made: Handmade) -> None:
    """Stamps have been missing since: the hours that come are not fit, and the old ones have had their say."""
    demand(made, 0, 40)
    made.publish()
    first = derive(work(made)).policy
    for day in (1, 8, 15):
        demand(made, 24 * day, 9_000)
        stamped(made, 24 * day, 100, 50, host=str(day))
        made.publish()
        found = derive(work(made))
        assert found.policy is not None
        assert first is not None
        assert same_limits(found.policy, first)
        assert (found.is_new, "last derived at" in found.message) == (day < 15, day > 7)


def test_a_policy_from_late_data_lasts_as_long_as_the_live_one_that_it_replaces(made: Handmade) -> None:
    demand(made, 0, 40)
    made.publish()
    derive(work(made))
    live(made, 2)
    renewed = renew_by_clock(clock(made, 40))
    assert renewed is not None
    assert renewed.policy is not None
    demand(made, 5, 41)
    made.publish()
    found = derive(clock(made, 60)).policy
    assert found is not None
    assert (found.epoch, found.expires_at) == (3, renewed.policy.expires_at)


def test_a_line_of_next_week_does_not_keep_limits_from_moving(made: Handmade) -> None:
    for hour in range(5):
        demand(made, hour, 40)
        made.day(hours(hour)[0]).outcomes[hours(hour)[0]] = [["t", 0, 0, 100, 0, 0]]
    demand(made, 24 * 7, 1)
    made.publish()
    found = derive(clock(made, 5))
    assert found.policy is not None
    assert found.policy.valid_from == instant(DAY + 5 * HOUR)
    assert found.unfit == {hours(24 * 7)[0]: "stray"}


def test_after_its_release_was_taken_back_limits_are_derived_anew(made: Handmade) -> None:
    demand(made, 0, 40)
    made.publish()
    derive(work(made))
    demand(made, 1, 80)
    made.publish()
    assert limits(derive(work(made)).policy) == {"a": 100}
    roll_back(made.store, 1)
    resume(made.store)
    demand(made, 1, 41)
    made.publish()
    again = derive(work(made))
    assert again.message.startswith("derived from")


def test_a_policy_of_a_backfill_is_left_alone_by_the_clock(made: Handmade) -> None:
    demand(made, 0, 40)
    made.publish()
    derive(work(made))
    live(made, 49)
    assert renew_by_clock(clock(made, 50)) is None


def test_a_live_policy_that_is_too_old_to_renew_is_no_success_once_it_has_expired(made: Handmade) -> None:
    demand(made, 0, 40)
    made.publish()
    derive(work(made))
    live(made, 2)
    warned = renew_by_clock(clock(made, 48, max_policy_age=24 * HOUR))
    assert warned is not None
    assert (warned.is_new, "too old to renew" in warned.message) == (False, True)
    with pytest.raises(CheckRefused, match="policy 1 has expired, every tenant has safe capacity"):
        renew_by_clock(clock(made, 49, max_policy_age=24 * HOUR))


def test_quotas_are_not_derived_from_a_file_that_was_replaced(made: Handmade) -> None:
    demand(made, 0, 40)
    made.publish()
    (entry,) = made.day(DAY).tables["demand_minutely"]
    row: Row = {"minute": at(0), "tenant": "a", "model": "m", "kind": "requests", "demand": 90, "admitted": 90}
    other = made.write("demand_minutely", [row], hours(0), "")
    made.store.replace(entry.path, made.store.read(other.path))
    with pytest.raises(InputUnreadable, match="checksum"):
        derive(work(made))
