"""Sums by group in 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jobs.mapreduce.groups import MOST, Groups
from quotaloop.errors import QuotaloopError


def test_rows_with_equal_keys_are_one_group_also_where_keys_are_far_apart() -> None:
    groups = Groups(np.array([2**62, -1, 2**62, 2**62]), np.array([1, 1, 1, 0]))
    assert groups.of.tolist() == [0, 1, 0, 2]
    assert groups.first.tolist() == [0, 1, 3]
    assert groups.counts().tolist() == [2, 1, 1]


def test_a_sum_of_exactly_64_bits_is_given_and_one_more_is_refused_with_the_groups_name() -> None:
    groups = Groups(np.array([0, 0, 7]))
    assert groups.sums(np.array([MOST - 1, 1, MOST]), str).tolist() == [MOST, MOST]
    with pytest.raises(QuotaloopError, match=f"group 0: the sum {MOST + 1} does not fit"):
        groups.sums(np.array([MOST, 1, MOST]), lambda group: f"group {group}")


def test_an_overflow_stops_the_recount_and_names_table_hour_and_tenant(workshop: Any) -> None:
    greatest = 2**50 - 1
    workshop.land(*(workshop.event(f"e{n}", n, bytes_in=greatest) for n in range(8193)))
    with pytest.raises(QuotaloopError, match=r"usage_hourly bytes_in of hour=1772409600000, tenant=a, .*64 bits"):
        workshop.count([0])
