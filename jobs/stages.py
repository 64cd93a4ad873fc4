"""The stages of a run, each a function of what lies in the store; what is there already is not made again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.audit.waivers import waivers
from jobs.work import Work
from quotaloop import faults
from quotaloop.errors import CheckRefused, UsageError
from quotaloop.marts import candidate as candidates
from quotaloop.marts.candidate import Candidate
from quotaloop.marts.plan import index
from quotaloop.marts.release import Release, Span, Verdict, canonical, publish, store_days
from quotaloop.parsed.unit import units
from quotaloop.raw.ranges import Range, digest
from quotaloop.storage.parquet import read_tables
from quotaloop.version import checks_version, code_version

RECOUNTED = (
    "usage_hourly",
    "latency_hourly",
    "latency_summary",
    "rate_limit_usage",
    "demand_minutely",
    "completeness_hourly",
    "outcomes",
    "lines",
)


def parse(work: Work) -> None:
    """Every landed range as a unit."""
    todo = work.unparsed
    if not todo:
        return
    from jobs.ingest.parse import parse_on_spark

    with work.stage("parse", sum(item.end - item.start for item in todo), "lines"), work.spark() as spark:
        parse_on_spark(
            spark,
            work.store,
            units(todo, work.fingerprint),
            late_bound_ms=work.settings.late_bound,
            done=work.progress.advance,
        )
    del work.unparsed


def build(work: Work) -> Candidate:
    """The candidate of these inputs."""
    parse(work)
    there = candidates.load(work.store, work.revision)
    if there is not None:
        return there
    from jobs.spark.build import build as build_on_spark
    from jobs.spark.inputs import Inputs

    inputs = Inputs(
        ranges=work.ranges,
        notes=work.notes,
        parent=work.base,
        parent_days=work.base_days,
        parent_ledger=work.base_ledger,
        fingerprint=work.fingerprint,
        revision=work.revision,
        closed_before=work.closed_before,
        settings=work.settings,
    )
    with work.stage("build", inputs.touched_events, "events"), work.spark() as spark:
        made = build_on_spark(spark, work.store, inputs, work.progress)
    candidates.save(work.store, made)
    return made


def recount(work: Work) -> dict[str, pa.Table]:
    """The candidate's hours counted again from raw by MapReduce."""
    made = _candidate(work)
    folder = f"{candidates.folder(made.revision)}/recount-{checks_version()}"
    if not work.store.exists(f"{folder}/done"):
        _recount(work, made, folder)
    tables = read_tables(work.store, [f"{folder}/{name}.parquet" for name in RECOUNTED])
    return dict(zip(RECOUNTED, tables, strict=True))


def _recount(work: Work, made: Candidate, folder: str) -> None:
    from jobs.mapreduce.plan import plan
    from jobs.mapreduce.running import run

    lines = sum(item.end - item.start for item in made.sources)
    events = index(work.notes).events
    busiest = max((events.get(hour, 0) for hour in made.read), default=0)
    wanted = plan(made.emit, made.read, late_bound_ms=work.settings.late_bound, busiest=busiest)
    with work.stage("recount", lines, "lines"):
        result = run(work.store, made.sources, wanted, work.settings)
    for name in RECOUNTED:
        sink = pa.BufferOutputStream()
        pq.write_table(result[name], sink, compression="zstd")
        work.store.replace(f"{folder}/{name}.parquet", sink.getvalue().to_pybytes())
    work.store.replace(f"{folder}/done", b"")
    faults.reached("recount:done")


def audit(work: Work) -> list[Verdict]:
    """The verdict of every check; raises ``CheckRefused`` with the first that is not answered by a waiver."""
    made = _candidate(work)
    recounted = recount(work)
    given = waivers(work.store)
    said = canonical([checks_version(), [waiver.path for waiver in given], work.settings.max_bad_share])
    path = f"{candidates.folder(made.revision)}/audit-{hashlib.sha256(said).hexdigest()[:16]}.json"
    if work.store.exists(path):
        verdicts = [Verdict(**row) for row in json.loads(work.store.read(path))]
    else:
        from jobs.audit.checks import audit as run_checks

        with work.stage("audit"):
            verdicts = run_checks(work.store, made, recounted, work.notes, given, work.settings)
        work.store.write_if_absent(path, canonical([asdict(verdict) for verdict in verdicts]))
        faults.reached("audit:done")
    refusals = [verdict for verdict in verdicts if not verdict.ok and not verdict.waived]
    if refusals:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        raise CheckRefused(f"{refusals[0].check}: {refusals[0].detail}{more}; nothing was released")
    return verdicts


def release(work: Work) -> Release | None:
    """The candidate as the next release; None if another run was first."""
    if work.pinned:
        raise UsageError("the store is pinned by a rollback; `quotaloop release resume` ends that")
    made = _candidate(work)
    verdicts = audit(work)
    if not any(verdict.check == "double_entry" and verdict.waived for verdict in verdicts):
        for day in made.days.values():
            day.counted |= {hour: "twice" for hour in day.counted if hour in made.emit}
    parent = work.latest.number if work.latest else None
    new = Release(
        number=(parent or 0) + 1,
        parent=parent,
        code=code_version(),
        settings=work.settings.rows_only(),
        fingerprint=made.fingerprint,
        checks=verdicts,
        raw=_spans(made.ranges),
        days=store_days(work.store, made.days.values()),
        ledger=made.ledger,
        waivers=[waiver.path for waiver in waivers(work.store)],
        open_hours=sorted(_open_hours(work, made)),
    )
    return new if publish(work.store, new) else None


def _open_hours(work: Work, made: Candidate) -> set[int]:
    """Hours that were counted once because they are open; those that a waiver answers for are not among them."""
    return {
        hour
        for day in made.days.values()
        for hour, word in day.counted.items()
        if word == "once" and not work.is_closed(hour)
    }


def _candidate(work: Work) -> Candidate:
    made = candidates.load(work.store, work.revision)
    if made is None:
        raise UsageError("nothing is built for what has landed; run `quotaloop build` first")
    return made


def _spans(ranges: list[Range]) -> list[Span]:
    partitions: dict[tuple[str, int], list[Range]] = {}
    for item in ranges:
        partitions.setdefault((item.topic, item.partition), []).append(item)
    return [
        Span(topic, partition, min(found).start, max(item.end for item in found), digest(found))
        for (topic, partition), found in sorted(partitions.items())
    ]
