"""The loop as data."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from jobs.work import Work
from pipelines import in_process
from pipelines.loop import LOOP, TO_BUILD, TO_LIMITERS, TO_POLICY, TO_RAW, TO_RELEASE, Stage
from quotaloop.settings import Settings

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
