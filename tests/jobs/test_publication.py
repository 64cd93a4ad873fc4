"""A policy into every sink: all or a word about it, what differs, the way back."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from jobs.feedback import derive, renew_by_clock
from jobs.publication import publish, roll_back, verify
from jobs.work import Work
from quotaloop.errors import CheckRefused, ServiceUnreachable, UsageError
from quotaloop.marts.rollback import roll_back as roll_release_back
from quotaloop.quotas.policy import Policy, is_pinned, newest, resume, same_limits, store_policy
from quotaloop.results import Publication
from quotaloop.settings import Settings
from quotaloop.sinks import configured
from quotaloop.sinks.file import FileSink
from tests.marts.handmade import DAY, HOUR, Handmade, at, limit, policy

PUBLISHED = "published/policy.json"
TWO = json.dumps({"edge": {"type": "file", "path": "edge.json"}})


@pytest.fixture
def made(tmp_path: Any) -> Handmade:
    """An empty store."""
    return Handmade(tmp_path / "store")


def work(made: Handmade, now_hour: int = 0, **changed: Any) -> Work:
    return Work(Settings(store=made.store.url, **changed), now_ms=lambda: DAY + now_hour * HOUR)


def put(made: Handmade, epoch: int, amount: int = 5, **changed: Any) -> Publication:
    store_policy(made.store, policy(epoch, limit("a", "requests", amount)))
    found = publish(work(made, **changed))
    assert found is not None
    return found


def test_without_a_policy_there_is_nothing_to_publish(made: Handmade) -> None:
    assert publish(work(made)) is None
    assert verify(work(made)) is None
    assert not made.store.exists(PUBLISHED)


def test_a_policy_is_published_once_into_every_sink(made: Handmade) -> None:
    first = put(made, 1, sinks=TWO)
    assert first.moved
    for path in (PUBLISHED, "edge.json"):
        assert made.store.read(path) == made.store.read("policies/0000000001.json")
    there = made.store.path(PUBLISHED).stat()
    again = publish(work(made, sinks=TWO))
    assert again is not None
    assert not again.moved
    after = made.store.path(PUBLISHED).stat()
    assert (after.st_ino, after.st_mtime_ns) == (there.st_ino, there.st_mtime_ns)
    record = json.loads(made.store.read("publications/0000000001/edge.json"))
    assert (record["epoch"], record["sink"], record["published_at"]) == (1, "edge", "2026-03-02T00:00:00Z")


def test_the_newest_policy_takes_the_place_of_an_older_one(made: Handmade) -> None:
    put(made, 1)
    store_policy(made.store, policy(2, limit("a", "requests", 6)))
    assert put(made, 3).policy.epoch == json.loads(made.store.read(PUBLISHED))["epoch"] == 3


def test_a_sink_that_came_later_gets_the_policy(made: Handmade) -> None:
    put(made, 1)
    found = publish(work(made, sinks=TWO))
    assert found is not None
    found.check()
    assert made.store.exists("edge.json")


@pytest.mark.parametrize("edit", [b"\n", b" "])
def test_what_somebody_changed_is_told_and_left_until_it_is_mended(made: Handmade, edit: bytes) -> None:
    put(made, 1)
    edited = made.store.read(PUBLISHED) + edit
    made.store.replace(PUBLISHED, edited)
    for found in (publish(work(made)), verify(work(made))):
        assert found is not None
        with pytest.raises(CheckRefused, match=r"sink file is not at policy 1 as published: .*somebody changed it"):
            found.check()
    assert made.store.read(PUBLISHED) == edited
    mended = publish(work(made), mend=True)
    assert mended is not None
    mended.check()


def test_a_published_policy_newer_than_the_store_is_not_taken_back(made: Handmade) -> None:
    put(made, 1)
    later = Handmade(made.store.root.with_name("later"))
    store_policy(later.store, policy(7, limit("a", "requests", 9)))
    made.store.replace(PUBLISHED, later.store.read("policies/0000000007.json"))
    found = publish(work(made), mend=True)
    assert found is not None
    with pytest.raises(CheckRefused, match="epoch 7 is in force"):
        found.check()
    assert json.loads(made.store.read(PUBLISHED))["epoch"] == 7


class Choosy(FileSink):
    """A limiter that cannot hold every policy, and may be away."""

    away = False

    def check(self, policy: Policy) -> None:
        """It holds no limit above 10."""
        for one in self.configuration.limits(policy):
            if one.limit > 10:
                raise self.configuration.refusal(one, f"{one.limit} is above 10")

    def publish(self, policy: Policy) -> None:
        """Nothing, while it is away."""
        if Choosy.away:
            raise ServiceUnreachable("choosy does not answer")
        super().publish(policy)


@pytest.fixture
def choosy(monkeypatch: pytest.MonkeyPatch) -> str:
    """Settings with a sink ``a_choosy`` of a type that a third party brings."""
    monkeypatch.setattr(Choosy, "away", False)

    class Point:
        name = "choosy"

        @staticmethod
        def load() -> type[Choosy]:
            return Choosy

    known = [point for point in configured.entry_points(group=configured.GROUP) if point.name == "file"]
    monkeypatch.setattr(configured, "entry_points", lambda group: [*known, Point])  # noqa: ARG005
    return json.dumps({"a_choosy": {"type": "choosy", "path": "choosy.json"}, "z": {"type": "file", "path": "z.json"}})


def test_a_sink_that_cannot_hold_the_policy_refuses_it_for_all(made: Handmade, choosy: str) -> None:
    put(made, 1, sinks=choosy)
    before = {path: made.store.read(path) for path in (PUBLISHED, "choosy.json", "z.json")}
    store_policy(made.store, policy(2, limit("a", "requests", 11)))
    with pytest.raises(CheckRefused, match=r"sink a_choosy cannot hold a, requests .*: 11 is above 10"):
        publish(work(made, sinks=choosy))
    assert {path: made.store.read(path) for path in before} == before


def test_a_sink_that_is_away_keeps_the_policy_from_no_other_and_gets_it_next_time(made: Handmade, choosy: str) -> None:
    Choosy.away = True
    found = put(made, 1, sinks=choosy)
    with pytest.raises(ServiceUnreachable, match="choosy does not answer"):
        found.check()
    assert [(one.sink, one.is_there) for one in found.sinks] == [("a_choosy", False), ("file", True), ("z", True)]
    assert made.store.exists("z.json")
    Choosy.away = False
    again = publish(work(made, sinks=choosy))
    assert again is not None
    again.check()
    assert made.store.exists("choosy.json")


def test_going_back_publishes_the_old_limits_under_a_new_epoch_and_pins_them(made: Handmade) -> None:
    for epoch, amount in ((1, 5), (2, 9), (3, 9)):
        put(made, epoch, amount)
    os.utime(made.store.path("policies/0000000003.json"), (DAY / 1_000, DAY / 1_000))
    found = roll_back(work(made, now_hour=10))
    found.check()
    assert found.policy.epoch == json.loads(made.store.read(PUBLISHED))["epoch"] == 4
    assert [one.limit for one in found.policy.limits] == [5]  # 2 and 3 have the same limits
    assert found.policy.limits[0].evidence["rolled_back_to"] == 1
    assert (found.policy.valid_from, found.policy.expires_at) == (at(10), at(58))
    assert is_pinned(made.store, newest(made.store))
    assert resume(made.store) == 4
    assert not is_pinned(made.store, newest(made.store))
    assert resume(made.store) is None


def test_going_back_to_a_named_epoch_or_to_none_that_there_is(made: Handmade) -> None:
    for epoch, amount in ((1, 5), (2, 7), (3, 9)):
        put(made, epoch, amount)
    assert [one.limit for one in roll_back(work(made), 1).policy.limits] == [5]
    with pytest.raises(UsageError, match="there is no policy 9"):
        roll_back(work(made), 9)
    single = Handmade(made.store.root.with_name("single"))
    put(single, 1)
    with pytest.raises(UsageError, match="no policy before 1 has other limits"):
        roll_back(work(single))


def test_a_rollback_of_a_live_policy_that_has_expired_is_in_force_from_now_on(made: Handmade) -> None:
    put(made, 1, 5)
    put(made, 2, 9)
    os.utime(made.store.path("policies/0000000002.json"), (DAY / 1_000, DAY / 1_000))
    found = roll_back(work(made, now_hour=60))
    assert (found.policy.valid_from, found.policy.expires_at) == (at(60), at(108))


def test_after_a_release_was_rolled_back_the_limits_before_it_can_be_gone_back_to(made: Handmade) -> None:
    for hour, most in ((0, 40), (1, 80)):
        released(made, hour, most)
        derive(work(made))
        if hour == 0:
            publish(work(made))
    roll_release_back(made.store, 1)
    with pytest.raises(CheckRefused, match="gate release"):
        publish(work(made))
    back = roll_back(work(made))
    back.check()
    assert ([one.limit for one in back.policy.limits], back.policy.release) == ([50], 1)
    with pytest.raises(UsageError, match="no policy before 3 has other limits"):  # 2 was never in force
        roll_back(work(made))


def test_a_refused_rollback_stores_nothing(made: Handmade, choosy: str) -> None:
    put(made, 1, 11)
    put(made, 2, 9)
    with pytest.raises(CheckRefused, match="11 is above 10"):
        roll_back(work(made, sinks=choosy))
    assert not made.store.exists("policies/0000000003.json")


def test_a_renewal_after_resume_is_not_pinned_again(made: Handmade) -> None:
    put(made, 1, 5)
    put(made, 2, 9)
    roll_back(work(made))
    assert resume(made.store) == 3
    os.utime(made.store.path("policies/0000000003.json"), (DAY / 1_000, DAY / 1_000))
    renewed = renew_by_clock(work(made, now_hour=30))
    assert renewed is not None
    assert renewed.policy is not None
    assert renewed.policy.epoch == 4
    assert not is_pinned(made.store, renewed.policy)


def test_a_policy_that_came_meanwhile_is_the_one_that_ends_up_there(
    made: Handmade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody rolls back while a run publishes: the file sink has no compare-and-set of its own."""
    put(made, 1, 5)
    store_policy(made.store, policy(2, limit("a", "requests", 6)))
    plain = FileSink.publish

    def slowly(sink: FileSink, pushed: Policy) -> None:
        if pushed.epoch == 2:
            monkeypatch.setattr(FileSink, "publish", plain)
            put(made, 3, 7)
            sink.configuration.store.replace(PUBLISHED, made.store.read("policies/0000000002.json"))
        else:
            plain(sink, pushed)

    monkeypatch.setattr(FileSink, "publish", slowly)
    found = publish(work(made))
    assert found is not None
    found.check()
    assert found.policy.epoch == json.loads(made.store.read(PUBLISHED))["epoch"] == 3


