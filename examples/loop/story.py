"""The story itself, chapter by chapter, by the command line and against the limiters that are really there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from redis import Redis
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from examples.loop import traffic
from examples.loop.busiest import Busiest, busiest_minute
from examples.loop.enforced import answers, asking, in_order
from peers.servers import Servers
from quotaloop.limiter.limiter import Limiter
from quotaloop.limiter.redis_store import RedisStore, connect
from quotaloop.marts.release import newest as newest_release
from quotaloop.marts.views import open_views
from quotaloop.quotas.policy import Policy
from quotaloop.quotas.target import OURS
from quotaloop.quotas.trial.backtest import tried
from quotaloop.quotas.trial.history import History, histories
from quotaloop.quotas.trial.replay import NOT_SENT, PASSED
from quotaloop.sinks.redis.policy import read
from quotaloop.storage.local import LocalStore

SEED = 7
SECOND_DAY = [traffic.BEGIN_MS + traffic.DAY_MS + hour * 3_600_000 for hour in range(24)]
_SETTINGS = {
    "capacity_requests": traffic.CAPACITY,
    "floor_requests": 1,
    "max_over_share": 0.01,
    "recount_on": "local",
}


class Loop:
    """The command line on one store, its calls shown as they are made."""

    def __init__(self, console: Console, folder: Path, sinks: dict[str, dict[str, Any]]) -> None:
        self.console, self.store = console, LocalStore(folder / "store")
        self._config = folder / "settings.toml"
        tables = "".join(_table(name, options) for name, options in sinks.items())
        plain = "".join(f"{name} = {json.dumps(value)}\n" for name, value in _SETTINGS.items())
        self._config.write_text(plain + tables)

    def call(self, *words: str) -> Any:
        """A command, with its document."""
        self.console.print(Text(f"$ quotaloop {' '.join(words)}", style="bold"))
        return json.loads(self._called(*words, "--json"))

    def show(self, *words: str) -> None:
        """A command, with what it tells people."""
        self.console.print(Text(f"$ quotaloop {' '.join(words)}", style="bold"))
        self.console.print(Text(self._called(*words).rstrip()))

    def _called(self, *words: str) -> str:
        command = [sys.executable, "-m", "quotaloop", "--store", self.store.url, "--config", str(self._config), *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr[-2_000:]}")
        return done.stdout


def tell(console: Console, folder: Path, servers: Servers) -> bool:
    """All of it; did everything come out as it was foretold?"""
    loop = Loop(console, folder, servers.sinks)
    first, second = (folder / f"day-{day}.jsonl.gz" for day in (1, 2))
    console.print(Rule("Day 1: whoever comes first", align="left"))
    traffic.write(first, 0, SEED)
    loop.call("land", "files", str(first), "--topic", "api")
    loop.call("run")
    _show_day(loop, "2026-03-02")
    console.print(Rule("Limits from that day, in force", align="left"))
    loop.show("quotas", "verify")
    _show_limits(loop)
    console.print(Rule("Day 2: as it was, as the backtest says, and as the limiter in Redis decides", align="left"))
    traffic.write(second, 1, SEED)
    loop.call("land", "files", str(second), "--topic", "api")
    for stage in ("build", "recount", "audit", "release"):
        loop.call(stage)
    loop.call("quotas", "backtest", "--policy", "1", "--sink", "redis", "--since", "2026-03-03T00:00:00Z")
    with connect(servers.redis_url, timeout_ms=5_000) as client:
        policy = read(client)
        assert policy is not None
        days = _second_day(loop)
        is_right = _enforced(console, days, policy, client)
    if servers.envoy is not None:
        console.print(Rule("The busiest minute of day 2, asked of Envoy's rate limit service", align="left"))
        is_right &= _at_envoy(console, busiest_minute(days, policy, servers), servers)
    console.print(Rule("A policy from both days, and back to the first", align="left"))
    loop.call("run")
    loop.show("quotas", "diff")
    loop.show("quotas", "rollback")
    loop.show("quotas", "verify")
    console.print(Rule(f"Why is {traffic.NOISY} limited?", align="left"))
    loop.show("quotas", "why", traffic.NOISY)
    return is_right


def _second_day(loop: Loop) -> list[History]:
    release = newest_release(loop.store)
    assert release is not None
    with open_views(loop.store, release, tables=["events"]) as connection:
        return list(histories(connection, SECOND_DAY))


def _enforced(console: Console, days: list[History], policy: Policy, client: Redis) -> bool:
    """Predicted beside what came out, attempt by attempt."""
    limiter = Limiter(RedisStore(client, secret=b"demo", clock="caller"), safe_capacity=policy.safe_capacity)
    limiter.load(policy)
    found = answers(in_order(days), asking(limiter))
    rows: list[tuple[str, int, int, int, int]] = []
    differ = 0
    for history in days:
        predicted = [_word(answer) for answer in tried(history, policy, OURS).tolist()]
        came = [_word(answer) for answer in found[history.tenant]]
        differ += sum(one != other for one, other in zip(predicted, came, strict=True))
        refused = [sum(word == "refused" for word in words) for words in (predicted, came)]
        rows.append((history.tenant, len(came), int(history.was_denied.sum()), refused[0], refused[1]))
    _show(console, ("tenant", "attempts", "refused then", "foretold", "came out"), rows)
    count = sum(len(history.arrived_ms) for history in days)
    console.print(f"{count:,} decisions, {differ} of them other than foretold")
    quiet = [row for row in rows if row[0] != traffic.NOISY]
    was, now = sum(row[2] for row in quiet), sum(row[4] for row in quiet)
    console.print(f"quiet tenants: {was:,} refusals on the day as it was, {now:,} under the limits")
    return differ == 0 and now < was


def _at_envoy(console: Console, busiest: Busiest, servers: Servers) -> bool:
    rows, differ = busiest.ask(servers)
    _show(console, ("tenant", "requests", "foretold", "came out"), rows)
    console.print(f"{sum(row[1] for row in rows):,} decisions, {differ} of them other than foretold")
    return differ == 0


def _word(answer: int) -> str:
    return {PASSED: "passed", NOT_SENT: "not sent"}.get(answer, "refused")


def _show_day(loop: Loop, date: str) -> None:
    said = loop.call(
        "sql",
        "SELECT tenant, sum(requests)::BIGINT AS attempts, sum(denied)::BIGINT AS refused FROM usage_daily "
        f"WHERE date = DATE '{date}' GROUP BY tenant ORDER BY attempts DESC",
    )
    _show(loop.console, tuple(said["columns"]), said["rows"])


def _show_limits(loop: Loop) -> None:
    said = loop.call(
        "sql",
        "SELECT tenant, new_limit AS requests_a_minute, reason FROM quota_decisions "
        "WHERE kind = 'requests' ORDER BY new_limit DESC, tenant",
    )
    _show(loop.console, tuple(said["columns"]), said["rows"])


def _show(console: Console, names: tuple[str, ...], rows: list[Any]) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row))
    console.print(table)


def _table(name: str, options: dict[str, Any]) -> str:
    return f"\n[sinks.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
