"""Each reason an hour is not fit, and the edge on which it still is."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

import pytest

from quotaloop.errors import UsageError
from quotaloop.quotas.fitness import Fitness, Stamps, fitness, strays
from quotaloop.settings import Settings

FIRST, SECOND, THIRD = 0, 3_600_000, 7_200_000

NOW = 2**62  # every hour has begun


def judge(
    *hours: int,
    twice: Set[int] = frozenset({FIRST, SECOND, THIRD}),
    waived: Set[int] = frozenset(),
    stray: Set[int] = frozenset(),
    stamps: tuple[Stamps, ...] = (),
    lost: Set[int] = frozenset(),
    late: Mapping[int, tuple[int, int]] | None = None,
    completeness: str = "when-stamped",
) -> Fitness:
    settings = replace(Settings(), completeness=completeness, max_missing_share=0.001, max_late_share=0.01)
    return fitness(
        hours,
        twice=twice,
        waived=waived,
        stray=stray,
        stamps=stamps,
        lost=lost,
        late=late or {},
        settings=settings,
    )


def test_an_hour_counted_twice_without_waiver_stamps_or_late_events_is_fit() -> None:
    assert judge(SECOND, FIRST, FIRST) == Fitness((FIRST, SECOND), {})


def test_an_hour_counted_once_is_unfit() -> None:
    assert judge(FIRST, SECOND, twice={SECOND}) == Fitness((SECOND,), {FIRST: "counted_once"})


def test_an_hour_with_a_waiver_is_unfit() -> None:
    assert judge(FIRST, SECOND, waived={FIRST}) == Fitness((SECOND,), {FIRST: "waived"})


def test_an_hour_of_a_wrong_clock_is_unfit() -> None:
    assert judge(FIRST, SECOND, stray={SECOND}) == Fitness((FIRST,), {SECOND: "stray"})


def test_an_hour_that_lost_offsets_may_be_of_is_unfit() -> None:
    assert judge(FIRST, SECOND, lost={SECOND}) == Fitness((FIRST,), {SECOND: "lost"})


def test_few_events_long_after_all_others_are_strays() -> None:
    span = 28 * 24 * SECOND
    usual = {FIRST: 500, SECOND: 490}
    far, farther = SECOND + span + 1, SECOND + 3 * span
    assert strays(usual | {far: 9, farther: 1}, span, now_ms=NOW) == {far, farther}
    assert strays(usual | {SECOND + span: 9, farther: 1}, span, now_ms=NOW) == {farther}
    assert strays(usual | {far: 11}, span, now_ms=NOW) == frozenset()
    assert (
        strays({FIRST: 1, far: 1}, span, now_ms=NOW)
        == strays({FIRST: 1}, span, now_ms=NOW)
        == strays({}, span, now_ms=NOW)
        == frozenset()
    )


def test_few_events_of_hours_that_have_not_begun_are_strays_and_many_are_not() -> None:
    usual = {FIRST: 500, SECOND: 500}
    later = SECOND + 3 * 24 * 3_600_000
    assert strays(usual | {later: 10}, 28 * 24 * 3_600_000, now_ms=later - 1) == {later}
    assert strays(usual | {later: 10}, 28 * 24 * 3_600_000, now_ms=later) == frozenset()
    assert strays(usual | {later: 11}, 28 * 24 * 3_600_000, now_ms=later - 1) == frozenset()


def test_one_in_a_thousand_missing_is_fit_and_one_more_is_not() -> None:
    stamps = (Stamps(FIRST, 1000, 1), Stamps(SECOND, 1000, 2))
    assert judge(FIRST, SECOND, stamps=stamps) == Fitness((FIRST,), {SECOND: "missing"})


def test_missing_is_counted_over_all_hosts_and_boots_of_the_hour() -> None:
    stamps = (Stamps(FIRST, 100, 1), Stamps(FIRST, 900, 0), Stamps(SECOND, 100, 1), Stamps(SECOND, 800, 0))
    assert judge(FIRST, SECOND, stamps=stamps) == Fitness((FIRST,), {SECOND: "missing"})


def test_an_hour_without_stamps_is_unfit_only_where_stamps_are_required() -> None:
    stamps = (Stamps(FIRST, 10, 0),)
    assert judge(FIRST, SECOND, stamps=stamps, completeness="require").unfit == {SECOND: "unstamped"}
    assert judge(FIRST, SECOND, stamps=stamps).unfit == {}


def test_completeness_off_looks_at_no_stamps() -> None:
    assert judge(FIRST, stamps=(Stamps(FIRST, 10, 9),), completeness="off").fit == (FIRST,)


def test_one_in_a_hundred_after_the_hour_closed_is_fit_and_more_is_not() -> None:
    late = {FIRST: (1, 100), SECOND: (2, 199), THIRD: (1, 101)}
    assert judge(FIRST, SECOND, THIRD, late=late) == Fitness((FIRST, THIRD), {SECOND: "late"})


def test_the_share_is_the_decimal_that_was_written() -> None:
    # 0.07 * 100 is 7.000000000000001 in floating point, and 0.29 * 100 is 28.999999999999996
    settings = replace(Settings(), max_late_share=0.29)
    assert fitness(
        [FIRST],
        twice={FIRST},
        waived=set(),
        stray=set(),
        stamps=(),
        lost=set(),
        late={FIRST: (29, 100)},
        settings=settings,
    ).fit


def test_an_hour_with_several_reasons_has_the_first() -> None:
    everything = {"stamps": (Stamps(FIRST, 1, 1),), "late": {FIRST: (1, 1)}}
    assert judge(FIRST, twice=set(), waived={FIRST}, **everything).unfit == {FIRST: "waived"}  # type: ignore[arg-type]
    assert judge(FIRST, waived={FIRST}, **everything).unfit == {FIRST: "waived"}  # type: ignore[arg-type]
    assert judge(FIRST, **everything).unfit == {FIRST: "missing"}  # type: ignore[arg-type]


def test_an_unknown_completeness_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="completeness: 'maybe'"):
        judge(FIRST, completeness="maybe")
