"""The engines that every run of these tests finds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.loop.stores import Loop


@pytest.fixture(scope="module")
def engines(spark: object) -> Iterator[None]:  # noqa: ARG001 - runs find the open session
    """Spark's session, and the recount in this process; its own processes and the zip are tried by the example."""
    from jobs.mapreduce.recount import recount

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.mapreduce.running.recount", partial(recount, runner="inline"))
        yield


@pytest.fixture
def loop(engines: None, tmp_path: Path) -> Loop:  # noqa: ARG001 - the engines are open while it is used
    """An empty store; its path has a space in it, as a user's may."""
    return Loop(tmp_path / "a store")
