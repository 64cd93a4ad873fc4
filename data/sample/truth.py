"""What the tables must say about the sample: an independent count over the lines, sharing no code with the library.

Outcomes come from the generator, which knows what it damaged; amounts are read from the accepted lines as written.
"""

from __future__ import annotations

import json
import unicodedata
from array import array
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sample.dirt import ACCEPTED, DUPLICATE
from sample.oddities import epoch_ms

CHAIN_TENANT, PEAK_TENANT = "acme", "globex"
CLASSES = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
KNOWN = frozenset(
    (
        *("event_id", "ts", "tenant", "route", "api_version", "status", "duration_ms", "method", "protocol", "model"),
        *("version_source", "operation", "outcome", "denied_by", "ttft_ms", *CLASSES, "total_tokens", "wanted_tokens"),
        *("gpu_ms", "bytes_in", "bytes_out", "stream_messages", "retry_of", "api_key_id"),
        *("host", "boot", "seq", "prev_boot", "prev_seq"),
    )
)
HOUR_MS = 3_600_000


class Attempt(NamedTuple):
    """One attempt of a chain, in the order that decides which comes first."""

    ts_ms: int
    event_id: str
    admitted: bool
    tokens: int


class Truth:
    """Counts labelled lines; figures by hour use the hour of ``ts``.

    Memory grows with the events: 8 bytes for each that is ``ok``, more for those of the two tenants looked at closely.
    """

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._per: dict[str, Counter[str]] = {
            name: Counter() for name in ("tenant", "api_version", "model", "protocol")
        }
        self._ok_us: dict[str, array[int]] = defaultdict(lambda: array("q"))
        self._flights: list[tuple[int, int]] = []
        self._chains: dict[tuple[int, str], list[Attempt]] = defaultdict(list)
        self._stamps = _Stamps()

    def add(self, line: bytes, outcome: str) -> None:
        """Count one line with what the generator says of it."""
        self._outcomes[outcome] += 1
        if outcome == ACCEPTED:
            self._accept({key: value for key, value in json.loads(line).items() if value is not None})

    def figures(self) -> dict[str, Any]:
        """Everything counted, ready to be written as JSON."""
        reasons = {name: count for name, count in self._outcomes.items() if name not in (ACCEPTED, DUPLICATE)}
        return {
            "lines": sum(self._outcomes.values()),
            "accepted": self._outcomes[ACCEPTED],
            "duplicate": self._outcomes[DUPLICATE],
            "late": 0,
            "quarantined": sum(reasons.values()),
            "reasons": dict(sorted(reasons.items())),
            "unknown_fields": dict(sorted(self._unknown.items())),
            "totals": dict(self._totals),
            **{f"requests_per_{name}": dict(sorted(counts.items())) for name, counts in self._per.items()},
            "latency_ok": {version: _quantiles(values) for version, values in sorted(self._ok_us.items())},
            "peak_concurrency": _peak(self._flights),
            "chains": _chains(self._chains),
            "holes": self._stamps.holes(),
        }

    def _accept(self, event: dict[str, Any]) -> None:
        for name in event.keys() - KNOWN:
            self._unknown[name] += 1
        outcome = _outcome(event)
        ts_ms = event["ts"] if isinstance(event["ts"], int) else epoch_ms(event["ts"])
        duration_us = _micros(event["duration_ms"])
        tokens = sum(event.get(name, 0) for name in CLASSES)
        wanted = event.get("wanted_tokens", 0) if outcome == "denied" else 0
        self._sum(event, outcome, tokens, wanted)
        if outcome == "ok":
            self._ok_us[event["api_version"]].append(duration_us)
        if event["tenant"] == PEAK_TENANT and outcome != "denied":
            self._flights += [(ts_ms * 1000, 1), (ts_ms * 1000 + max(duration_us, 1), -1)]
        if event["tenant"] == CHAIN_TENANT:
            root = event.get("retry_of", event["event_id"])
            amount = wanted if outcome == "denied" else tokens
            attempt = Attempt(ts_ms, event["event_id"], outcome != "denied", amount)
            self._chains[ts_ms // HOUR_MS, root].append(attempt)
        if "seq" in event:
            self._stamps.add(event, ts_ms // HOUR_MS)

    def _sum(self, event: dict[str, Any], outcome: str, tokens: int, wanted: int) -> None:
        totals = self._totals
        totals["requests"] += 1
        for name in ("ok", "errors", "denied", "cancelled"):
            totals[name] += name.startswith(outcome)
        for name in CLASSES:
            totals[name] += event.get(name, 0)
        totals["total_tokens"] += tokens
        totals["wanted_tokens"] += wanted
        totals["gpu_us"] += _micros(event.get("gpu_ms", 0))
        totals["bytes_in"] += event.get("bytes_in", 0)
        totals["bytes_out"] += event.get("bytes_out", 0)
        self._per["tenant"][event["tenant"]] += 1
        self._per["api_version"][event["api_version"]] += 1
        self._per["model"][unicodedata.normalize("NFC", event.get("model", "unknown"))] += 1
        self._per["protocol"][event.get("protocol", "http")] += 1


class _Stamps:
    """Holes in ``seq``: lines come in the order of their stamps, so a hole is a step of more than one."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[int, int]] = {}  # (host, boot) to seq and hour
        self._named: dict[tuple[str, str], int] = {}
        self._holes: list[dict[str, Any]] = []

    def add(self, event: dict[str, Any], hour: int) -> None:
        key = event["host"], event["boot"]
        seq, before = self._last.get(key, (0, hour))
        if event["seq"] != seq + 1:
            self._holes.append(_hole(*key, before, event["seq"] - seq - 1))
        self._last[key] = event["seq"], hour
        if "prev_boot" in event:
            self._named[event["host"], event["prev_boot"]] = event["prev_seq"]

    def holes(self) -> list[dict[str, Any]]:
        ends = [(key, self._last[key], named) for key, named in self._named.items()]
        return self._holes + [_hole(*key, hour, named - seq) for key, (seq, hour), named in ends if named > seq]


def _hole(host: str, boot: str, hour: int, missing: int) -> dict[str, Any]:
    return {"host": host, "boot": boot, "hour": _time(hour * HOUR_MS), "missing": missing}


def _outcome(event: dict[str, Any]) -> str:
    status = event["status"]
    said: str | None = event.get("outcome")
    if said:
        return said
    return {429: "denied", 499: "cancelled"}.get(status, "ok" if status < 400 else "error")


def _micros(milliseconds: float) -> int:
    return round(milliseconds * 1000.0)


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quantiles(micros: array[int]) -> dict[str, Any]:
    """Exact: the element of rank ceil(q * n)."""
    ordered, count = sorted(micros), len(micros)
    quantiles = {f"p{q}_ms": ordered[-(-count * q // 100) - 1] / 1000 for q in (50, 95, 99)}
    return {"count": count, **quantiles, "sum_us": sum(ordered)}


def _peak(flights: list[tuple[int, int]]) -> dict[str, Any]:
    """Most in flight at one instant, and the hour of the first such instant; at equal times ends go first."""
    most, since, now = 0, 0, 0
    for time_us, step in sorted(flights):
        now += step
        if now > most:
            most, since = now, time_us
    return {"tenant": PEAK_TENANT, "peak": most, "hour": _time(since // 1000 // HOUR_MS * HOUR_MS)}


def _chains(chains: dict[tuple[int, str], list[Attempt]]) -> dict[str, Any]:
    """Demand and unmet demand, summed over the hours."""
    requests, tokens = Counter(demand=0, unmet=0), Counter(demand=0, unmet=0)
    for attempts in chains.values():
        counted = min((attempt for attempt in attempts if attempt.admitted), default=min(attempts))
        for kind in ("demand",) if counted.admitted else ("demand", "unmet"):
            requests[kind] += 1
            tokens[kind] += counted.tokens
    return {"tenant": CHAIN_TENANT, "requests": dict(requests), "tokens": dict(tokens)}
