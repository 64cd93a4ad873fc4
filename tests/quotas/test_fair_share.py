"""Weighted max-min: published examples, and what must hold of every division."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotaloop.errors import UsageError
from quotaloop.quotas.fair_share import max_min_from, weighted_max_min, weights_of

NAMES = st.sampled_from("abcdefgh")
WANTS = st.dictionaries(NAMES, st.integers(0, 1000), max_size=8)
WEIGHTS = st.dictionaries(NAMES, st.integers(1, 50) | st.floats(0.01, 100) | st.fractions("1/9", 9), max_size=8)
CAPACITIES = st.integers(0, 5000)


def test_keshavs_example_demands_2_and_2_6_and_4_and_5_share_10_as_2_and_2_6_and_2_7_and_2_7() -> None:
    assert weighted_max_min({"a": 20, "b": 26, "c": 40, "d": 50}, {}, 100) == {"a": 20, "b": 26, "c": 27, "d": 27}


def test_keshavs_weighted_example_gives_4_and_2_and_6_and_4_of_16() -> None:
    wants = {"a": 4, "b": 2, "c": 10, "d": 4}
    assert weighted_max_min(wants, {"a": 2.5, "b": 4, "c": 0.5, "d": 1}, 16) == {"a": 4, "b": 2, "c": 6, "d": 4}


@pytest.mark.parametrize(
    ("wants", "least", "weights", "capacity", "shares"),
    [
        ((99, 99, 99, 99), (0, 0, 0, 0), (1, 1, 1, 1), 40, (10, 10, 10, 10)),
        ((100, 50, 11, 3), (0, 0, 0, 0), (1, 1, 1, 1), 40, (13, 13, 11, 3)),
        ((99, 99, 99, 99), (20, 18, 0, 2), (1, 1, 1, 1), 40, (20, 18, 0, 2)),
        ((99, 99, 99, 99), (0, 0, 0, 0), (2, 1, 1, 0.5), 45, (20, 10, 10, 5)),
        ((10, 11, 30, 20), (0, 0, 0, 0), (2, 1, 1, 0.5), 45, (10, 11, 16, 8)),
        ((99, 99, 99, 99), (20, 0, 5, 15), (2, 1, 1, 0.5), 45, (20, 5, 5, 15)),
    ],
    ids=["EqualSharing", "LowMaxShares", "MinShares", "WeightedSharing", "WithMaxShares", "WithMinShares"],
)
def test_the_vectors_of_hadoops_fair_scheduler_hold(
    wants: tuple[int, ...],
    least: tuple[int, ...],
    weights: tuple[float, ...],
    capacity: int,
    shares: tuple[int, ...],
) -> None:
    """Of Apache Hadoop's ``TestComputeFairShares``; 99 where a pool has no greatest share."""
    named = [dict(zip("abcd", numbers, strict=True)) for numbers in (least, wants, weights, shares)]
    assert max_min_from(named[0], named[1], named[2], capacity) == named[3]


def test_twice_the_weight_is_twice_the_share_when_all_want_more() -> None:
    assert weighted_max_min({"a": 100, "b": 100}, {"b": 2}, 9) == {"a": 3, "b": 6}


def test_the_largest_remainder_is_rounded_up() -> None:
    # exact shares: 10/3 = 3.33 and 20/3 = 6.67
    assert weighted_max_min({"a": 100, "b": 100}, {"a": 1, "b": 2}, 10) == {"a": 3, "b": 7}


def test_equal_remainders_are_rounded_up_in_the_order_of_names() -> None:
    assert weighted_max_min({"c": 9, "b": 9, "a": 9}, {}, 8) == {"a": 3, "b": 3, "c": 2}


def test_everybody_gets_what_they_want_when_the_capacity_carries_it() -> None:
    assert weighted_max_min({"a": 3, "b": 0}, {"b": 9}, 100) == {"a": 3, "b": 0}


