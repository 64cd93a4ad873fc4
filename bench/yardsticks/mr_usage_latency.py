"""The same two tables as the mrjob that one writes first: a dictionary a line, JSON between the steps, no combiner.

One record a line, keyed by the hour and all dimensions; the reducer of a key makes its row of usage and its histograms,
and a second step adds up what has no tenant in its key.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from mrjob.job import MRJob
from mrjob.step import MRStep

TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
AMOUNTS = (*TOKENS, "wanted_tokens", "gpu_us", "bytes_in", "bytes_out")
OUTCOMES = ("ok", "error", "denied", "cancelled")
LOG_GROWTH = math.log(1.01 / 0.99)

Pair = tuple[Any, Any]


class MRUsageLatency(MRJob):  # type: ignore[misc]
    """JSON lines to rows of ``usage_hourly`` and ``latency_hourly``."""

    def steps(self) -> list[MRStep]:
        """Requests to rows of one tenant, these to rows of all."""
        return [MRStep(mapper=self.read, reducer=self.count), MRStep(reducer=self.add)]

    def read(self, _: object, line: str) -> Iterator[Pair]:
        """A request by its hour and dimensions."""
        try:
            event = json.loads(line)
            yield dimensions(event), measures(event)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):  # of dirt, no more is asked here
            self.increment_counter("lines", "bad")

    def count(self, key: list[str], requests: Iterable[dict[str, Any]]) -> Iterator[Pair]:
        """A row of usage, and cells of the histograms."""
        hour, tenant, *served = key
        usage, cells = Counter[str](), Counter[tuple[str, str, int]]()
        for request in requests:
            outcome = request["outcome"]
            usage["requests"] += 1
            usage[outcome] += 1
            for name in AMOUNTS:
                usage[name] += request[name]
            for metric in ("duration", "ttft", "itl"):
                if request[metric] is not None:
                    cells[outcome, metric, bucket(request[metric])] += 1
        yield ("usage_hourly", hour, tenant, *served), usage
        for (outcome, metric, number), count in cells.items():
            yield ("latency_hourly", hour, *served, outcome, metric, number), count

    def add(self, key: list[Any], values: Iterable[Any]) -> Iterator[Pair]:
        """The sum of a cell over tenants; a row of usage is whole already."""
        yield key, next(iter(values)) if key[0] == "usage_hourly" else sum(values)


def dimensions(event: dict[str, Any]) -> tuple[str, ...]:
    """Hour, tenant, version, model, route and protocol."""
    ts = event["ts"]
    moment = (
        datetime.fromisoformat(ts).astimezone(UTC) if isinstance(ts, str) else datetime.fromtimestamp(ts / 1000, UTC)
    )
    hour = moment.strftime("%Y-%m-%dT%H:00:00Z")
    served = event["api_version"], event.get("model") or "unknown", event["route"], event.get("protocol") or "http"
    return hour, event["tenant"], *served


def measures(event: dict[str, Any]) -> dict[str, Any]:
    """Outcome, amounts, and latencies in microseconds."""
    outcome = event.get("outcome") or outcome_of(event["status"])
    found: dict[str, Any] = {name: int(event.get(name) or 0) for name in (*TOKENS, "bytes_in", "bytes_out")}
    found["outcome"] = outcome
    found["wanted_tokens"] = int(event.get("wanted_tokens") or 0) if outcome == "denied" else 0
    found["gpu_us"] = round((event.get("gpu_ms") or 0) * 1000)
    duration, ttft = round(event["duration_ms"] * 1000), event.get("ttft_ms")
    found |= {"duration": duration, "ttft": None, "itl": None}
    if ttft is not None:
        found["ttft"] = round(ttft * 1000)
        gaps = found["output_tokens"] + found["reasoning_tokens"] - 1
        if gaps > 0:
            found["itl"] = round((duration - found["ttft"]) / gaps)
    return found


def outcome_of(status: int) -> str:
    """What a status says where the event does not."""
    if status == 429:
        return "denied"
    if status == 499:
        return "cancelled"
    return "ok" if status < 400 else "error"


def bucket(micros: int) -> int:
    """The latency bucket of whole microseconds."""
    return math.ceil(math.log(max(micros, 1)) / LOG_GROWTH)


if __name__ == "__main__":
    MRUsageLatency.run()
