"""Where a recount runs: on Hadoop where the store lies there, else in processes of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobs.mapreduce import hadoop
from jobs.mapreduce.plan import Plan
from jobs.mapreduce.recount import Recount, recount
from jobs.mapreduce.store_fs import SCRATCH
from quotaloop.raw.ranges import Range
from quotaloop.settings import Settings
from quotaloop.storage.store import Store


def run(store: Store, ranges: Sequence[Range], plan: Plan, settings: Settings) -> Recount:
    """Count the hours of the plan again from these ranges, on what the setting ``recount_on`` names."""
    is_distributed = store.url.startswith("hdfs:")
    if settings.recount_on == "hadoop" or (settings.recount_on == "auto" and is_distributed):
        lines = sum(item.end - item.start for item in ranges)
        return recount(
            [store.uri(item.path) for item in ranges],
            plan,
            runner="hadoop",
            options=hadoop.options(settings, lines, store.uri(SCRATCH)) if ranges else (),
            store=store,
        )
    with _on_disk(store, ranges) as files:
        return recount(files, plan)


@contextmanager
def _on_disk(store: Store, ranges: Sequence[Range]) -> Iterator[list[str]]:
    """The ranges under their names, on a disk of this machine."""
    paths = [item.path for item in ranges]
    with tempfile.TemporaryDirectory(prefix="quotaloop-raw-") as folder, store.all_on_disk(paths) as copies:
        files = []
        for path, copy in zip(paths, copies, strict=True):
            link = Path(folder, path)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(copy)
            files.append(str(link))
        yield files