def test_nobody_is_left_out_of_an_empty_division() -> None:
    assert weighted_max_min({}, {"a": 1}, 10) == {}


@pytest.mark.parametrize(
    ("wants", "weights", "capacity"),
    [({"a": -1}, {}, 1), ({"a": 1}, {}, -1), ({"a": 1}, {"a": 0}, 1), ({"a": 1}, {"a": float("nan")}, 1)],
)
def test_a_negative_amount_and_a_weight_not_above_0_are_refused(
    wants: dict[str, int], weights: dict[str, float], capacity: int
) -> None:
    with pytest.raises(ValueError, match=r"not negative|above 0"):
        weighted_max_min(wants, weights, capacity)


@given(WANTS, WEIGHTS, CAPACITIES)
def test_shares_are_never_above_the_want_and_use_exactly_what_can_be_used(
    wants: dict[str, int], weights: dict[str, float], capacity: int
) -> None:
    shares = weighted_max_min(wants, weights, capacity)
    assert shares.keys() == wants.keys()
    assert all(0 <= shares[name] <= want for name, want in wants.items())
    assert sum(shares.values()) == min(capacity, sum(wants.values()))


@given(WANTS, WEIGHTS, CAPACITIES)
def test_who_wants_more_is_behind_no_one_by_more_than_rounding(
    wants: dict[str, int], weights: dict[str, float], capacity: int
) -> None:
    shares = weighted_max_min(wants, weights, capacity)
    weight = {name: Fraction(weights.get(name, 1)) for name in wants}
    for poor in (name for name in wants if shares[name] < wants[name]):
        level = (shares[poor] + 1) / weight[poor]
        assert all((shares[other] - 1) / weight[other] < level for other in wants)


@given(WANTS, WEIGHTS, CAPACITIES)
def test_the_order_in_which_tenants_come_does_not_matter(
    wants: dict[str, int], weights: dict[str, float], capacity: int
) -> None:
    backwards = dict(reversed(wants.items()))
    assert list(weighted_max_min(wants, weights, capacity).items()) == list(
        weighted_max_min(backwards, weights, capacity).items()
    )


@given(WANTS, WEIGHTS, CAPACITIES, st.data())
def test_the_greater_of_the_least_and_the_share_uses_exactly_what_can_be_used(
    wants: dict[str, int], weights: dict[str, float], capacity: int, data: st.DataObject
) -> None:
    least = {name: data.draw(st.integers(0, want)) for name, want in wants.items()}
    if sum(least.values()) <= capacity:
        shares = max_min_from(least, wants, weights, capacity)
        assert all(least[name] <= shares[name] <= want for name, want in wants.items())
        assert sum(shares.values()) == min(capacity, sum(wants.values()))
        poor = {name: shares[name] / Fraction(weights.get(name, 1)) for name in wants if shares[name] < wants[name]}
        above = [name for name in wants if shares[name] > least[name]]
        for rich in above:
            level = (shares[rich] - 1) / Fraction(weights.get(rich, 1))
            assert all(level < (shares[name] + 1) / Fraction(weights.get(name, 1)) for name in poor)


def test_without_a_least_it_is_the_max_min_share() -> None:
    wants = {"a": 4, "b": 2, "c": 10, "d": 4}
    weights = {"a": 2.5, "b": 4, "c": 0.5, "d": 1}
    assert max_min_from(dict.fromkeys(wants, 0), wants, weights, 12) == weighted_max_min(wants, weights, 12)


def test_weights_are_read_as_decimals() -> None:
    assert weights_of(" acme=3, globex=0.1,") == {"acme": Fraction(3), "globex": Fraction(1, 10)}
    assert weights_of("") == {}


@pytest.mark.parametrize("text", ["acme", "acme=", "acme=0", "acme=-1", "acme=nan", "acme=1,acme=2", "=1", "a b=1"])
def test_a_weight_that_is_not_one_number_above_0_a_tenant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="setting weights"):
        weights_of(text)
