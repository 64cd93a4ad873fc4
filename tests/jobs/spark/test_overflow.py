"""Sums are 64-bit."""

from __future__ import annotations

from contextlib import nullcontext

import pyarrow as pa
import pytest

from jobs.spark import overflow
from quotaloop.errors import CheckRefused
from quotaloop.parsed.unit import Note
from tests.jobs.spark.frames import HOUR, denied, event, opened, table


def huge(column: str, *amounts: int, tenant: str = "acme") -> pa.Table:
    """Events whose amounts no single line could have; denied ones, where it is what they wanted."""
    one = denied if column == "wanted_tokens" else event
    events = table(*(one(f"{column}-{number}", HOUR, tenant=tenant) for number in range(len(amounts))))
    place = events.column_names.index(column)
    return events.set_column(place, column, pa.array(amounts, pa.int64()))


def check(*events: pa.Table, greatest_sum: int = 2**63) -> None:
    overflow.check([Note(greatest_sum=greatest_sum)], lambda: nullcontext(opened(*events)))


@pytest.mark.parametrize("column", ["input_tokens", "total_tokens", "wanted_tokens", "gpu_us", "bytes_out"])
def test_a_sum_that_does_not_fit_stops_the_build_with_its_group_named(column: str) -> None:
    refusal = rf"the sum of {column} of tenant acme on 2026-03-02 does not fit"
    with pytest.raises(CheckRefused, match=refusal):
        check(huge(column, 2**62, 2**62))


def test_the_greatest_sum_that_fits_is_no_overflow() -> None:
    check(huge("input_tokens", 2**62, 2**62 - 1))


def test_sums_of_different_tenants_are_not_added() -> None:
    check(huge("bytes_in", 2**62, tenant="a"), huge("bytes_in", 2**62, tenant="b"))


def test_small_notes_spare_the_look_at_the_events() -> None:
    """The sum would not fit, but nobody looks."""
    check(huge("input_tokens", 2**62, 2**62), greatest_sum=2**40)


def test_a_demand_of_used_and_wanted_tokens_is_added_up() -> None:
    with pytest.raises(CheckRefused, match="the sum of total_tokens and wanted_tokens of tenant acme"):
        check(huge("total_tokens", 2**62), huge("wanted_tokens", 2**62))
    check(huge("total_tokens", 2**62), huge("wanted_tokens", 2**62 - 1))