def test_a_rollback_of_a_policy_that_was_never_live_is_not_made_valid_by_it(made: Handmade) -> None:
    put(made, 1, 5)
    put(made, 2, 9)
    found = roll_back(work(made, now_hour=1_000))
    assert (found.policy.valid_from, found.policy.expires_at) == (at(0), at(48))


def released(made: Handmade, hour: int, most: int) -> None:
    """A release with one minute of demand more."""
    row: dict[str, Any] = {"minute": at(hour, 30), "tenant": "a", "model": "m", "kind": "requests"}
    made.add("demand_minutely", row | {"demand": most, "admitted": most}, hours=[DAY + hour * HOUR])
    made.counted(DAY + hour * HOUR)
    made.store.write_if_absent(f"raw/t/p=00000/{0:020d}-{10:020d}.jsonl.gz", b"")
    made.publish()


def test_while_a_rollback_pins_the_limits_a_new_release_renews_them(made: Handmade) -> None:
    for hour, most in ((0, 40), (1, 80)):
        released(made, hour, most)
        derive(work(made))
        publish(work(made))
    back = roll_back(work(made, now_hour=1_000)).policy
    assert [one.limit for one in back.limits] == [50]
    released(made, 5, 400)
    kept = derive(work(made))
    assert "pinned by a rollback" in kept.message
    assert kept.policy is not None
    assert same_limits(kept.policy, back)
    assert (kept.is_new, kept.policy.expires_at) == (True, at(6 + 48))
    resume(made.store)
    released(made, 6, 400)
    moved = derive(work(made)).policy
    assert moved is not None
    assert [one.limit for one in moved.limits] == [100]  # the greatest step


def test_a_policy_of_a_release_that_was_rolled_back_is_not_published(made: Handmade) -> None:
    for hour, most in ((0, 40), (1, 80)):
        released(made, hour, most)
        derive(work(made))
    roll_release_back(made.store, 1)
    with pytest.raises(CheckRefused, match="gate release: policy 2 is of release 2, which was rolled back to 1"):
        publish(work(made))
    assert not made.store.exists(PUBLISHED)


def test_a_policy_that_is_in_force_is_renewed_also_when_its_release_was_rolled_back(made: Handmade) -> None:
    for hour, most in ((0, 40), (1, 80)):
        released(made, hour, most)
        derive(work(made))
    assert publish(work(made)) is not None
    roll_release_back(made.store, 1)
    os.utime(made.store.path("policies/0000000002.json"), (DAY / 1_000, DAY / 1_000))
    late = work(made, now_hour=30)
    assert renew_by_clock(late) is not None
    renewed = publish(work(made, now_hour=30))
    assert renewed is not None
    renewed.check()
    assert renewed.policy.epoch == json.loads(made.store.read(PUBLISHED))["epoch"] == 3
