"""Measured commands: each side as a process of its own, its output in a folder that is looked at and removed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.data import Data, copied
from bench.meter import WHOLE, Usage, measure
from bench.ours import WORK

Usages = dict[str, Usage]


def python(module: str, *arguments: object) -> list[str]:
    """A command that runs a module with the interpreter of now."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def ours(work: str, store: Path) -> Usages:
    """Run one of ``bench.ours`` in a store, measured."""
    return measure(python("bench.ours", work, store))


def prepared(work: str, store: Path) -> Path:
    """Run one of ``bench.ours`` in a store, not measured."""
    subprocess.run(python("bench.ours", work, store), check=True, capture_output=True)
    return store


def yardstick(name: str, out: Path, files: Sequence[Path]) -> Usages:
    """Run one of the yardsticks, measured."""
    return measure(python(f"bench.yardsticks.{name}", out, *files))


def fresh(data: Data, folder: Path) -> Path:
    """A store with the raw zone of the data alone."""
    return copied(data.store, folder / "store")


def work_of(usages: Usages) -> Usage:
    """The phase ``work``: without the start of interpreter and Spark."""
    return usages[WORK]


def whole_of(usages: Usages) -> Usage:
    """The whole process tree."""
    return usages[WHOLE]
