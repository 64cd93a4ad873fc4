"""The loop as data."""

from __future__ import annotations

import inspect
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from jobs.publication import publish
from jobs.work import Work
from pipelines import in_process
from pipelines.loop import LOOP, TO_BUILD, TO_LIMITERS, TO_POLICY, TO_RAW, TO_RELEASE, Stage
from quotaloop.errors import CheckRefused
from quotaloop.progress import Silence
from quotaloop.quotas.policy import newest, store_policy
from quotaloop.settings import Settings
from tests.marts.handmade import DAY, HOUR, Handmade, at, limit, policy

ORDER = ["land", "parse", "build", "recount", "audit", "release", "derive", "renew", "publish"]


@pytest.mark.parametrize("stage", LOOP, ids=lambda stage: stage.name)
def test_a_stage_names_a_function_of_one_work(stage: Stage) -> None:
    module, name = stage.job.split(":")
    function = getattr(import_module(module), name)
    parameters = inspect.signature(function).parameters.values()
    (needed,) = (parameter for parameter in parameters if parameter.default is parameter.empty)
    assert needed.annotation == "Work"


def test_every_stage_stands_after_those_that_it_needs() -> None:
    seen: set[str] = set()
    for stage in LOOP:
        assert set(stage.after) <= seen, stage.name
        seen.add(stage.name)
    assert [stage.name for stage in LOOP] == ORDER
    assert [*TO_RAW, *TO_BUILD, *TO_RELEASE, *TO_POLICY, *TO_LIMITERS] == ORDER


def test_stages_run_in_the_order_of_their_needs_whatever_order_they_are_named_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for stage in LOOP:
        module, name = stage.job.split(":")
        monkeypatch.setattr(import_module(module), name, lambda _, name=stage.name: calls.append(name) or name)
    work = Work(Settings(store=str(tmp_path)))
    results: dict[str, Any] = in_process.run_stages(work, reversed(ORDER))
    assert calls == ORDER
    assert results == {name: name for name in ORDER}
    calls.clear()
    in_process.run_stages(work, ("build", "parse"))
    assert calls == ["parse", "build"]


def test_a_run_that_fails_still_keeps_a_live_policy_from_expiring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Handmade(tmp_path / "store")
    store_policy(made.store, policy(1, limit("a", "requests", 5)))
    os.utime(made.store.path("policies/0000000001.json"), (DAY / 1_000, DAY / 1_000))

    def refused(_: Work) -> None:
        raise CheckRefused("bad_share: too much")

    monkeypatch.setattr("jobs.ingest.land.land", refused)
    monkeypatch.setattr(in_process, "Work", lambda *given: Work(*given, now_ms=lambda: DAY + 30 * HOUR))
    settings = Settings(store=made.store.url)
    publish(Work(settings))
    with pytest.raises(CheckRefused, match="bad_share"):
        in_process.run(settings, Silence())
    renewed = newest(made.store)
    assert renewed is not None
    assert (renewed.epoch, renewed.expires_at) == (2, at(78))
    assert made.store.read("published/policy.json") == made.store.read("policies/0000000002.json")
