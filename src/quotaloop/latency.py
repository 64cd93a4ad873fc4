"""Latency histograms whose buckets are whole numbers, so that every engine gets the same ones.

A bucket ``b`` > 0 holds the durations in (0.001 * g**(b-1), 0.001 * g**b] milliseconds with g = 1.01 / 0.99; bucket 0
holds what is at most 0.001 ms. Durations are whole microseconds here, so a bucket is found by comparing integers: its
upper edge in microseconds is floor((101/99)**b), computed without floating point. The scheme is that of DDSketch
(Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019) with a relative error of 1 %.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt

GROWTH = Fraction(101, 99)
MAX_MICROS = 86_400_000_000  # a day, the longest duration an event may state
QUANTILES: tuple[tuple[str, int, int], ...] = (
    ("p50_ms", 50, 100),
    ("p90_ms", 90, 100),
    ("p95_ms", 95, 100),
    ("p99_ms", 99, 100),
)


@cache
def upper_edges() -> tuple[int, ...]:
    """Greatest whole microsecond of each bucket, ascending; the last one holds ``MAX_MICROS``."""
    edges = [1]
    numerator, denominator = 1, 1
    while edges[-1] < MAX_MICROS:
        numerator *= GROWTH.numerator
        denominator *= GROWTH.denominator
        edges.append(numerator // denominator)
    return tuple(edges)


@cache
def bucket_values_ms() -> tuple[float, ...]:
    """The value in milliseconds that stands for each bucket: 2 * 0.001 * g**b / (g + 1)."""
    growth = 1.01 / 0.99
    return tuple(2 * 0.001 * growth**bucket / (growth + 1) for bucket in range(len(upper_edges())))


def bucket(micros: int) -> int:
    """Bucket of one duration in whole microseconds, 0 to a day."""
    return bisect_left(upper_edges(), micros)


def buckets(micros: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    """Buckets of many durations in whole microseconds."""
    edges = np.asarray(upper_edges(), dtype=np.int64)
    return np.searchsorted(edges, micros, side="left").astype(np.int16)


def to_micros(milliseconds: float) -> int:
    """Whole microseconds of a duration in ms: the IEEE double times 1000, rounded half to even."""
    return round(milliseconds * 1000.0)


def inter_token_micros(duration_us: int, ttft_us: int, tokens: int) -> int:
    """Mean gap between ``tokens`` (at least 2) streamed tokens in whole microseconds, rounded half to even."""
    quotient, remainder = divmod(duration_us - ttft_us, tokens - 1)
    twice = 2 * remainder
    if twice > tokens - 1 or (twice == tokens - 1 and quotient % 2):
        return quotient + 1
    return quotient


def rank(count: int, numerator: int, denominator: int) -> int:
    """Rank of the quantile numerator/denominator among ``count`` elements: the ceiling of q * n, from 1."""
    return max(1, -(-count * numerator // denominator))


def quantile_ms(
    histogram: Mapping[int, int] | Iterable[tuple[int, int]],
    numerator: int,
    denominator: int,
    *,
    min_us: int,
    max_us: int,
) -> float:
    """Quantile of a histogram (bucket to count) in ms, not below the least nor above the greatest value seen.

    Raises ``ValueError`` for an empty histogram.
    """
    counts = sorted(dict(histogram).items())
    total = sum(count for _, count in counts)
    wanted = rank(total, numerator, denominator)
    seen = 0
    for number, count in counts:
        seen += count
        if seen >= wanted and total:
            return min(max(bucket_values_ms()[number], min_us / 1000), max_us / 1000)
    raise ValueError("the quantile of an empty histogram is not defined")
