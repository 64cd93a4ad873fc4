"""Latency buckets against exact fractions, and the quantiles that are made of them."""

from __future__ import annotations

import math
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotaloop.latency import (
    GROWTH,
    MAX_MICROS,
    bucket,
    bucket_values_ms,
    buckets,
    inter_token_micros,
    quantile_ms,
    rank,
    to_micros,
    upper_edges,
)

MICROS = st.integers(0, MAX_MICROS) | st.integers(0, 2000) | st.floats(0, 36).map(lambda power: int(2**power))


def test_every_edge_is_the_greatest_whole_microsecond_below_the_exact_power() -> None:
    power = Fraction(1)
    for edge in upper_edges():
        assert edge <= power < edge + 1
        power *= GROWTH
    assert upper_edges()[-2] < MAX_MICROS <= upper_edges()[-1]


def test_a_bucket_is_the_smallest_whole_number_whose_power_is_not_below() -> None:
    for micros in (0, 1, 2, 3, 10, 999, 1000, 1001, 123_456, 10**9, MAX_MICROS - 1, MAX_MICROS):
        number = bucket(micros)
        assert GROWTH**number >= micros
        assert number == 0 or GROWTH ** (number - 1) < micros


@pytest.mark.parametrize(("micros", "number"), [(0, 0), (1, 0), (2, 35), (3, 55), (1_000, 346)])
def test_some_buckets_by_hand(micros: int, number: int) -> None:
    """ln(1000) / ln(101/99) = 6.90776 / 0.0200007 = 345.4."""
    assert bucket(micros) == number


def test_at_every_edge_one_microsecond_more_is_another_bucket() -> None:
    edges = np.asarray(sorted(set(upper_edges())), dtype=np.int64)
    inside = edges[edges < MAX_MICROS]
    assert (buckets(inside + 1) > buckets(inside)).all()
    assert buckets(inside).tolist() == [bucket(edge) for edge in inside.tolist()]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(MICROS))
def test_many_durations_get_the_buckets_that_each_gets_alone(micros: list[int]) -> None:
    assert buckets(np.asarray(micros, dtype=np.int64)).tolist() == [bucket(one) for one in micros]


@settings(max_examples=500, deadline=None, derandomize=True)
@given(MICROS.filter(lambda micros: micros > 0))
def test_the_value_of_a_bucket_is_at_most_one_percent_from_all_that_is_in_it(micros: int) -> None:
    exact = 2 * Fraction(1, 1000) * GROWTH ** bucket(micros) / (GROWTH + 1)
    assert abs(exact - Fraction(micros, 1000)) <= Fraction(micros, 1000) / 100
    assert math.isclose(bucket_values_ms()[bucket(micros)], exact, rel_tol=1e-12)


QUANTILES = [(50, 100), (90, 100), (95, 100), (99, 100), (999, 1000)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, MAX_MICROS) | st.integers(1, 500), min_size=1, max_size=300), st.randoms())
def test_quantiles_are_within_one_percent_in_whatever_order_parts_are_merged(
    micros: list[int], chance: random.Random
) -> None:
    shuffled = chance.sample(micros, len(micros))
    cut = chance.randrange(len(micros) + 1)
    merged = Counter(map(bucket, shuffled[cut:])) + Counter(map(bucket, shuffled[:cut]))
    assert merged == Counter(map(bucket, micros))
    for numerator, denominator in QUANTILES:
        exact = sorted(micros)[math.ceil(Fraction(numerator, denominator) * len(micros)) - 1] / 1000
        found = quantile_ms(merged, numerator, denominator, min_us=min(micros), max_us=max(micros))
        assert abs(found - exact) <= exact * 0.0100000001


def test_a_quantile_by_hand() -> None:
    """Ten values: rank of p50 is 5, of p90 9, of p95 and p99 10; bucket 35 has the value 0.002 * g**35 / (g + 1)."""
    histogram = {0: 4, 35: 5, 55: 1}
    value = 0.002 * (101 / 99) ** 35 / (101 / 99 + 1)
    assert quantile_ms(histogram, 40, 100, min_us=1, max_us=3) == 0.001  # 0.00099 is below the least seen
    assert quantile_ms(histogram, 50, 100, min_us=1, max_us=3) == pytest.approx(value, rel=1e-12)
    assert quantile_ms(histogram.items(), 90, 100, min_us=1, max_us=3) == pytest.approx(value, rel=1e-12)
    assert quantile_ms(histogram, 91, 100, min_us=1, max_us=3) == pytest.approx(0.002975, abs=1e-6)
    assert quantile_ms({55: 1}, 50, 100, min_us=3, max_us=3) == 0.003  # one value is its own median
    assert quantile_ms({35: 9}, 99, 100, min_us=2, max_us=2) == 0.002


def test_zero_is_its_own_quantile() -> None:
    assert quantile_ms({0: 3}, 50, 100, min_us=0, max_us=0) == 0.0


@pytest.mark.parametrize("histogram", [{}, {5: 0}])
def test_an_empty_histogram_has_no_quantile(histogram: dict[int, int]) -> None:
    with pytest.raises(ValueError, match="empty"):
        quantile_ms(histogram, 50, 100, min_us=0, max_us=0)


@pytest.mark.parametrize(
    ("count", "numerator", "denominator", "expected"),
    [
        (1, 50, 100, 1),
        (2, 50, 100, 1),
        (3, 50, 100, 2),
        (100, 99, 100, 99),
        (101, 99, 100, 100),
        (10, 999, 1000, 10),
        (1, 0, 100, 1),
        (10**18, 99, 100, 99 * 10**16),
        (10**18 + 1, 99, 100, 99 * 10**16 + 1),
    ],
)
def test_the_rank_is_rounded_up_without_floating_point(
    count: int, numerator: int, denominator: int, expected: int
) -> None:
    assert rank(count, numerator, denominator) == expected


@pytest.mark.parametrize(
    ("milliseconds", "micros"),
    [(0, 0), (0.0005, 0), (0.0015, 2), (0.0025, 2), (0.0035, 4), (1.0005, 1000), (1, 1000), (86_400_000, MAX_MICROS)],
)
def test_milliseconds_are_rounded_half_to_even(milliseconds: float, micros: int) -> None:
    """0.0035 * 1000.0 is exactly 3.5, 1.0005 * 1000.0 is 1000.4999999999999 as IEEE doubles."""
    assert to_micros(milliseconds) == micros == int(np.rint(milliseconds * 1000.0))


@pytest.mark.parametrize(
    ("duration", "first", "tokens", "expected"),
    [
        (10, 0, 2, 10),
        (10, 10, 5, 0),
        (1, 0, 3, 0),
        (3, 0, 3, 2),
        (5, 0, 3, 2),
        (7, 0, 3, 4),
        (10, 0, 4, 3),
        (11, 0, 4, 4),
    ],
)
def test_the_gap_between_tokens_is_rounded_half_to_even(duration: int, first: int, tokens: int, expected: int) -> None:
    """1/2 is 0, 3/2 is 2, 5/2 is 2, 7/2 is 4; 10/3 is 3, 11/3 is 4."""
    assert inter_token_micros(duration, first, tokens) == expected


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, MAX_MICROS), st.integers(2, 2**41))
def test_the_gap_between_tokens_is_the_exact_fraction_rounded(duration: int, tokens: int) -> None:
    assert inter_token_micros(duration, 0, tokens) == round(Fraction(duration, tokens - 1))
