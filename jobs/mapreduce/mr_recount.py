"""The recount: from raw files to the integers of every table, without Spark and without its aggregation code.

Step 1 divides the events of each raw file into hours and shards of tenants, and counts each of these whole. Step 2 adds
up what has no tenant in its grain, and counts what reaches over hours: requests in flight and the stamps of gateways.
Keys of the shuffle are words divided by ``|``; finished rows pass through under ``rows|<table>``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mrjob.job import MRJob
from mrjob.protocol import BytesProtocol
from mrjob.step import MRStep

from jobs.mapreduce import completeness, concurrency, merging, outcomes, rates, usage
from jobs.mapreduce.packing import key, pack, words_of
from jobs.mapreduce.plan import Plan, load_plan
from jobs.mapreduce.rows import Rows, gather
from jobs.mapreduce.runners import on_store, thrifty
from jobs.shipping import imported_from_zip
from quotaloop.storage.store import Store

Pair = tuple[bytes, bytes]
COUNTERS = "recount"


class MRRecount(MRJob):  # type: ignore[misc]  # mrjob has no types
    """Raw files of ``topic/p=.../start-end.jsonl.gz`` to packed tables, keyed by the name of the table."""

    INTERNAL_PROTOCOL = BytesProtocol
    OUTPUT_PROTOCOL = BytesProtocol

    def configure_args(self) -> None:
        """``--plan FILE``: the hours to emit and to read, as JSON."""
        super().configure_args()
        self.add_file_arg("--plan", help="JSON: emit, read (hours, epoch ms), late_bound_ms, shards")

    def steps(self) -> list[MRStep]:
        """Hours, then what reaches over hours."""
        return [
            MRStep(mapper_raw=self.divide, reducer_init=self.prepare, reducer=self.count_hour),
            MRStep(reducer_init=self.prepare, reducer=self.count_across),
        ]

    store: Store | None = None  # where the files of the job lie, on Hadoop

    def _runner_class(self) -> type:
        runner = thrifty(super()._runner_class())
        return on_store(runner, self.store) if self.store is not None else runner

    def prepare(self) -> None:
        """Read the plan once a task."""
        self.plan: Plan = load_plan(self.options.plan)

    def divide(self, path: str, uri: str) -> Iterator[Pair]:
        """A raw file into packed events, and its ledger line."""
        from jobs.mapreduce.reading import RawFile  # the parser is heavy, and only mappers need it

        self.prepare()
        self.increment_counter(COUNTERS, "tasks with shipped code", int(imported_from_zip() is not None))
        raw = RawFile(path, uri, self.plan)
        for name, piece, events in raw.pieces():
            self.increment_counter(COUNTERS, "events shipped", events)
            yield name, piece
        self.increment_counter(COUNTERS, "raw files", 1)
        self.increment_counter(COUNTERS, "lines read", raw.lines)
        yield key("rows", "lines"), pack(raw.ledger())

    def count_hour(self, name: bytes, values: Iterable[bytes]) -> Iterator[Pair]:
        """Everything that is counted within one hour and shard; the rest goes on to step 2."""
        words = words_of(name)
        if words[0] != "hour":
            yield from ((name, value) for value in values)
            return
        hour, shard = int(words[1]), words[2]
        rows = gather(hour, values)
        self.increment_counter(COUNTERS, "events counted", len(rows))
        verdicts = outcomes.judge(rows)
        accepted = rows.where(verdicts == outcomes.ACCEPTED)
        yield from ((key("stamps", bucket), piece) for bucket, piece in completeness.stamps(accepted))
        for reached, piece in concurrency.intervals(accepted, self.plan):
            yield key("flight", reached, shard), piece
        if hour in self.plan.emit:
            yield key("merge", "outcomes", hour), pack(outcomes.outcomes(rows, verdicts))
            yield from _tables(accepted, shard)

    def count_across(self, name: bytes, values: Iterable[bytes]) -> Iterator[Pair]:
        """Finished tables by name."""
        words = words_of(name)
        if words[0] == "rows":
            yield from ((words[1].encode(), value) for value in values)
        elif words[0] == "merge":
            yield words[1].encode(), pack(merging.merge(words[1], values))
        elif words[0] == "flight":
            yield b"rate_limit_usage", pack(concurrency.concurrency(int(words[1]), values))
        else:
            yield b"completeness_hourly", pack(completeness.completeness_hourly(values, frozenset(self.plan.emit)))


def _tables(rows: Rows, shard: str) -> Iterator[Pair]:
    yield key("merge", "latency_hourly", rows.hour), pack(usage.latency_hourly(rows))
    yield key("merge", "latency_summary", rows.hour), pack(usage.latency_summary(rows))
    by_minute = rates.minutes(rows)
    finished = {
        "usage_hourly": usage.usage_hourly(rows),
        "demand_minutely": rates.demand_minutely(rows, by_minute),
        "rate_limit_usage": rates.rate_limit_usage(rows, by_minute),
    }
    yield from ((key("rows", name, rows.hour, shard), pack(table)) for name, table in finished.items())


if __name__ == "__main__":
    MRRecount.run()
