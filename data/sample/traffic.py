"""Clean traffic: requests drawn slice by slice, ordered by the time they end, as a gateway writes them."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import ceil

import numpy as np

from sample.attempts import DENIED, ERROR, OK, Request, Slice, draw, lasting_us
from sample.population import HOUR_WEIGHTS, WEEKEND
from sample.wording import event_text

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOUR_MS = 3_600_000
SLICE_ROWS = 20_000
CHAIN_SHARE = 12  # of each slice, one row in so many is set aside for retries

# (end in microseconds, serial number, gateway, JSON without its closing brace)
Row = tuple[int, int, int, str]


def rows(count: int, seed: int, days: int) -> Iterator[Row]:
    """``count`` requests over ``days`` days from 2026-03-02, by end time; memory is bounded by a slice and its tail."""
    rng = np.random.Generator(np.random.PCG64(seed))
    dice = random.Random(seed)
    last_ms = _epoch_ms(START) + days * 24 * HOUR_MS
    held: list[Row] = []
    serial = 0
    for part, wanted in slices(count, days):
        held.extend(_slice_rows(rng, dice, part, wanted, seed, serial, last_ms))
        serial += wanted
        held.sort()
        done = bisect_left(held, (part.end_ms * 1000,))
        yield from held[:done]
        del held[:done]
    yield from held


def slices(count: int, days: int) -> Iterator[tuple[Slice, int]]:
    """Stretches of time no longer than an hour with the number of rows each gets; the numbers add up to ``count``."""
    weights = [
        weight * (WEEKEND if (START + timedelta(days=day)).weekday() >= 5 else 1.0)
        for day in range(days)
        for weight in HOUR_WEIGHTS
    ]
    total, mean = sum(weights), sum(weights) / len(weights)
    given, reached = 0, 0.0
    for hour, weight in enumerate(weights):
        parts = max(1, ceil(count * weight / total / SLICE_ROWS))
        start = _epoch_ms(START) + hour * HOUR_MS
        for part in range(parts):
            reached += weight / parts
            wanted = round(count * reached / total) - given
            begin, end = start + HOUR_MS * part // parts, start + HOUR_MS * (part + 1) // parts
            yield Slice(begin, end, weight / mean), wanted
            given += wanted


def _slice_rows(
    rng: np.random.Generator, dice: random.Random, part: Slice, wanted: int, seed: int, serial: int, last_ms: int
) -> Iterator[Row]:
    """Exactly ``wanted`` rows: first requests, the retries of those denied, and requests in place of unused retries."""
    room = wanted // CHAIN_SHARE
    end = serial + wanted
    roots: list[tuple[str, Request]] = []
    for request in draw(rng, part, wanted - room, denials=True):
        yield _row(serial, request, seed, "")
        if request.fate == DENIED:
            roots.append((event_id(seed, serial), request))
        serial += 1
    for root, request in roots:
        cited = root
        for attempt in _attempts(request, dice, last_ms):
            if serial == end:
                return
            yield _row(serial, attempt, seed, cited)
            if dice.random() < 0.03:
                cited = event_id(seed, serial)  # a careless client cites its last attempt, itself a retry
            serial += 1
    for request in draw(rng, part, end - serial, denials=False):
        yield _row(serial, request, seed, "")
        serial += 1


def _attempts(denied: Request, dice: random.Random, last_ms: int) -> Iterator[Request]:
    """What a denied client tries next: backs off, gives up, is denied again, or comes back most of an hour later."""
    arrival_ms = denied.arrival_ms
    for attempt in range(4):
        if dice.random() < 0.22:
            return
        pause = 400 * 2**attempt * (0.5 + dice.random())
        if dice.random() < 0.08:
            pause = 60_000 * (5 + 50 * dice.random())
        arrival_ms += 5 + int(pause)
        if arrival_ms >= last_ms:
            return
        fate = DENIED if dice.random() < 0.35 else ERROR if dice.random() < 0.05 else OK
        lasting = lasting_us(fate, denied.duration_us, denied.ttft_us)
        yield denied._replace(arrival_ms=arrival_ms, fate=fate, code=dice.random(), lasting_us=lasting)
        if fate != DENIED:
            return


def _row(serial: int, request: Request, seed: int, retry_of: str) -> Row:
    end_us = request.arrival_ms * 1000 + request.lasting_us
    return end_us, serial, request.gateway, event_text(event_id(seed, serial), request, retry_of)


def event_id(seed: int, serial: int) -> str:
    """Unique over seeds, so that two generated sets may be landed into one topic."""
    return f"{seed:x}-{serial:08x}"


def _epoch_ms(time: datetime) -> int:
    return int(time.timestamp()) * 1000
