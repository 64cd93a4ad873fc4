"""Work spread over tasks."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pyspark.sql import SparkSession

from jobs.spark.spread import spread
from quotaloop.errors import ServiceUnreachable


@dataclass(frozen=True)
class Halve:
    """Work that not every item allows."""

    least: int

    def __call__(self, number: int) -> tuple[int, float]:
        if number < self.least:
            raise ValueError(f"{number} is too small")
        return number, number / 2


def test_results_come_in_the_order_of_the_items_and_every_task_is_heard_of_once(spark: SparkSession) -> None:
    heard: list[int] = []
    assert spread(spark, Halve(0), [5, 3, 4, 5], done=heard.append) == [(5, 2.5), (3, 1.5), (4, 2.0), (5, 2.5)]
    assert sum(heard) == 4


def test_nothing_to_do_starts_nothing() -> None:
    assert spread(None, Halve(0), []) == []  # type: ignore[arg-type]


def test_what_fails_in_a_task_fails_here(spark: SparkSession) -> None:
    with pytest.raises(Exception, match="2 is too small"):
        spread(spark, Halve(3), [4, 2])


def unreachable(number: int) -> None:
    """What a task says when its store is away."""
    raise ServiceUnreachable(f"no answer to {number}")


def test_an_error_on_purpose_comes_back_as_it_was_raised(spark: SparkSession) -> None:
    with pytest.raises(ServiceUnreachable, match=r"^no answer to 4$"):
        spread(spark, unreachable, [4])
