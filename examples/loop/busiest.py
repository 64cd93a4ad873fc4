"""The busiest minute of a day, sent within one minute of the clock: what a service with fixed windows says to it.

Such a service counts by minutes of its own clock, which is the real one. Within a window only the order of requests
matters, so a minute of the past can be asked in any minute of today.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from examples.loop.enforced import Attempt, in_order
from peers.servers import DOMAIN, Servers
from quotaloop.quotas.derivation.envelope import first_attempts
from quotaloop.quotas.policy import RATES, Policy
from quotaloop.quotas.trial.backtest import tried
from quotaloop.quotas.trial.history import History
from quotaloop.quotas.trial.replay import PASSED
from quotaloop.sinks.envoy.sink import EnvoySink

_NEEDED_S = 20  # left of a minute of the clock when the first request is sent


@dataclass(frozen=True)
class Busiest:
    """Attempts of one minute and what the backtest says to each."""

    attempts: list[Attempt]
    passes: list[bool]

    def ask(self, servers: Servers) -> tuple[list[tuple[str, int, int, int]], int]:
        """Ask the service: per tenant requests, refusals foretold and come out; and how many decisions differ."""
        assert servers.envoy is not None
        while time.time() % 60 > 60 - _NEEDED_S:
            time.sleep(0.1)
        began = time.time() // 60
        came = [servers.envoy.allows(DOMAIN, one.history.tenant, _costs(one), model="small") for one in self.attempts]
        if time.time() // 60 != began:
            raise RuntimeError("the requests did not fit into one minute of the clock: try again")
        asked: Counter[str] = Counter()
        refused: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for one, foretold, passed in zip(self.attempts, self.passes, came, strict=True):
            asked[one.history.tenant] += 1
            refused[0][one.history.tenant] += not foretold
            refused[1][one.history.tenant] += not passed
        rows = [(name, count, refused[0][name], refused[1][name]) for name, count in sorted(asked.items())]
        return rows, sum(one != other for one, other in zip(self.passes, came, strict=True))


def busiest_minute(days: Sequence[History], policy: Policy, servers: Servers) -> Busiest:
    """The minute with most requests; retries, which were made because of what was refused then, are left out."""
    assert servers.envoy is not None
    minutes = Counter(
        int(minute) for day in days for minute in (day.arrived_ms[first_attempts(day.chain)] // 60_000).tolist()
    )
    minute = max(minutes, key=lambda one: (minutes[one], -one))
    parts = [_part(day, first_attempts(day.chain) & (day.arrived_ms // 60_000 == minute)) for day in days]
    attempts = in_order(parts)
    passes = {part.tenant: (tried(part, policy, EnvoySink.usual) == PASSED).tolist() for part in parts}
    return Busiest(attempts, [passes[one.history.tenant][one.place] for one in attempts])


def _part(day: History, chosen: npt.NDArray[np.bool_]) -> History:
    columns = {
        name: getattr(day, name)[chosen]
        for name in ("model", "api_version", "hour_ms", "arrived_ms", "ended_ms", "tokens", "compute", "was_denied")
    }
    return History(day.tenant, **columns, chain=np.full(int(chosen.sum()), -1))


def _costs(attempt: Attempt) -> dict[str, int]:
    return {kind: int(attempt.history.cost(kind)[attempt.place]) for kind in RATES}
