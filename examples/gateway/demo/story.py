"""The story: one limit for all together, a noisy tenant, the loop, and the same load under the limits from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from examples.gateway.demo.traffic import NOISY, QUIET, TENANTS, Came, calls, load
from examples.gateway.keys import make_keys
from examples.gateway.load.caller import Target
from examples.gateway.process import GatewayProcess
from quotaloop.quotas.policy import Limit, Policy, epoch_ms, parse
from quotaloop.settings import load as load_settings
from quotaloop.sinks.file import TARGET
from quotaloop.storage.address import store_of

HOUR_S = 3_600
_PREFIX = "QUOTALOOP_"
_MARGIN_S = 25.0  # to come up, and between the end of the first load and the full hour, while the loop runs
_PATIENCE_S = 60.0
_PLENTY = 1_000_000_000


class Loop:
    """The command line by its settings, its calls shown as they are made.

    Of the environment, ``inherited`` settings count beside them: none unless it is given, and never one of them.
    """

    def __init__(self, console: Console, config: Path, settings: dict[str, Any], *, inherited: bool = False) -> None:
        self._console, self._config = console, config
        config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
        own = {f"{_PREFIX}{name.upper()}" for name in settings}
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_PREFIX) or (inherited and name not in own)
        }

    def call(self, *words: str, shown: str = "") -> Any:
        """A command, with its document; ``shown`` is how it is told where it is too long."""
        self._console.print(Text(f"$ quotaloop {shown or ' '.join(words)}", style="bold"))
        command = [sys.executable, "-m", "quotaloop", "--config", str(self._config), *words, "--json"]
        done = subprocess.run(command, env=self._environment, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.stderr[-2_000:]}")
        return json.loads(done.stdout)

    def published(self) -> Policy:
        """The policy as the file sink has written it."""
        return parse(store_of(load_settings(config=self._config, environ=self._environment)).read(TARGET))


@dataclass(frozen=True, slots=True)
class Scale:
    """How long each load is, and calls a second of each tenant."""

    seconds: float = 15.0
    noisy: float = 40.0
    quiet: float = 2.0

    @property
    def capacity(self) -> int:
        """What all tenants share, requests a minute: less than half of what they ask for in one load."""
        return round(20 * self.seconds)

    def settings(self) -> dict[str, Any]:
        """For the loop: that capacity, more than enough of everything else, bursts of a minute's worth."""
        amounts = {"requests": self.capacity, "tokens": _PLENTY, "compute": _PLENTY, "concurrency": 1_000}
        shares = {f"{one}_{kind}": amount for one in ("capacity", "safe_capacity") for kind, amount in amounts.items()}
        floors = {"floor_requests": 1, "floor_tokens": 1_000_000, "floor_compute": 60_000_000, "floor_concurrency": 100}
        return {**shares, **floors, "greatest_burst": 1.0, "spark_master": "local[2]"}


def behind_s(now_s: float, seconds: float) -> float:
    """How far behind the gateway's clock has to be, so that a load of that length ends shortly before a full hour.

    Limits are valid from the end of the hour that they were derived from.
    """
    return (now_s + seconds + _MARGIN_S) % HOUR_S


def tell(
    console: Console,
    folder: Path,
    scale: Scale,
    gateway: dict[str, object],
    loop: Loop,
    land: Callable[[int], None],
    *,
    behind_more_s: float = 0,
) -> bool:
    """All of it; are quiet tenants refused less than before, and is the noisy one held to its limit?

    ``gateway`` are settings for it, ``land`` brings so many events of it into the raw zone, once they are there.
    With ``behind_more_s`` its clock is so much more behind: an hour of Kafka's closes by the time of its records.
    """
    keys, behind = make_keys(folder / "keys.json", TENANTS), behind_s(time.time(), scale.seconds) + behind_more_s
    process = GatewayProcess(folder, _settings(folder, scale, behind) | gateway)
    process.start()
    try:
        target = Target(process.url, process.http2, process.grpc)
        planned = calls(scale.seconds, noisy=scale.noisy, quiet=scale.quiet)
        console.print(Rule(f"{len(planned)} calls in {scale.seconds:g} s, one limit for all together", align="left"))
        before = load(planned, target, keys)
        _show_came(console, before)
        console.print(Rule("Limits from what was asked, into the running gateway", align="left"))
        land(sum(came.attempts for came in before.values()))
        loop.call("run")
        policy = _in_force(process, loop, behind)
        console.print(Rule(f"The same calls under policy {policy.epoch}", align="left"))
        began_s = time.monotonic()
        after = load(planned, target, keys)
        took_s = time.monotonic() - began_s
    finally:
        code = process.stop()
    limits = {limit.tenant: limit for limit in policy.limits if limit.kind == "requests"}
    _compare(console, before, after, limits)
    was, now = (sum(came[tenant].unmet for tenant in QUIET) for came in (before, after))
    noisy, most = after[NOISY].ok, limits[NOISY].burst + limits[NOISY].limit * took_s / limits[NOISY].per_seconds
    console.print(f"quiet tenants: {was} calls refused in the end before, {now} after")
    console.print(f"{NOISY}: {noisy} requests passed in {took_s:.0f} s, of {most:.0f} that its limit lets through")
    failed = sum(came.other for loaded in (before, after) for came in loaded.values())
    if failed:
        console.print(f"{failed} calls were neither answered nor refused: {process.log[-1_000:]}")
    return code == 0 and not failed and now < was and 0 < noisy <= most


def _settings(folder: Path, scale: Scale, behind: float) -> dict[str, object]:
    ports = dict.fromkeys(("port", "grpc_port", "http2_port"), 0)
    files = {"keys": folder / "keys.json", "spool": folder / "spool"}
    safe = {"safe_requests": scale.capacity, "safe_tokens": _PLENTY, "safe_compute": _PLENTY, "safe_concurrency": 1_000}
    return {**ports, **files, **safe, "unknown_subjects": 1, "clock_behind_s": behind}


def _in_force(process: GatewayProcess, loop: Loop, behind: float) -> Policy:
    """Wait until the gateway has the policy that was published, and its time has come by the gateway's clock."""
    policy, end_s = loop.published(), time.monotonic() + _PATIENCE_S
    while True:
        health = httpx.get(f"{process.url}/api/v1/health", trust_env=False).json()
        clock_ms = (time.time() - behind) * 1_000
        if health["policy_epoch"] == policy.epoch and clock_ms >= epoch_ms(policy.valid_from):
            return policy
        if time.monotonic() > end_s:
            raise SystemExit(f"the gateway does not go by policy {policy.epoch}: {health}; {process.log[-1_000:]}")
        time.sleep(0.1)


def _show_came(console: Console, came: dict[str, Came]) -> None:
    rows = [(tenant, one.attempts, one.ok, one.refused, one.other, one.unmet) for tenant, one in came.items()]
    _show(console, ("tenant", "attempts", "passed", "refused", "failed", "refused in the end"), rows)


def _compare(console: Console, before: dict[str, Came], after: dict[str, Came], limits: dict[str, Limit]) -> None:
    names = ("tenant", "limit a minute, at once", "passed: before, after", "refused in the end: before, after")
    rows = []
    for tenant in TENANTS:
        limit, was, now = limits[tenant], before[tenant], after[tenant]
        rows.append((tenant, *map(_pair, (limit.limit, was.ok, was.unmet), (limit.burst, now.ok, now.unmet))))
    _show(console, names, rows)


def _pair(first: int, second: int) -> str:
    return f"{first:,} {second:>6,}"


def _show(console: Console, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row))
    console.print(table)
