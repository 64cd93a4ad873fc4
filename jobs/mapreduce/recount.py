"""Run the recount over raw files and read its tables, or say in one line why there are none."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from mrjob.step import StepFailedException

from jobs.mapreduce.failing import failure, listening
from jobs.mapreduce.mr_recount import COUNTERS, MRRecount
from jobs.mapreduce.packing import unpack
from jobs.mapreduce.plan import Plan
from jobs.mapreduce.reading import range_of
from jobs.mapreduce.schemas import GRAINS, SCHEMAS
from jobs.shipping import code_zip
from quotaloop.errors import InputUnreadable, QuotaloopError
from quotaloop.storage.store import Store

LINES_A_CORE = 100_000  # below that, another process costs more than it gains

Counters = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Recount:
    """The tables of ``SCHEMAS``, each in the order of its grain, and the counters of the job."""

    tables: Mapping[str, pa.Table]
    counters: Counters

    def __getitem__(self, name: str) -> pa.Table:
        return self.tables[name]


def recount(
    raw_files: Sequence[str],
    plan: Plan,
    *,
    runner: str = "local",
    options: Sequence[str] = (),
    store: Store | None = None,
) -> Recount:
    """Count the hours of the plan from the raw files (local paths or URIs) alone.

    ``runner`` is one of mrjob's: ``local`` (processes), ``hadoop`` or ``inline`` (this process); ``options`` are other
    switches of mrjob. On Hadoop the files of the job lie in ``store``. Raises ``ServiceUnreachable`` where YARN does
    not answer, ``QuotaloopError`` where a task fails or lines get lost on the way.
    """
    if not raw_files:
        return Recount({name: schema.empty_table() for name, schema in SCHEMAS.items()}, {})
    with tempfile.TemporaryDirectory(prefix="quotaloop-recount-") as scratch, listening() as heard:
        written = Path(scratch) / "plan.json"
        written.write_text(plan.render(), "utf-8")
        inputs = list(raw_files) if runner == "hadoop" else _linked(raw_files, Path(scratch) / "store")
        arguments = ["-r", runner, "--no-conf", "--plan", str(written), *_runner_options(runner, scratch, raw_files)]
        job = MRRecount([*arguments, *options, *inputs])
        job.store = store
        pieces, counters = _run(job, Path(scratch), heard)
    found = Recount({name: _whole(name, pieces.get(name, [])) for name in SCHEMAS}, counters)
    _check(found, raw_files, shipped=runner != "inline")
    return found


def _runner_options(runner: str, scratch: str, raw_files: Sequence[str]) -> list[str]:
    options = ["--local-tmp-dir", scratch, "--cleanup-on-failure", "ALL"]
    if runner != "inline":
        options += ["--py-files", str(code_zip())]
    if runner != "hadoop":
        options += ["--python-bin", shlex.quote(sys.executable)]
    if runner == "local":
        lines = sum(item.end - item.start for item in map(range_of, raw_files))
        cores = max(1, min(len(os.sched_getaffinity(0)), lines // LINES_A_CORE))
        options += ["--num-cores", str(cores), "--no-bootstrap-mrjob"]
        if sys.version_info < (3, 12):  # mrjob asks for distutils; setuptools' own takes a fifth of a task's start
            options += ["--cmdenv", "SETUPTOOLS_USE_DISTUTILS=stdlib"]
    return options


def _linked(raw_files: Sequence[str], folder: Path) -> list[str]:
    """Local files under names that a shell script can carry: the store's own may hold spaces."""
    roots: dict[Path, Path] = {}
    folder.mkdir()
    inputs = []
    for file in raw_files:
        path = Path(file.removeprefix("file://")).absolute()
        if not path.is_file():
            raise InputUnreadable(f"raw file {file} is not there")
        inner = range_of(path.as_posix()).path
        root = path.parents[len(Path(inner).parts) - 1]
        if root not in roots:
            roots[root] = folder / str(len(roots))
            roots[root].symlink_to(root, target_is_directory=True)
        inputs.append(str(roots[root] / inner))
    return inputs


def _run(job: Any, scratch: Path, heard: Sequence[str]) -> tuple[dict[str, list[pa.Table]], Counters]:
    """The packed tables by name, and counters of all steps."""
    pieces: dict[str, list[pa.Table]] = {}
    with job.make_runner() as running:
        try:
            running.run()
            for name, value in job.parse_output(running.cat_output()):
                pieces.setdefault(name.decode(), []).append(unpack(value)[0])
        except StepFailedException as error:
            raise failure(error, scratch, heard) from error
        finally:
            with suppress(OSError):  # mrjob's setup scripts leave their lock behind
                Path(f"/tmp/wrapper.lock.{running.get_job_key()}").unlink()
        counters: dict[str, dict[str, int]] = {}
        for step in running.counters():
            for group, counted in step.items():
                counters.setdefault(group, {}).update(counted)
    return pieces, counters


def _whole(name: str, pieces: list[pa.Table]) -> pa.Table:
    order = [(column, "ascending") for column in GRAINS[name]]
    return pa.concat_tables([SCHEMAS[name].empty_table(), *(piece.cast(SCHEMAS[name]) for piece in pieces)]).sort_by(
        order
    )


def _check(found: Recount, raw_files: Sequence[str], *, shipped: bool) -> None:
    """Every file counted once, every line and event arrived, every mapper ran the code that was shipped.

    Counters are of the whole job: Hadoop keeps 120 of them, and cuts their names.
    """
    counted = found.counters.get(COUNTERS, {})
    if not counted:
        raise QuotaloopError("no counters of the recount came back, which `hadoop jar` logs at its end at level INFO")
    lines = found["lines"].to_pylist()
    wanted = {str(range_of(file)) for file in raw_files}
    arrived = {f"{row['topic']}/{row['partition']}/{row['start_offset']}-{row['end_offset']}" for row in lines}
    read = counted.get("raw files", 0)
    if arrived != wanted or not read == len(lines) == len(wanted):
        named = ", ".join(sorted(wanted ^ arrived)[:3]) or f"{read} read, {len(lines)} arrived of {len(wanted)}"
        raise QuotaloopError(f"the recount lost a file or read a file twice: {named}")
    if counted.get("lines read", 0) != sum(row["lines"] for row in lines):
        raise QuotaloopError(f"the recount lost lines between its steps: {dict(counted)}")
    if counted.get("events shipped", 0) != counted.get("events counted", 0):
        raise QuotaloopError(f"the recount lost events between its steps: {dict(counted)}")
    if shipped and counted.get("tasks with shipped code", 0) < len(raw_files):
        raise QuotaloopError("tasks of the recount did not run the code that was shipped to them")
