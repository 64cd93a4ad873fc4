"""The recount of all tables from raw against the obvious mrjob, which makes two; both with mrjob's local runner."""

from __future__ import annotations

from pathlib import Path

from bench.agreement import Agreement, of_mrjob, of_recount
from bench.commands import fresh, ours, prepared, python, whole_of
from bench.data import Data, copied
from bench.meter import Usage
from bench.meter import measure as metered
from bench.pairs import in_turn
from bench.results import Row, against

TIMES_LESS = 2.5


def measure(data: Data, rounds: int) -> list[Row]:
    """One row."""
    agreement = Agreement(2 * data.dirt)
    with data.scratch() as folder:
        built = prepared("tables", fresh(data, folder))
        usages = in_turn([lambda: _ours(data, built, agreement), lambda: _obvious(data, agreement)], rounds)
    return [
        against(
            "recount",
            "all tables from raw by MapReduce, strict, deduplicated",
            "mrjob as one writes it first: usage_hourly and latency_hourly",
            data.lines,
            (usages[0], usages[1]),
            times_less=TIMES_LESS,
        )
    ]


def _ours(data: Data, built: Path, agreement: Agreement) -> Usage:
    with data.scratch() as folder:
        store = copied(built, folder / "store")
        usage = whole_of(ours("recount", store))
        agreement.see(of_recount(store))
    return usage


def _obvious(data: Data, agreement: Agreement) -> Usage:
    with data.scratch() as folder:
        usage = whole_of(metered(obvious(folder, data.files)))
        agreement.see(of_mrjob(folder / "out"))
    return usage


def obvious(folder: Path, files: list[Path]) -> list[str]:
    """The command of the yardstick, with its output in ``out`` below a folder."""
    options = ["-r", "local", "--no-conf", "--no-bootstrap-mrjob", "--no-cat-output"]
    places = ["--local-tmp-dir", folder / "tmp", "--output-dir", folder / "out"]
    return python("bench.yardsticks.mr_usage_latency", *options, *places, *files)
