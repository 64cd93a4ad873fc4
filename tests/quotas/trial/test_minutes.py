"""Demand and what of it is unmet, by minute, from the answers of a replay."""

from __future__ import annotations

from typing import Any

import numpy as np

from quotaloop.quotas.trial.history import histories
from quotaloop.quotas.trial.minutes import unmet
from quotaloop.quotas.trial.replay import NOT_SENT, PASSED
from tests.quotas.conftest import HOUR, Release

MINUTE = HOUR // 60_000


def rows(release: Release, *answers: int) -> dict[tuple[str, int], tuple[int, int]]:
    (history,) = histories(release.connection, [HOUR])
    table = unmet(history, np.array(answers, np.int64))
    assert table["tenant"].unique().to_pylist() == ["a"]
    found: list[dict[str, Any]] = table.to_pylist()
    return {(row["kind"], row["minute"] - MINUTE): (row["demand"], row["unmet"]) for row in found}


def test_a_chain_asks_once_in_the_minute_of_its_first_attempt(release: Release) -> None:
    release.event("e1", 10, "denied", wanted_tokens=50)
    release.event("e2", 70, "ok", retry_of="e1", total_tokens=40)
    release.event("e3", 80, "ok", total_tokens=7)
    passed_late = rows(release, 0, PASSED, PASSED)
    assert passed_late[("requests", 0)] == (1, 0)
    assert passed_late[("tokens", 0)] == (40, 0)  # the amount of the attempt that passed
    assert passed_late[("tokens", 1)] == (7, 0)
    never = rows(release, 0, 1, 0)
    assert never[("tokens", 0)] == (50, 50)  # the first, where none passes
    assert never[("requests", 1)] == (1, 1)
    at_once = rows(release, PASSED, NOT_SENT, PASSED)
    assert at_once[("tokens", 0)] == (50, 0)


def test_minutes_without_an_amount_have_no_row(release: Release) -> None:
    release.event("e1", 10, "ok", total_tokens=0)
    assert rows(release, PASSED) == {("requests", 0): (1, 0)}
