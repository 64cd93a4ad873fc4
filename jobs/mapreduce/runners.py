"""mrjob's own runners with two habits changed."""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any

from quotaloop.storage.store import Store


def on_store(runner: type, store: Store) -> type:
    """The Hadoop runner with the files of a job in a store."""
    from jobs.mapreduce.store_fs import files_of  # tasks have no need of it

    def fs(self: Any) -> Any:
        return files_of(store, self._opts["hadoop_bin"])

    kept = cached_property(fs)
    return type(runner.__name__, (runner,), {"fs": kept})


@cache
def thrifty(runner: type) -> type:
    """The runner class with compressed raw files left compressed, and half as many local reducers.

    Unpacked copies are ten times as large on the task's disk, and the mapper unpacks faster as it reads. The local
    runner makes two reducers a core for each step, which mostly start Python: one a core is enough.
    """
    return type(runner.__name__, (runner,), {"_manifest_uncompress_commands": _none, "_num_reducers": _half_the_cores})


def _none(_: Any) -> list[tuple[str, str]]:
    return []


def _half_the_cores(self: Any, _: int) -> int:
    return max(1, int(self._num_cores()) // 2)
