"""The yardsticks are honest: on clean lines they make the same rows as this project."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from bench.agreement import (
    Agreement,
    Disagreement,
    Tables,
    differing,
    of_folder,
    of_mrjob,
    of_recount,
    of_store,
    totals,
)
from bench.data import Data, copied, generated
from bench.measurements import quantiles
from bench.measurements.increment import split
from bench.measurements.recount import obvious
from bench.yardsticks import duckdb_parse, duckdb_tables
from jobs import stages
from jobs.work import Work
from quotaloop.marts.tables import INGEST_LEDGER, LATENCY_SUMMARY, LATENCY_SUMMARY_DAILY, PUBLISHED
from quotaloop.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LINES = 2_000
# The yardstick's quantiles are Spark's own approximate ones; its ledger counts lines alone.
OTHERWISE = {LATENCY_SUMMARY.name, LATENCY_SUMMARY_DAILY.name, INGEST_LEDGER.name}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return generated(LINES, dirt=0.0, folder=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def built(clean: Data, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """A store of the clean lines with a build that is counted twice."""
    store = copied(clean.store, tmp_path_factory.mktemp("built") / "store")
    stages.build(work := Work(Settings(store=f"file://{store}")))
    stages.recount(work)
    return store


@pytest.fixture(scope="module")
def ours(built: Path) -> Tables:
    return of_store(built)


def test_ours_counts_every_line(ours: Tables) -> None:
    found = totals(ours)
    assert found["usage_hourly: requests"] == LINES
    assert found["latency_hourly: count"] > LINES


def test_the_recount_makes_the_same_two_tables(built: Path, ours: Tables) -> None:
    recounted = of_recount(built)
    assert {name: differing(table, recounted[name]) for name, table in ours.items()} == dict.fromkeys(ours, 0)


def test_duckdb_makes_the_same_two_tables_from_json(clean: Data, ours: Tables, tmp_path: Path) -> None:
    duckdb_tables.tables(tmp_path, [str(path) for path in clean.files])
    found = of_folder(tmp_path)
    assert {name: differing(table, found[name]) for name, table in ours.items()} == dict.fromkeys(ours, 0)


def test_duckdb_makes_the_same_two_tables_from_parsed_parquet(built: Path, ours: Tables, tmp_path: Path) -> None:
    duckdb_tables.tables(tmp_path, [str(path) for path in built.glob("parsed/*/*/*/*.events.parquet")])
    found = of_folder(tmp_path)
    assert {name: differing(table, found[name]) for name, table in ours.items()} == dict.fromkeys(ours, 0)


def test_duckdb_parses_every_line_and_column(clean: Data, built: Path, tmp_path: Path) -> None:
    duckdb_parse.parse(str(tmp_path / "events.parquet"), [str(path) for path in clean.files])
    found = pq.read_table(tmp_path / "events.parquet")
    mine = pq.read_table(sorted(built.glob("parsed/*/*/*/*.events.parquet")))
    assert found["event_id"].to_pylist() == mine["event_id"].to_pylist()
    assert found.num_columns == 33


def test_plain_pyspark_makes_the_same_two_tables(
    clean: Data, ours: Tables, spark: SparkSession, tmp_path: Path
) -> None:
    from bench.yardsticks.spark_two_tables import make

    make(spark, str(tmp_path), [str(path) for path in clean.files])
    found = of_folder(tmp_path)
    assert {name: differing(table, found[name]) for name, table in ours.items()} == dict.fromkeys(ours, 0)


def test_plain_pyspark_makes_the_same_tables_but_for_quantiles(
    clean: Data, built: Path, spark: SparkSession, tmp_path: Path
) -> None:
    from bench.yardsticks.spark_all_tables import make

    make(spark, str(tmp_path), [str(path) for path in clean.files])
    names = sorted(PUBLISHED.keys() - OTHERWISE)
    mine, found = of_store(built, names), of_folder(tmp_path, names)
    assert {name: differing(mine[name], found[name]) for name in names} == dict.fromkeys(names, 0)
    summaries = (LATENCY_SUMMARY.name, LATENCY_SUMMARY_DAILY.name)
    for name, table in of_store(built, summaries).items():
        columns = [column for column in table.column_names if not column.startswith("p")]
        there = of_folder(tmp_path, [name])[name]
        assert differing(table.select(columns), there.select(columns)) == 0, name


def test_the_obvious_mrjob_makes_the_same_two_tables(clean: Data, ours: Tables, tmp_path: Path) -> None:
    subprocess.run(obvious(tmp_path, clean.files), check=True, capture_output=True)
    found = of_mrjob(tmp_path / "out")
    assert {name: differing(table, found[name]) for name, table in ours.items()} == dict.fromkeys(ours, 0)


def test_a_program_that_misses_requests_is_refused(ours: Tables) -> None:
    agreement = Agreement(share=0.02)
    agreement.see(ours)
    usage = ours["usage_hourly"]
    agreement.see(ours | {"usage_hourly": usage.slice(1)})
    with pytest.raises(Disagreement, match="usage_hourly: requests"):
        agreement.see(ours | {"usage_hourly": usage.slice(usage.num_rows // 10)})


def test_quantiles_are_within_one_percent_in_any_order_of_merging(clean: Data) -> None:
    (row,) = quantiles.measure(clean, 2)
    assert 0 < row.value.median <= quantiles.AT_MOST
    assert row.value.least == row.value.greatest


def test_the_hour_and_the_rest_are_the_day(clean: Data, tmp_path: Path) -> None:
    rest, hour, line = (gzip.decompress(path.read_bytes()).splitlines() for path in split(clean, tmp_path))
    assert len(rest) + len(hour) == LINES
    assert abs(len(hour) - LINES / 24) < LINES / 100
    assert line == hour[:1]
    assert len({text.split(b'"ts":"')[1][:13] for text in hour}) == 1
