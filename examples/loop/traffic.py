"""Two days of an API that serves whoever comes first: what its tenants want, and what its gateway writes down."""

from __future__ import annotations

import gzip
import json
import math
import random
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any, NamedTuple

from quotaloop.limiter.fixed_window import FixedWindow
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.store import Ask

DAY_MS = 86_400_000
BEGIN_MS = 1_772_409_600_000  # 2026-03-02T00:00:00Z
QUIET = ("ada", "bertha", "cecil", "dora", "emil", "frida", "gustav", "hedda")
NOISY = "moloch"
NOISY_MINUTES = range(11 * 60, 12 * 60 + 30)
CAPACITY = 60  # requests a minute, of all tenants
_RETRY_AFTER_MS = (2_000, 8_000, 20_000)


class Request(NamedTuple):
    """A request as its client sends it: ``attempt`` counts from 0, ``root`` is the id of the first."""

    ts_ms: int
    root: str
    attempt: int
    tenant: str
    tokens: int
    duration_ms: int


def wanted(day: int, seed: int) -> list[Request]:
    """What tenants want of a day: eight quiet ones with a daily wave, and one that floods it for ninety minutes."""
    draw = random.Random(f"{seed}-{day}")
    found: list[Request] = []
    for minute in range(24 * 60):
        wave = 0.6 - 0.5 * math.cos(2 * math.pi * minute / 1_440)
        rates = dict.fromkeys(QUIET, 1.6 * wave) | {NOISY: 120.0 if minute in NOISY_MINUTES else 0.5}
        for tenant, rate in rates.items():
            for _ in range(_poisson(draw, rate)):
                ts_ms = BEGIN_MS + day * DAY_MS + minute * 60_000 + draw.randrange(60_000)
                root = f"{tenant}-{day}-{len(found)}"
                tokens = max(int(draw.lognormvariate(6, 0.5)), 1)
                found.append(Request(ts_ms, root, 0, tenant, tokens, draw.randrange(200, 3_000)))
    return found


def first_come(requests: list[Request]) -> Iterator[dict[str, Any]]:
    """Events of a gateway with one limit for all: whoever is refused tries again, three times at most."""
    store, window = MemoryStore(), FixedWindow(CAPACITY, 60_000)
    waiting = list(requests)
    heapify(waiting)
    while waiting:
        request = heappop(waiting)
        is_admitted = store.spend("everybody", Ask("requests", window, 1), request.ts_ms).allowed
        yield _event(request, is_admitted)
        if not is_admitted and request.attempt < len(_RETRY_AFTER_MS):
            later_ms = request.ts_ms + _RETRY_AFTER_MS[request.attempt]
            heappush(waiting, request._replace(ts_ms=later_ms, attempt=request.attempt + 1))


def write(path: Path, day: int, seed: int) -> int:
    """The day's log as a file; the number of its lines."""
    lines = [json.dumps(event) for event in first_come(wanted(day, seed))]
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))
    return len(lines)


def _event(request: Request, is_admitted: bool) -> dict[str, Any]:
    event: dict[str, Any] = {
        "event_id": f"{request.root}-{request.attempt}" if request.attempt else request.root,
        "ts": request.ts_ms,
        "tenant": request.tenant,
        "route": "/v1/chat",
        "api_version": "v1",
        "model": "small",
    }
    if request.attempt:
        event["retry_of"] = request.root
    if is_admitted:
        served = {"input_tokens": request.tokens, "gpu_ms": request.duration_ms / 4}
        return event | {"status": 200, "duration_ms": request.duration_ms} | served
    return event | {"status": 429, "duration_ms": 1, "denied_by": "requests", "wanted_tokens": request.tokens}


def _poisson(draw: random.Random, rate: float) -> int:
    """Knuth, The Art of Computer Programming 2, 3.4.1."""
    limit, product, count = math.exp(-rate), draw.random(), 0
    while product > limit:
        product *= draw.random()
        count += 1
    return count
